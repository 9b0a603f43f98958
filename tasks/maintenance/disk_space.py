"""Measures and reclaims the disk space of the store."""

from dataclasses import dataclass
from pathlib import Path

from tasks.engines import engine
from tasks.store import workspace

_SIZE_ON_POSTGRESQL = """
    SELECT pg_total_relation_size('task_records') + pg_total_relation_size('task_checkpoints')"""


@dataclass(frozen=True)
class Space:
    """Disk usage in bytes. The file uses up its `free` space before it grows."""

    file: int
    log: int
    free: int


def measure() -> Space:
    connection = workspace.store_connection()
    with connection.cursor() as cursor:
        if not engine(connection).is_file:
            cursor.execute(_SIZE_ON_POSTGRESQL)
            [size] = cursor.fetchone()
            return Space(int(size), 0, 0)
        [pages], [page_size] = (
            cursor.execute(f"PRAGMA {name}").fetchone() for name in ("freelist_count", "page_size")
        )
    file = workspace.store_file()
    return Space(_size(file), _size(file.with_name(f"{file.name}-wal")), pages * page_size)


def vacuum() -> None:
    """Rewrite the SQLite file without free pages, blocking writers. On PostgreSQL, run VACUUM."""
    connection = workspace.store_connection()
    with connection.cursor() as cursor:
        if not engine(connection).is_file:
            cursor.execute("VACUUM task_records, task_checkpoints")
            return
        cursor.execute("PRAGMA temp_store = FILE")  # keeps VACUUM's copy of the store out of memory
        cursor.execute("VACUUM")
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        cursor.fetchall()


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
