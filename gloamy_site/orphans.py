"""Ends the processes of `manage.py serve` with it, however it ends."""

import os
import threading
import time


def exit_with_parent() -> None:
    """Exit when the parent process dies: an orphan would keep the port or the processor in use."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
