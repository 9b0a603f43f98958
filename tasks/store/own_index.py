"""Our one index in the agent's store, by which `tasks.index` finds the tasks that have changed.

Every index costs the agent time with each write, so there are no others, and those that earlier
versions made are dropped. On SQLite, both need the write lock. If another program has the file
open, whatever would keep it waiting is left for later; the site works meanwhile.
"""

import sqlite3
import time
from collections.abc import Callable

from django.db import DatabaseError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from tasks.engines import engine
from tasks.store import errors, file_users
from tasks.store.errors import StoreBusyError, StoreReadOnlyError

NAME = "idx_task_records_updated"
FORMER = tuple(f"idx_task_records_{name}" for name in ("status", "created", "steps"))
LOCK_SECONDS = 0.05  # how long another program may have to wait
MAX_ROWS_TO_DROP = 1_200_000  # an index of so many rows is dropped within about that time
CALLBACK_STEPS = 100  # SQLite's instructions between two checks, in which it reads about ten rows

_COLUMNS = "task_records(updated_at DESC, task_id DESC)"


def exists(cursor: CursorWrapper) -> bool:
    return NAME in _existing(cursor)


def settle(alias: str) -> bool:
    """Make our index and drop the former ones. Return False if something is left for later."""
    connection = connections[alias]
    with connection.cursor() as cursor:
        existing = _existing(cursor)
    former = [name for name in FORMER if name in existing]
    if NAME in existing and not former:
        return True
    if connection.in_atomic_block:
        return False
    try:
        if not engine(connection).is_file:
            return _settle_on_server(connection, former)
        with file_users.watching(connection) as user, connection.cursor() as cursor:
            is_made = NAME in existing or _make(cursor, user)
            is_dropped = [_drop(cursor, name, user) for name in former]
            return all(is_dropped) and is_made
    except DatabaseError as error:
        if isinstance(errors.translate(error, connection), StoreBusyError | StoreReadOnlyError):
            return False
        raise


def _existing(cursor: CursorWrapper) -> set[str]:
    if engine(cursor.db).is_file:
        cursor.execute("SELECT name FROM sqlite_master WHERE tbl_name = 'task_records'")
    else:
        cursor.execute(
            "SELECT relname FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid"
            " WHERE indrelid = 'task_records'::regclass AND indisvalid"
        )
    return {name for (name,) in cursor.fetchall()}


def _settle_on_server(connection: BaseDatabaseWrapper, former: list[str]) -> bool:
    with connection.cursor() as cursor:
        for name in former:
            cursor.execute(f"DROP INDEX CONCURRENTLY {name}")
        if not exists(cursor):
            cursor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {NAME}")  # made only in part
            cursor.execute(f"CREATE INDEX CONCURRENTLY {NAME} ON {_COLUMNS}")
    return True


def _drop(cursor: CursorWrapper, name: str, user: Callable[[], str]) -> bool:
    cursor.execute(f"SELECT count(*) FROM task_records INDEXED BY {name}")  # reads it into memory
    [rows] = cursor.fetchone()
    if rows > MAX_ROWS_TO_DROP and user():
        return False
    cursor.execute("PRAGMA secure_delete = OFF")  # overwriting it would take longer
    cursor.execute(f"DROP INDEX {name}")
    time.sleep(0.1)  # lets other programs write
    return True


def _make(cursor: CursorWrapper, user: Callable[[], str]) -> bool:
    deadline = 0.0

    def must_give_way() -> bool:
        nonlocal deadline
        now = time.monotonic()
        deadline = deadline or now + LOCK_SECONDS  # the first call comes when we have the lock
        return now > deadline and user() != ""

    cursor.execute("PRAGMA temp_store = FILE")  # sorts in small steps, between which we can stop
    cursor.db.connection.set_progress_handler(must_give_way, CALLBACK_STEPS)
    try:
        cursor.execute(f"CREATE INDEX {NAME} ON {_COLUMNS}")
    except OperationalError as error:
        if getattr(error.__cause__, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
            return False
        raise
    finally:
        cursor.db.connection.set_progress_handler(None, 0)
    return True
