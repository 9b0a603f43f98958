"""What can go wrong with a store, each in a class of its own and in a plain sentence.

They are OperationalErrors, so whoever handles Django's own handles these; `__cause__` is what the
database's driver said. Like those, their texts end without a full stop.
"""

import os
from typing import Any

from django.db import DataError, Error, InterfaceError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from tasks.engines import engine
from tasks.store import workspace


class StoreError(OperationalError):
    """The store did not do what it was asked; nothing was written unless the message says so."""


class StoreBusyError(StoreError):
    """Another program held the lock for longer than a write waits. It may work the next time."""


class StoreFullError(StoreError):
    """There is no room left where the store is."""


class StoreReadOnlyError(StoreError):
    """The store's file, folder, disk, server or account allows no writing."""


class StoreMissingError(StoreError):
    """The store's file, one of its tables or one of their columns is not there, or not any more."""


class StoreDamagedError(StoreError):
    """The store's file is no database, or parts of it are spoilt or cut off."""


class StoreTriggerError(StoreError):
    """The store has a trigger that would write more than was asked for."""


class StoreUnavailableError(StoreError):
    """The store cannot be opened, or has stopped answering.

    A write that a PostgreSQL server was committing when it went away may have happened.
    """


class IdTooLongError(StoreError, ValueError):
    """PostgreSQL's indexes hold 2,704 bytes of an id, compressed. SQLite knows no such bound."""


class CorruptRecordError(StoreError):
    """A stored row does not hold what its columns should; the message names row and column."""


# By SQLite's primary result codes.
_SQLITE: dict[int, type[StoreError]] = {
    3: StoreReadOnlyError,  # PERM
    5: StoreBusyError,
    6: StoreBusyError,  # LOCKED
    7: StoreUnavailableError,  # NOMEM
    8: StoreReadOnlyError,
    10: StoreUnavailableError,  # IOERR
    11: StoreDamagedError,  # CORRUPT
    13: StoreFullError,
    14: StoreUnavailableError,  # CANTOPEN
    15: StoreUnavailableError,  # PROTOCOL: the file system's locks do not work
    22: StoreUnavailableError,  # NOLFS: a file system that cannot hold so large a file
    23: StoreTriggerError,  # AUTH: by `hostile`, which refuses nothing else
    26: StoreDamagedError,  # NOTADB
}
_NOT_THERE = ("no such table", "no such column", "has no column named")  # all of them code 1

# By PostgreSQL's SQLSTATE, or the class that begins it.
_POSTGRESQL: dict[str, type[StoreError]] = {
    "08": StoreUnavailableError,  # the connection
    "25006": StoreReadOnlyError,
    "28": StoreUnavailableError,  # it does not let us in
    "3D": StoreMissingError,  # no such database
    "3F": StoreMissingError,  # no such schema
    "40": StoreBusyError,  # deadlock, or not serializable
    "42501": StoreReadOnlyError,  # no permission
    "42703": StoreMissingError,  # no such column
    "42P01": StoreMissingError,  # no such table
    "53": StoreUnavailableError,  # memory, connections
    "53100": StoreFullError,
    "55P03": StoreBusyError,  # lock_timeout
    "57": StoreUnavailableError,  # it shuts down or starts up
    "57014": StoreBusyError,  # statement_timeout
    "58": StoreUnavailableError,  # its disk
    "XX001": StoreDamagedError,
    "XX002": StoreDamagedError,
}
_TOO_LARGE_FOR_INDEX = "54000"
_FIELDS = {
    "task_records_pkey": "task_id",
    "idx_task_records_thread": "thread_id",
    "idx_task_records_updated": "task_id",
    "idx_task_checkpoints_task_step": "task_id",
}

_SENTENCES: dict[type[StoreError], str] = {
    StoreError: "{place} refused it: {reason}",
    StoreBusyError: "{place} is locked by another program ({reason}); try again in a moment",
    StoreFullError: "{place} is on a full disk ({reason}); make room, and try again",
    StoreReadOnlyError: "{place} cannot be written ({reason}); allow writing, and try again",
    StoreMissingError: "{place} is missing, or a part of it: {reason}",
    StoreDamagedError: "{place} is damaged ({reason}); put a good copy in its place",
    StoreTriggerError: (
        "{place} has a trigger, which gloamy never makes and which would write as well ({reason});"
        " drop it, and try again"
    ),
    StoreUnavailableError: "{place} cannot be opened or does not answer: {reason}",
}
_BUSY_SNAPSHOT = 517
_BEGIN_AGAIN = (
    "{place} was written by another program since this transaction began, and it began with a read:"
    " end it, and begin again with the write"
)
_LEAST_ROOM = 128 * 1024  # bytes; SQLite reports a disk without room for its -shm as a failed one


def translated(error: Error, connection: BaseDatabaseWrapper) -> Exception:
    """The plain error for one of Django's; what is not the store's fault comes back as it is."""
    cause = error.__cause__
    if isinstance(error, StoreError | DataError) or cause is None:
        return error
    reason = _reason(cause)
    if engine(connection).is_file:
        kind = _of_sqlite(cause, connection)
        if kind is StoreMissingError and not workspace.file_of(connection).exists():
            reason = "there is no such file"
    elif getattr(cause, "sqlstate", None) == _TOO_LARGE_FOR_INDEX:
        return _too_large(cause)
    else:
        kind = _of_postgresql(cause, error)
    if kind is CorruptRecordError:
        return kind(reason)
    if getattr(cause, "sqlite_errorcode", 0) == _BUSY_SNAPSHOT:
        return kind(_BEGIN_AGAIN.format(place=place(connection)))
    return kind(_SENTENCES[kind].format(place=place(connection), reason=reason))


def place(connection: BaseDatabaseWrapper) -> str:
    """Which database it is, at the beginning of a sentence; never with a password."""
    what = "The store" if connection is workspace.store_connection() else "The database"
    return f"{what} at {workspace.location(connection)}"


def _of_sqlite(cause: Any, connection: BaseDatabaseWrapper) -> type[StoreError]:
    text, code = str(cause), getattr(cause, "sqlite_errorcode", 0) & 0xFF
    if text.startswith("Could not decode to UTF-8"):  # Python's, without a code
        return CorruptRecordError
    if any(phrase in text for phrase in _NOT_THERE):
        return StoreMissingError
    kind = _SQLITE.get(code, StoreError)
    return _cause_on_disk(connection) if kind is StoreUnavailableError else kind


def _cause_on_disk(connection: BaseDatabaseWrapper) -> type[StoreError]:
    """Why a file cannot be opened, read or written, where the disk tells."""
    file = workspace.file_of(connection)
    try:
        file.stat()
        room = os.statvfs(file.parent)
    except FileNotFoundError:
        return StoreMissingError
    except OSError:
        return StoreUnavailableError
    if room.f_bavail * room.f_frsize < _LEAST_ROOM:
        return StoreFullError
    return StoreUnavailableError if os.access(file.parent, os.W_OK) else StoreReadOnlyError


def _of_postgresql(cause: Any, error: Error) -> type[StoreError]:
    state = getattr(cause, "sqlstate", None)
    if state is None:  # from this side of the connection, which is or was none
        is_gone = isinstance(error, OperationalError | InterfaceError)
        return StoreUnavailableError if is_gone else StoreError
    return _POSTGRESQL.get(state) or _POSTGRESQL.get(state[:2], StoreError)


def _too_large(cause: Any) -> IdTooLongError:
    """PostgreSQL names the index up to 8,191 bytes, and just refuses what is longer."""
    field = _FIELDS.get(cause.diag.constraint_name, "task_id or thread_id")
    return IdTooLongError(
        f"{field} is too long for PostgreSQL: an index holds 2,704 bytes, compressed"
    )


def _reason(cause: BaseException) -> str:
    """The first line of what a driver says, and no text of an agent's."""
    line = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
    if line.startswith("Could not decode to UTF-8"):
        line = line.partition(" with text")[0].replace("Could not decode to UTF-8 ", "") + (
            ": text that is not UTF-8"
        )
    return line.rstrip(".")
