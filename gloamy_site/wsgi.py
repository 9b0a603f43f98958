"""The WSGI application, for `manage.py serve` and for any other server."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gloamy_site.settings")
application = get_wsgi_application()

from django.db.backends.signals import connection_created  # noqa: E402

from tasks.workspace import check_store, show_bad_text  # noqa: E402 - needs the apps to be loaded

connection_created.connect(show_bad_text)
check_store()
