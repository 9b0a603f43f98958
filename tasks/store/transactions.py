"""The store's transactions and locks.

On SQLite a write takes the file's lock with its first statement, and reads take none. On PostgreSQL
a write first takes two locks, named after the thread and the task, and then locks the task's row,
always in that order, so that writes cannot deadlock.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import count
from typing import Any

from django.db import Error, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from tasks.engines import PerEngine, engine, storable
from tasks.fields import is_canonical, next_nanosecond, now_rfc3339
from tasks.store import errors, file_identity, statements
from tasks.store.workspace import store_connection

_MAX_PAUSE = 0.25  # seconds; an agent that waits for the lock retries every 0.1 s

_write_numbers = count()


@contextmanager
def writing(using: str | None = None) -> Iterator[CursorWrapper]:
    """Open a write transaction, whose first statement must take the lock."""
    connection = _connection(using)
    try:
        file_identity.close_if_read_only(connection)
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            yield cursor
        file_identity.check_written(connection)
    except Error as error:
        raise _store_error(error, connection) from error.__cause__


@contextmanager
def writing_task(
    thread_id: str, task_id: str, using: str | None = None
) -> Iterator[tuple[CursorWrapper, int | str]]:
    """Open a transaction that writes one task; yield its cursor and the value of `%(now)s`.

    The time of a write is read while its locks are held, and is later than any time in its thread
    or task. So times follow the order of commits, even if a clock stops or goes back. On SQLite,
    `%(now)s` is the number of the write, which `write_time` converts to its time.
    """
    with writing(using) as cursor:
        if engine(cursor.db).is_file:
            yield cursor, next(_write_numbers)
        else:
            ids = {"thread_id": thread_id, "task_id": task_id}
            run(cursor, statements.LOCK_THREAD_AND_TASK, ids)  # a new task has no row to lock yet
            run(cursor, statements.EARLIER_TIMES, ids)
            yield cursor, _time_after(*filter(None, cursor.fetchone()))


def _time_after(*earlier: str) -> str:
    """Return the current time, or one nanosecond after the latest of `earlier` if that is later.

    Values that are not timestamps are ignored.
    """
    now = now_rfc3339()
    ahead = [time for time in earlier if time >= now and is_canonical(time)]
    return next_nanosecond(max(ahead)) if ahead else now


class _WriteTime:
    """SQLite's function `write_time`, which returns the same time for all statements of a write."""

    def __init__(self) -> None:
        self.write, self.time = -1, ""

    def __call__(self, write: int, *earlier: bytes | None) -> str:
        if write != self.write:
            # bytes, because SQLite raises an error for a text argument that is not UTF-8
            texts = [time.decode(errors="replace") for time in earlier if time is not None]
            self.write, self.time = write, _time_after(*texts)
        return self.time


def add_functions(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    """Receiver of `connection_created`: add `write_time` to SQLite."""
    if engine(connection).is_file:
        connection.connection.create_function("write_time", -1, _WriteTime())


def run(cursor: CursorWrapper, statement: str | PerEngine, values: dict[str, Any]) -> None:
    """Execute a statement with named values."""
    text = statement if isinstance(statement, str) else statement.of(cursor.db)
    if engine(cursor.db).is_strictly_typed:
        values = {name: storable(value, cursor.db) for name, value in values.items()}
    cursor.execute(text, values)


@contextmanager
def reading(using: str | None = None, *, single_statement: bool = False) -> Iterator[CursorWrapper]:
    """Open a transaction whose statements all see the same state. It takes no lock.

    With `single_statement`, no transaction is opened; if the caller has one, a savepoint keeps an
    error from aborting it.
    """
    connection = _connection(using)
    is_nested = connection.in_atomic_block
    is_atomic = is_nested or not single_statement
    try:
        file_identity.close_if_replaced(connection)
        scope = transaction.atomic(connection.alias) if is_atomic else nullcontext()
        with scope, connection.cursor() as cursor:
            if is_atomic and not is_nested and not engine(connection).has_snapshot_reads:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield cursor
    except Error as error:
        raise _store_error(error, connection) from error.__cause__


@contextmanager
def reading_as_stored(using: str | None = None) -> Iterator[CursorWrapper]:
    """Like `reading`, but return text that is not UTF-8 as bytes."""
    with reading(using) as cursor, non_utf8_as(cursor, bytes):
        yield cursor


@contextmanager
def non_utf8_as(cursor: CursorWrapper, wrap: Callable[[bytes], Any]) -> Iterator[None]:
    """Make the cursor return `wrap(raw)` for text that is not UTF-8 instead of raising an error."""
    if engine(cursor.db).is_strictly_typed:
        yield
        return

    def decode(raw: bytes) -> Any:
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return wrap(raw)

    connection = cursor.db.connection
    before, connection.text_factory = connection.text_factory, decode
    try:
        yield
    finally:
        connection.text_factory = before


def lock_thread(cursor: CursorWrapper, thread_id: str) -> None:
    """Take the lock for deleting or restoring a thread, before anything is read."""
    run(cursor, statements.LOCK_THREAD, {"thread_id": thread_id})


def delete_thread(cursor: CursorWrapper, thread_id: str) -> None:
    """Delete all tasks of a thread; on PostgreSQL, wait for pending writes to it first."""
    ids = {"thread_id": thread_id}
    if not engine(cursor.db).is_file:
        run(cursor, statements.LOCK_THREAD, ids)
        run(cursor, statements.LOCK_TASKS, ids)
    run(cursor, statements.DELETE_THREAD, ids)


def yield_lock(held: float) -> None:
    """Let the agent take SQLite's lock: pause for twice the seconds it was held, up to a limit."""
    if engine(store_connection()).is_file:
        time.sleep(min(2 * held, _MAX_PAUSE))


@contextmanager
def secure_delete(using: str | None = None, *, enabled: bool) -> Iterator[None]:
    """Set whether SQLite fills freed space with zeros; its default depends on the build.

    Filling many megabytes takes time, during which the lock is held.
    """
    connection = _connection(using)
    if not engine(connection).is_file:
        yield
        return
    [before] = _pragma(connection, "secure_delete")
    _pragma(connection, f"secure_delete = {int(enabled)}")
    try:
        yield
    finally:
        if connection.connection is not None:  # an error may have closed it
            _pragma(connection, f"secure_delete = {before}")


def flush_wal() -> None:
    """Make SQLite copy the pages in its -wal file to the store's file, without blocking anyone."""
    connection = store_connection()
    if engine(connection).is_file and not connection.in_atomic_block:
        _pragma(connection, "wal_checkpoint(PASSIVE)")


def _pragma(connection: BaseDatabaseWrapper, statement: str) -> tuple[Any, ...]:
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA {statement}")
        row: tuple[Any, ...] = cursor.fetchone()
        return row


def _connection(using: str | None) -> BaseDatabaseWrapper:
    return connections[using] if using else store_connection()


def _store_error(error: Error, connection: BaseDatabaseWrapper) -> Exception:
    """Return the StoreError for a database error.

    Also closes the connection, so that the next call reopens a store that has been repaired.
    """
    if not connection.in_atomic_block:
        connection.close()
    return errors.translate(error, connection)
