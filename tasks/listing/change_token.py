"""A token that changes whenever the list of threads may have changed."""

import os
from hashlib import blake2b
from pathlib import Path

from tasks.engines import engine
from tasks.models import TaskRecord
from tasks.store.daemon import Daemon
from tasks.store.workspace import store_connection, store_file

MAX_AGE = 60  # seconds, for what only the clock changes, such as a thread that stalls


def change_token(daemon: Daemon) -> str:
    """Return the token without reading the list.

    Compute it before reading the list, so that no change slips in between.
    """
    is_file = engine(store_connection()).is_file
    store = _file_state(store_file()) if is_file else _newest_row()
    period = int(daemon.now.timestamp()) // MAX_AGE
    return blake2b(f"{store} {daemon.state} {period}".encode(), digest_size=8).hexdigest()


def _file_state(file: Path) -> list[tuple[int, int] | None]:
    """Stat the store's file and its log: each commit writes to one of them."""
    return [_stat(file), _stat(file.with_name(f"{file.name}-wal"))]


def _stat(file: Path) -> tuple[int, int] | None:
    try:
        stat = os.stat(file)
    except OSError:
        return None
    # readers alone make an empty log come and go
    return (stat.st_mtime_ns, stat.st_size) if stat.st_size else None


def _newest_row() -> tuple[object, ...] | None:
    """Return the key of the newest row: every write of an agent makes one."""
    return TaskRecord.objects.newest_first().values_list("updated_at", "task_id").first()
