"""A token that changes whenever the thread list may have changed."""

import os
from hashlib import blake2b
from pathlib import Path

from tasks.engines import engine
from tasks.models import TaskRecord
from tasks.store.daemon import Daemon
from tasks.store.workspace import store_connection, store_file

MAX_AGE = 60  # seconds until the token changes anyway, since threads can stall without a write


def change_token(daemon: Daemon) -> str:
    """Return the thread list's current token, without reading the list.

    Call this before reading the list, so that a change in between is not missed.
    """
    is_file = engine(store_connection()).is_file
    store = _file_state(store_file()) if is_file else _newest_row()
    period = int(daemon.now.timestamp()) // MAX_AGE
    return blake2b(f"{store} {daemon.state} {period}".encode(), digest_size=8).hexdigest()


def _file_state(file: Path) -> list[tuple[int, int] | None]:
    """Return the state of the store's file and WAL. Every commit changes one of the two."""
    return [_stat(file), _stat(file.with_name(f"{file.name}-wal"))]


def _stat(file: Path) -> tuple[int, int] | None:
    try:
        stat = os.stat(file)
    except OSError:
        return None
    # readers create and remove an empty WAL, so an empty WAL counts as missing
    return (stat.st_mtime_ns, stat.st_size) if stat.st_size else None


def _newest_row() -> tuple[object, ...] | None:
    """Return the newest row's `updated_at` and id; every write by the agent changes this pair."""
    return TaskRecord.objects.newest_first().values_list("updated_at", "task_id").first()
