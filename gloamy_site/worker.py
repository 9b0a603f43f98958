"""Starts the application in the worker process of `manage.py serve`."""

import atexit
import os
from typing import Any

from gloamy_site.orphans import exit_with_parent


def load_application(target: str, port: int) -> Any:
    """Move this process to a new process group and return the WSGI application.

    Ctrl-C in a terminal sends a signal to every process in the group. The worker must not get it:
    the server stops it with another signal, and two signals at the same time can cause a deadlock.
    """
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    exit_with_parent()
    # Skip interpreter shutdown, during which a running granian thread would abort the process.
    atexit.register(os._exit, 0)
    from gloamy_site.wsgi import application  # noqa: PLC0415, I001 - importing it opens the store
    from gloamy_site.heavy_requests import in_own_processes  # noqa: PLC0415 - needs Django
    from gloamy_site.connections import watch  # noqa: PLC0415 - needs Django

    watch(port)
    return in_own_processes(application)
