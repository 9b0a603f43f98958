"""What changes when the list may have changed, found out without looking at the list."""

import os
from hashlib import blake2b
from pathlib import Path

from tasks.models import TaskRecord
from tasks.store.daemon import Daemon
from tasks.store.workspace import store_connection, store_file

LOOK_AGAIN_AFTER = 60  # seconds, for what only the clock changes, such as a thread that stalls


def version(daemon: Daemon) -> str:
    """To be taken before the list is read, so that no change falls in between."""
    is_file = store_connection().vendor == "sqlite"
    store = _state_of_file(store_file()) if is_file else _state_of_server()
    minute = int(daemon.now.timestamp()) // LOOK_AGAIN_AFTER
    seen = f"{store} {daemon.state} {minute}"
    return blake2b(seen.encode(), digest_size=8).hexdigest()


def _state_of_file(file: Path) -> list[tuple[int, int] | None]:
    """The store's file and its log: each commit writes to one of them."""
    return [_stat(file), _stat(file.with_name(f"{file.name}-wal"))]


def _stat(file: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    # a log comes and goes, empty, with each one who only reads
    return (found.st_mtime_ns, found.st_size) if found.st_size else None


def _state_of_server() -> tuple[object, ...] | None:
    """The newest row: whatever an agent writes becomes it."""
    return TaskRecord.objects.newest_first().values_list("updated_at", "task_id").first()
