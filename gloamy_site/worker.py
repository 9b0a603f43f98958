"""The worker process of `manage.py serve`."""

import atexit
import os
import threading
import time
from typing import Any


def load_application(target: str) -> Any:
    """The WSGI application, in a process group of its own.

    The terminal sends Ctrl-C to a whole group. The worker must not see it: the server ends it with
    a signal of its own, and two at once can lock it up.
    """
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    _end_with_the_server()
    # Python must not be taken down under granian's threads: one that still runs would abort.
    atexit.register(os._exit, 0)
    from gloamy_site.wsgi import application  # noqa: PLC0415 - opens the store

    return application


def _end_with_the_server() -> None:
    """End when the server does, however it ended: a worker left over would keep the port."""
    server = os.getppid()

    def watch() -> None:
        while os.getppid() == server:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
