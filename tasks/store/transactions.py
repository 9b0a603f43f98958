"""The store's transactions and locks.

On SQLite, the first statement of a write locks the file, and reads take no lock. On PostgreSQL, a
write first takes two advisory locks, one for the thread and one for the task, and then locks the
task's row. The order is always the same, so writes cannot deadlock.
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

_MAX_PAUSE = 0.25  # seconds; long enough for a waiting agent, which retries every 0.1 s

_write_numbers = count()


@contextmanager
def writing(using: str | None = None) -> Iterator[CursorWrapper]:
    """Open a write transaction. Its first statement must take the store's lock."""
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
    """Open a transaction that writes one task; yield a cursor and the value for `%(now)s`.

    The clock is read while the locks are held, and a write's time is always later than any time in
    its thread or task. Times thus follow the commit order, even if the clock is set back. On
    SQLite, `%(now)s` is the number of the write, which `write_time` converts to the write's time.
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
    """Return the current time, or the time just after the latest of `earlier` if that is later.

    Values in `earlier` that are not timestamps are ignored.
    """
    now = now_rfc3339()
    ahead = [time for time in earlier if time >= now and is_canonical(time)]
    return next_nanosecond(max(ahead)) if ahead else now


class _WriteTime:
    """The SQLite function `write_time`, which gives all statements of a write the same time."""

    def __init__(self) -> None:
        self.write, self.time = -1, ""

    def __call__(self, write: int, *earlier: bytes | None) -> str:
        if write != self.write:
            # times are passed as bytes, because SQLite rejects text arguments that are not UTF-8
            texts = [time.decode(errors="replace") for time in earlier if time is not None]
            self.write, self.time = write, _time_after(*texts)
        return self.time


def add_functions(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    """Add the SQL function `write_time` to SQLite (a `connection_created` receiver)."""
    if engine(connection).is_file:
        connection.connection.create_function("write_time", -1, _WriteTime())


def run(cursor: CursorWrapper, statement: str | PerEngine, values: dict[str, Any]) -> None:
    """Execute a statement with named parameters, using the version for the current database."""
    text = statement if isinstance(statement, str) else statement.of(cursor.db)
    if engine(cursor.db).is_strictly_typed:
        values = {name: storable(value, cursor.db) for name, value in values.items()}
    cursor.execute(text, values)


@contextmanager
def reading(using: str | None = None, *, single_statement: bool = False) -> Iterator[CursorWrapper]:
    """Open a read transaction whose statements all see the same data. It takes no lock.

    With `single_statement`, no transaction is opened. If the caller has already opened a
    transaction, a savepoint keeps an error from aborting it.
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
    """Open a transaction like `reading`, but return text that is not UTF-8 as bytes."""
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
    """Lock a thread that is to be deleted or restored. Call this before reading anything."""
    run(cursor, statements.LOCK_THREAD, {"thread_id": thread_id})


def delete_thread(cursor: CursorWrapper, thread_id: str) -> None:
    """Delete a thread's tasks. On PostgreSQL, wait for pending writes to the thread first."""
    ids = {"thread_id": thread_id}
    if not engine(cursor.db).is_file:
        run(cursor, statements.LOCK_THREAD, ids)
        run(cursor, statements.LOCK_TASKS, ids)
    run(cursor, statements.DELETE_THREAD, ids)


def yield_lock(held: float) -> None:
    """After holding SQLite's lock for `held` seconds, pause to let the agent take the lock."""
    if engine(store_connection()).is_file:
        time.sleep(min(2 * held, _MAX_PAUSE))


@contextmanager
def secure_delete(using: str | None = None, *, enabled: bool) -> Iterator[None]:
    """Inside a `with` block, set whether SQLite overwrites deleted data with zeros.

    The default depends on how SQLite was built. Overwriting data holds the lock for longer.
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
        if connection.connection is not None:  # an error may have closed the connection
            _pragma(connection, f"secure_delete = {before}")


def flush_wal() -> None:
    """Copy the changes in SQLite's -wal file to the store's file without blocking anyone."""
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
    """Convert a database error to a StoreError.

    Outside transactions, also close the connection, so that the next call reopens the store.
    """
    if not connection.in_atomic_block:
        connection.close()
    return errors.translate(error, connection)
