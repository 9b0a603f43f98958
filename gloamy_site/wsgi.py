"""The WSGI application for `manage.py serve` or any other WSGI server."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gloamy_site.settings")
application = get_wsgi_application()

from django.core.signals import request_started  # noqa: E402 - needs Django to be set up
from django.db.backends.signals import connection_created  # noqa: E402 - needs Django to be set up
from django.urls import resolve  # noqa: E402 - needs Django to be set up

import masking.finders  # noqa: E402, F401 - compiles its patterns before the first request
from tasks.store.file_identity import reopen_replaced_files  # noqa: E402 - needs Django to be set up
from tasks.store.workspace import (  # noqa: E402 - needs Django to be set up
    check_store,
    reopen_read_only_store,
    replace_invalid_utf8,
)

connection_created.connect(replace_invalid_utf8)
request_started.connect(reopen_read_only_store)
request_started.connect(reopen_replaced_files)
resolve("/")  # loads the views before the first request
check_store()
