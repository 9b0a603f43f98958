"""Detect a database file that was deleted, replaced or truncated while a connection had it open.

Without this check, SQLite would keep using the old file and report success for lost writes.
"""

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from tasks.engines import engine
from tasks.store import workspace
from tasks.store.errors import StoreDamagedError, StoreError, StoreMissingError, describe
from tasks.store.untrusted import INDEX


class _File:
    """The identity of a database file, and its size at the last check."""

    __slots__ = ("device", "inode", "is_writable", "path", "size", "wal")

    def __init__(self, path: str):
        self.path, self.is_writable = path, os.access(path, os.W_OK)
        self.wal = 0  # the -wal file's inode, which stays the same while the database is open
        self.device = self.inode = self.size = 0  # these stay 0 if the file no longer exists
        with suppress(OSError):
            stat = os.stat(path)
            self.device, self.inode, self.size = stat.st_dev, stat.st_ino, stat.st_size


_files: WeakKeyDictionary[BaseDatabaseWrapper, _File] = WeakKeyDictionary()


def record_file(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    """Record the file that a new connection opened (a `connection_created` receiver)."""
    _files.pop(connection, None)
    if engine(connection).is_file and not connection.is_in_memory_db():  # type: ignore[attr-defined]
        _files[connection] = _File(str(workspace.file_of(connection)))


def close_if_read_only(connection: BaseDatabaseWrapper) -> None:
    """Close a connection whose file was not writable when opened, so that a write reopens it."""
    file = _files.get(connection)
    if file is not None and not file.is_writable and not connection.in_atomic_block:
        connection.close()


def check_written(connection: BaseDatabaseWrapper) -> None:
    """Raise StoreMissingError or StoreDamagedError if a committed write is not in the store's file.

    Must be called after each commit, before success is reported to the caller.
    """
    if problem := _problem(connection):
        error_class, reason = problem
        raise error_class(
            f"{describe(connection)}: {reason} while it was open, and the write is not in"
            " it; try again"
        )


def close_if_replaced(connection: BaseDatabaseWrapper) -> None:
    """Close a connection whose file was replaced, so that the next read opens the current file."""
    if not connection.in_atomic_block and _problem(connection):
        connection.close()


def reopen_replaced_files(**kwargs: Any) -> None:
    """Drop connections to former files of the site's databases (a `request_started` receiver)."""
    for alias in (DEFAULT_DB_ALIAS, INDEX):
        close_if_replaced(connections[alias])


def _problem(connection: BaseDatabaseWrapper) -> tuple[type[StoreError], str] | None:
    file = _files.get(connection)
    if file is None:
        return None
    try:
        now = os.stat(file.path)
        if now.st_ino != file.inode or now.st_dev != file.device:
            return StoreMissingError, "the file was replaced"
        if now.st_size < file.size and _is_truncated(file.path):
            return StoreDamagedError, "the file was truncated"
        if connection.connection is not None and (wal := _inode(f"{file.path}-wal")) != file.wal:
            if file.wal:
                return StoreMissingError, "its WAL was removed"
            file.wal = wal
    except OSError:
        return StoreMissingError, "the file was removed"
    file.size = now.st_size
    return None


def _is_truncated(path: str) -> bool:
    """Return whether a file is shorter than its header says, unlike a file shrunk by VACUUM.

    SQLite itself does the check: closing the file in Python would release this process's locks.
    """
    if not os.path.getsize(path):
        return True
    address = f"{Path(path).resolve().as_uri()}?immutable=1"
    with closing(sqlite3.connect(address, uri=True)) as connection:
        try:
            connection.execute("SELECT 1 FROM sqlite_master")
        except sqlite3.DatabaseError:
            return True
    return False


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0
