"""The WSGI application, for `manage.py serve` and for any other server."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gloamy_site.settings")
application = get_wsgi_application()

from django.core.signals import request_started  # noqa: E402 - needs Django set up
from django.db.backends.signals import connection_created  # noqa: E402 - needs Django set up

from tasks.store.workspace import (  # noqa: E402 - needs Django set up
    check_store,
    follow_writers,
    never_create_store,
    show_bad_text,
)

connection_created.connect(show_bad_text)
request_started.connect(follow_writers)
check_store()
never_create_store()
