"""The worker process of `manage.py serve`."""

import atexit
import os
import threading
import time
from typing import Any


def load_application(target: str) -> Any:
    """Return the WSGI application, after moving this process to its own process group.

    A terminal sends Ctrl-C to a whole group. The worker must not receive it: the server stops the
    worker with another signal, and two signals at the same time can cause a deadlock.
    """
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    _exit_with_parent()
    # Skip interpreter shutdown, where a granian thread still running would abort the process.
    atexit.register(os._exit, 0)
    from gloamy_site.wsgi import application  # noqa: PLC0415 - importing it opens the store

    return application


def _exit_with_parent() -> None:
    """Exit when the server process dies: an orphaned worker would keep the port."""
    server = os.getppid()

    def watch() -> None:
        while os.getppid() == server:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
