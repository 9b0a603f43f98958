"""Store errors: one class for each way to fix the problem, with plain-language messages.

They are subclasses of OperationalError, so code that handles Django's errors handles them too.
`__cause__` is the database driver's error. As in Django, messages do not end with a full stop.
"""

import os
from typing import Any

from django.db import DataError, Error, InterfaceError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from tasks.engines import engine
from tasks.store import workspace


class StoreError(OperationalError):
    """A store operation failed; nothing was written unless the message says otherwise."""


class StoreBusyError(StoreError):
    """Another program held the store's lock for too long. Retrying may help."""


class StoreFullError(StoreError):
    """The store's disk is full."""


class StoreReadOnlyError(StoreError):
    """The store's file, folder, disk, server or account does not allow writing."""


class StoreMissingError(StoreError):
    """The store's file, or one of its tables or columns, is missing."""


class StoreDamagedError(StoreError):
    """The store is corrupt or truncated, or its file is not a database."""


class StoreTriggerError(StoreError):
    """The store has a trigger that would write more than was requested."""


class StoreUnavailableError(StoreError):
    """The store cannot be opened, or has stopped responding."""


class StoreUncertainError(StoreUnavailableError):
    """The connection to PostgreSQL broke during a commit, so the write may have taken effect.

    Load the thread to find out.
    """


class IdTooLongError(StoreError, ValueError):
    """An id, once compressed, exceeds PostgreSQL's limit of 2,704 bytes for indexed values."""


class CorruptRecordError(StoreError):
    """A stored value is invalid; the message names its row and column."""


# Error classes by SQLite's primary result code.
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
    15: StoreUnavailableError,  # PROTOCOL: file locking does not work
    22: StoreUnavailableError,  # NOLFS: the file is too large for the file system
    23: StoreTriggerError,  # AUTH: the authorizer only denies writes by triggers
    26: StoreDamagedError,  # NOTADB
}
_MISSING = ("no such table", "no such column", "has no column named")  # all have result code 1

# Error classes by PostgreSQL's SQLSTATE, or by its first two characters.
_POSTGRESQL: dict[str, type[StoreError]] = {
    "08": StoreUnavailableError,  # connection failed
    "25006": StoreReadOnlyError,
    "28": StoreUnavailableError,  # authorization failed
    "3D": StoreMissingError,  # no such database
    "3F": StoreMissingError,  # no such schema
    "40": StoreBusyError,  # deadlock or serialization failure
    "42501": StoreReadOnlyError,  # permission denied
    "42703": StoreMissingError,  # no such column
    "42P01": StoreMissingError,  # no such table
    "53": StoreUnavailableError,  # out of memory or out of connections
    "53100": StoreFullError,
    "55P03": StoreBusyError,  # lock_timeout exceeded
    "57": StoreUnavailableError,  # the server is shutting down or starting up
    "57014": StoreBusyError,  # statement_timeout exceeded
    "58": StoreUnavailableError,  # disk failure on the server
    "XX001": StoreDamagedError,
    "XX002": StoreDamagedError,
}
_CONFLICTS = ("40001", "40P01")  # serialization failure, deadlock
_FATAL = ("FATAL", "PANIC")  # errors with which a server closes the connection
_INDEX_ROW_TOO_LARGE = "54000"
_INDEXED_FIELDS = {
    "task_records_pkey": "task_id",
    "idx_task_records_thread": "thread_id",
    "idx_task_records_updated": "task_id",
    "idx_task_checkpoints_task_step": "task_id",
}

_SENTENCES: dict[type[StoreError], str] = {
    StoreError: "{database} rejected the operation: {reason}",
    StoreBusyError: "{database} is locked by another program ({reason}); try again in a moment",
    StoreFullError: "{database} is on a full disk ({reason}); free some space and try again",
    StoreReadOnlyError: "{database} cannot be written to ({reason}); allow writing and try again",
    StoreMissingError: "{database} is missing or incomplete: {reason}",
    StoreDamagedError: "{database} is damaged ({reason}); replace it with a good copy",
    StoreTriggerError: (
        "{database} has a trigger, which gloamy never creates and which would also write"
        " ({reason}); drop it and try again"
    ),
    StoreUnavailableError: "{database} cannot be opened or does not respond: {reason}",
    StoreUncertainError: (
        "{database} stopped responding while it was committing ({reason}): the write may be in it;"
        " load the thread to find out"
    ),
}
_BUSY_SNAPSHOT = 517
_STALE_SNAPSHOT = (
    "{database} was written by another program since this transaction began, and it began with a"
    " read: end it, and begin again with the write"
)
_MIN_FREE_SPACE = 128 * 1024  # bytes; if a -shm file does not fit, SQLite reports an I/O error


def translate(error: Error, connection: BaseDatabaseWrapper) -> Exception:
    """Return the StoreError for a driver error; return a DataError or any other error unchanged."""
    cause = error.__cause__
    if isinstance(error, StoreError | DataError) or cause is None:
        return error
    reason = _reason(cause)
    if engine(connection).is_file:
        error_class = _sqlite_class(cause, connection)
        if error_class is StoreMissingError and not workspace.file_of(connection).exists():
            reason = "there is no such file"
    elif getattr(cause, "sqlstate", None) == _INDEX_ROW_TOO_LARGE:
        return _id_too_long(cause)
    else:
        error_class = _postgresql_class(cause, error)
    if error_class is CorruptRecordError:
        return error_class(reason)
    if getattr(cause, "sqlite_errorcode", 0) == _BUSY_SNAPSHOT:
        return error_class(_STALE_SNAPSHOT.format(database=describe(connection)))
    return error_class(_SENTENCES[error_class].format(database=describe(connection), reason=reason))


def uncertain(error: Error, connection: BaseDatabaseWrapper) -> StoreUncertainError:
    """Return the error for a connection that broke while a transaction was being committed."""
    reason = _reason(error.__cause__ or error)
    text = _SENTENCES[StoreUncertainError].format(database=describe(connection), reason=reason)
    return StoreUncertainError(text)


def is_disconnection(error: Error) -> bool:
    """Return whether the connection to a server broke, whether or not the server said so."""
    cause: Any = error.__cause__
    if getattr(cause, "sqlstate", "") is None:  # the driver's own error
        return isinstance(error, OperationalError | InterfaceError)
    return getattr(cause, "diag", None) is not None and cause.diag.severity_nonlocalized in _FATAL


def may_repeat(error: Error, *, was_open: bool) -> bool:
    """Return whether to repeat a transaction that did nothing: it met another, or lost its server.

    After an error in opening a connection, repeating it would only take more time.
    """
    is_conflict = getattr(error.__cause__, "sqlstate", "") in _CONFLICTS
    return is_conflict or (was_open and is_disconnection(error))


def describe(connection: BaseDatabaseWrapper) -> str:
    """Describe the database and its location for the start of a sentence, without any password."""
    name = "The store" if connection is workspace.store_connection() else "The database"
    return f"{name} at {workspace.location(connection)}"


def _sqlite_class(cause: Any, connection: BaseDatabaseWrapper) -> type[StoreError]:
    text, code = str(cause), getattr(cause, "sqlite_errorcode", 0) & 0xFF
    if text.startswith("Could not decode to UTF-8"):  # raised by Python, so it has no result code
        return CorruptRecordError
    if any(phrase in text for phrase in _MISSING):
        return StoreMissingError
    error_class = _SQLITE.get(code, StoreError)
    return _disk_class(connection) if error_class is StoreUnavailableError else error_class


def _disk_class(connection: BaseDatabaseWrapper) -> type[StoreError]:
    """Check the disk to choose the error for a file that cannot be opened, read or written."""
    file = workspace.file_of(connection)
    try:
        file.stat()
        disk = os.statvfs(file.parent)
    except FileNotFoundError:
        return StoreMissingError
    except OSError:
        return StoreUnavailableError
    if disk.f_bavail * disk.f_frsize < _MIN_FREE_SPACE:
        return StoreFullError
    return StoreUnavailableError if os.access(file.parent, os.W_OK) else StoreReadOnlyError


def _postgresql_class(cause: Any, error: Error) -> type[StoreError]:
    state = getattr(cause, "sqlstate", None)
    if state is None:  # raised by the driver, not by the server
        is_disconnected = isinstance(error, OperationalError | InterfaceError)
        return StoreUnavailableError if is_disconnected else StoreError
    return _POSTGRESQL.get(state) or _POSTGRESQL.get(state[:2], StoreError)


def _id_too_long(cause: Any) -> IdTooLongError:
    """Return an IdTooLongError. It names the field only if PostgreSQL names the index."""
    field = _INDEXED_FIELDS.get(cause.diag.constraint_name, "task_id or thread_id")
    return IdTooLongError(
        f"{field} is too long for PostgreSQL: an index holds 2,704 bytes, compressed"
    )


def _reason(cause: BaseException) -> str:
    """Return the first line of a driver's error message, with any stored text removed."""
    line = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
    if line.startswith("Could not decode to UTF-8"):
        line = line.partition(" with text")[0].replace("Could not decode to UTF-8 ", "") + (
            ": text that is not UTF-8"
        )
    return line.rstrip(".")
