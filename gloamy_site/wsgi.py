"""The WSGI application, for `manage.py serve` and for any other server."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gloamy_site.settings")
application = get_wsgi_application()

from tasks.workspace import check_store  # noqa: E402 - needs the apps to be loaded

check_store()
