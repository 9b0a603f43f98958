"""The worker process of `manage.py serve`."""

import atexit
import os
import threading
import time
from typing import Any


def load_application(target: str) -> Any:
    """Return the WSGI application, in a process group of its own.

    A terminal sends Ctrl-C to the whole group. The worker must not receive it: the server stops it
    with its own signal, and two at once can cause a deadlock.
    """
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    _exit_with_parent()
    # Skip interpreter shutdown: a granian thread that is still running would abort.
    atexit.register(os._exit, 0)
    from gloamy_site.wsgi import application  # noqa: PLC0415 - opens the store

    return application


def _exit_with_parent() -> None:
    """Exit when the server process dies: an orphaned worker would keep the port."""
    server = os.getppid()

    def watch() -> None:
        while os.getppid() == server:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
