"""Starts the application in the worker process of `manage.py serve`."""

import atexit
import os
import threading
import time
from typing import Any


def load_application(target: str) -> Any:
    """Move this process to a new process group and return the WSGI application.

    Ctrl-C in a terminal sends a signal to every process in the group. The worker must not get it:
    the server stops it with another signal, and two signals at the same time can cause a deadlock.
    """
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    _exit_with_parent()
    # Skip interpreter shutdown, during which a running granian thread would abort the process.
    atexit.register(os._exit, 0)
    from gloamy_site.wsgi import application  # noqa: PLC0415 - importing it opens the store

    return application


def _exit_with_parent() -> None:
    """Exit when the server process dies, because an orphaned worker would keep the port in use."""
    server = os.getppid()

    def watch() -> None:
        while os.getppid() == server:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
