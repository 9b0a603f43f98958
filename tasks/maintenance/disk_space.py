"""Measures and reclaims the disk space of the store, and of the site's SQLite database."""

import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from tasks.engines import engine
from tasks.store import file_users, workspace
from tasks.store.sqlite_uri import existing_uri

LOW = 5 << 30  # bytes that should be free, but never more than a tenth of the disk
PAGES_PER_STEP = 250  # a megabyte, after which a program that has opened the file is noticed
CHECKPOINT_ATTEMPTS, CHECKPOINT_PAUSE = 20, 0.1  # the pause is in seconds
_SIZE_ON_POSTGRESQL = """
    SELECT pg_total_relation_size('task_records') + pg_total_relation_size('task_checkpoints')"""


class InUseError(Exception):
    """Another program has the store open, or has written to it."""


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


class Disk(NamedTuple):
    """A file system's free bytes, and all its bytes."""

    free: int
    total: int

    @property
    def is_low(self) -> bool:
        return self.free < min(self.total // 10, LOW)


def of_store() -> Disk | None:
    """Return the disk that the store's file is on, if it is a file."""
    if not engine(workspace.store_connection()).is_file:
        return None
    usage = shutil.disk_usage(workspace.store_file().parent)
    return Disk(usage.free, usage.total)


def vacuum_site(connection: BaseDatabaseWrapper) -> None:
    """Rewrite the site's SQLite file without free pages, while its pages wait."""
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA temp_store = FILE")  # keeps VACUUM's copy of the file out of memory
        cursor.execute("VACUUM")
        _empty_log(cursor)


def vacuum_store(connection: BaseDatabaseWrapper) -> None:
    """Return the store's free space to the disk without making any agent wait.

    SQLite writes a compact copy next to the file, without a lock. The copy is then written over the
    file, in a transaction that is rolled back as soon as another program opens the file.
    Raises InUseError if one has it open, and then changes nothing.
    """
    if not engine(connection).is_file:
        with connection.cursor() as cursor:
            cursor.execute("VACUUM task_records, task_checkpoints")
        return
    file = workspace.file_of(connection)
    with TemporaryDirectory(prefix=".vacuum-", dir=file.parent) as folder:
        copy = Path(folder) / "copy.db"
        with file_users.watching(connection) as user, connection.cursor() as cursor:
            _require_alone(user)
            version = _pragma(cursor, "data_version")
            cursor.execute("VACUUM INTO %s", [str(copy)])

            def check(status: int, remaining: int, total: int) -> None:
                if status == sqlite3.SQLITE_DONE:
                    return
                _require_alone(user)
                if status != sqlite3.SQLITE_OK or _pragma(cursor, "data_version") != version:
                    raise InUseError("Another program has written to the store meanwhile")

            with connection.wrap_database_errors:
                _write_over(file, copy, check)
            cursor.execute("PRAGMA wal_checkpoint(PASSIVE)")  # blocks nobody, however long it takes
            cursor.execute("PRAGMA busy_timeout = 0")  # or writers would wait with us for readers
            _empty_log(cursor)


def _write_over(file: Path, copy: Path, check: Callable[[int, int, int], None]) -> None:
    with (
        closing(sqlite3.connect(copy)) as source,
        closing(sqlite3.connect(existing_uri(file), uri=True, timeout=0)) as target,
    ):
        target.execute("PRAGMA synchronous = NORMAL")
        [size] = source.execute("PRAGMA page_count").fetchone()
        pages = min(PAGES_PER_STEP, size // 2)  # at least two steps, so that one is checked
        source.backup(target, pages=pages, progress=check)


def _require_alone(user: Callable[[], str]) -> None:
    if name := user():
        raise InUseError(f"{name} has the store open")


def _empty_log(cursor: CursorWrapper) -> None:
    for _ in range(CHECKPOINT_ATTEMPTS):
        if not _pragma(cursor, "wal_checkpoint(TRUNCATE)"):
            break
        time.sleep(CHECKPOINT_PAUSE)


def _pragma(cursor: CursorWrapper, name: str) -> int:
    cursor.execute(f"PRAGMA {name}")
    return int(cursor.fetchone()[0])


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
