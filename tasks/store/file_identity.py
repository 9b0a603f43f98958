"""Whether the file that a connection has open is still the one that everybody else finds.

SQLite goes on with a file that was deleted, replaced or cut off, and reports writes as done that
nobody will ever read.
"""

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from django.db.backends.base.base import BaseDatabaseWrapper

from tasks.engines import engine
from tasks.store import workspace
from tasks.store.errors import StoreDamagedError, StoreError, StoreMissingError, place


class _File:
    """A file as it was when it was last looked at."""

    __slots__ = ("device", "inode", "is_writable", "path", "size", "wal")

    def __init__(self, path: str):
        self.path, self.is_writable = path, os.access(path, os.W_OK)
        self.wal = 0  # its inode; it stays the same while we have the file open
        self.device = self.inode = self.size = 0  # of no file, if it has gone by now
        with suppress(OSError):
            found = os.stat(path)
            self.device, self.inode, self.size = found.st_dev, found.st_ino, found.st_size


_files: WeakKeyDictionary[BaseDatabaseWrapper, _File] = WeakKeyDictionary()


def remember(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    """For `connection_created`."""
    _files.pop(connection, None)
    if engine(connection).is_file and not connection.is_in_memory_db():  # type: ignore[attr-defined]
        _files[connection] = _File(str(workspace.file_of(connection)))


def before_write(connection: BaseDatabaseWrapper) -> None:
    """SQLite opens a file for reading only where it must, and that would hold for ever."""
    file = _files.get(connection)
    if file is not None and not file.is_writable and not connection.in_atomic_block:
        connection.close()


def check_written(connection: BaseDatabaseWrapper) -> None:
    """Raise StoreMissingError or StoreDamagedError if a write is not in the store's file.

    Called when it has been committed, and before that is said to anybody.
    """
    if wrong := _what_is_wrong(connection):
        kind, reason = wrong
        raise kind(
            f"{place(connection)}: {reason} while it was open, and what was written is not in it;"
            " try again"
        )


def follow(connection: BaseDatabaseWrapper) -> None:
    """Before a read: leave a file that is not the store's any more for the one that is."""
    if not connection.in_atomic_block and _what_is_wrong(connection):
        connection.close()


def _what_is_wrong(connection: BaseDatabaseWrapper) -> tuple[type[StoreError], str] | None:
    file = _files.get(connection)
    if file is None:
        return None
    try:
        now = os.stat(file.path)
        if now.st_ino != file.inode or now.st_dev != file.device:
            return StoreMissingError, "the file was replaced"
        if now.st_size < file.size and _is_cut_off(file.path):
            return StoreDamagedError, "the file was cut off"
        if connection.connection is not None and (wal := _inode(f"{file.path}-wal")) != file.wal:
            if file.wal:
                return StoreMissingError, "its WAL was taken away"
            file.wal = wal
    except OSError:
        return StoreMissingError, "the file was taken away"
    file.size = now.st_size
    return None


def _is_cut_off(path: str) -> bool:
    """Whether a file has fewer pages than its header says; VACUUM shrinks one and is no harm.

    Asked of SQLite: to open the file ourselves and close it would end all locks of this process.
    """
    if not os.path.getsize(path):
        return True
    address = f"{Path(path).resolve().as_uri()}?immutable=1"
    with closing(sqlite3.connect(address, uri=True)) as alone:
        try:
            alone.execute("SELECT 1 FROM sqlite_master")
        except sqlite3.DatabaseError:
            return True
    return False


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0
