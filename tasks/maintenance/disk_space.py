"""Measures and reclaims the disk space of the store, and of the site's SQLite database."""

import time
from dataclasses import dataclass
from pathlib import Path

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from tasks.engines import engine
from tasks.store import workspace

CHECKPOINT_ATTEMPTS, CHECKPOINT_PAUSE = 20, 0.1  # the pause is in seconds
_SIZE_ON_POSTGRESQL = """
    SELECT pg_total_relation_size('task_records') + pg_total_relation_size('task_checkpoints')"""


@dataclass(frozen=True)
class Space:
    """Disk usage in bytes. The file uses up its `free` space before it grows."""

    file: int
    log: int
    free: int


def measure(connection: BaseDatabaseWrapper) -> Space:
    with connection.cursor() as cursor:
        if not engine(connection).is_file:
            cursor.execute(_SIZE_ON_POSTGRESQL)
            [size] = cursor.fetchone()
            return Space(int(size), 0, 0)
        free = _pragma(cursor, "freelist_count") * _pragma(cursor, "page_size")
    file = workspace.file_of(connection)
    return Space(_size(file), _size(file.with_name(f"{file.name}-wal")), free)


def vacuum(connection: BaseDatabaseWrapper) -> None:
    """Rewrite the SQLite file without free pages, blocking writers. On PostgreSQL, run VACUUM."""
    with connection.cursor() as cursor:
        if not engine(connection).is_file:
            cursor.execute("VACUUM task_records, task_checkpoints")
            return
        cursor.execute("PRAGMA temp_store = FILE")  # keeps VACUUM's copy of the store out of memory
        cursor.execute("VACUUM")
        for _ in range(CHECKPOINT_ATTEMPTS):
            if not _pragma(cursor, "wal_checkpoint(TRUNCATE)"):
                break
            time.sleep(CHECKPOINT_PAUSE)  # SQLite does not wait for another process's checkpoint


def _pragma(cursor: CursorWrapper, name: str) -> int:
    cursor.execute(f"PRAGMA {name}")
    return int(cursor.fetchone()[0])


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
