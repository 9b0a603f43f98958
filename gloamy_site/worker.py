"""The worker process of `manage.py serve`."""

import atexit
import os
from typing import Any


def load_application(target: str) -> Any:
    """The WSGI application, in a process group of its own.

    The terminal sends Ctrl-C to a whole group. The worker must not see it: the server ends it with
    a signal of its own, and two at once can lock it up.
    """
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    # Python must not be taken down under granian's threads: one that still runs would abort.
    atexit.register(os._exit, 0)
    from gloamy_site.wsgi import application

    return application
