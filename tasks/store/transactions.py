"""The store's transactions and locks.

On SQLite, the first statement of a write locks the file, and reads take no lock. On PostgreSQL, a
write first takes two advisory locks, one for the thread and one for the task, and then locks the
task's row. The order is always the same, so writes cannot deadlock.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, TypeVar

from django.db import Error, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from tasks.engines import engine
from tasks.fields import is_canonical, next_nanosecond, now_rfc3339
from tasks.models import TaskStatus
from tasks.store import driver, errors, file_identity, statements
from tasks.store.driver import Execute, Statement
from tasks.store.workspace import store_connection

T = TypeVar("T")

_PAUSES = (0.0, 0.01, 0.03, 0.1)  # seconds before each repetition of a transaction
_MAX_PAUSE = 0.25  # seconds; long enough for a waiting agent, which retries every 0.1 s


@contextmanager
def writing(using: str | None = None) -> Iterator[CursorWrapper]:
    """Open a write transaction. Its first statement must take the store's lock."""
    connection = _connection(using)
    try:
        file_identity.close_if_read_only(connection)
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            driver.limit_lock_wait(connection, partial(driver.run, cursor))
            yield cursor
        file_identity.check_written(connection)
    except Error as error:
        raise _store_error(error, connection) from error.__cause__


def write_task(values: dict[str, Any], *writes: Statement, end_last_run: bool = False) -> None:
    """Run statements that write one task with these values, in a transaction of their own.

    With `end_last_run`, first delete the checkpoints of a task that has ended. `%(now)s` is the
    time of the write. The clock is read while the locks are held, and the time is always later than
    any in the thread or the task: times follow the commit order, even if the clock is set back.
    """
    connection = store_connection()

    def work(execute: Execute) -> None:
        if not engine(connection).is_file:  # a new task has no row to lock yet
            keys = _lock_keys(values["thread_id"], values["task_id"])
            execute(statements.LOCK_THREAD_AND_TASK, keys)
        status, *earlier = map(_text, execute(statements.LAST_WRITE, values).fetchone())
        values["now"] = _time_after(earlier)
        if end_last_run and TaskStatus.read(status).is_terminal:
            execute(statements.END_LAST_RUN, values)
        for statement in writes:
            execute(statement, values)

    run_in_transaction(connection, driver.WRITE, work)


def delete_thread(thread_id: str) -> None:
    """Delete a thread's tasks in a transaction of its own."""
    work = partial(delete_tasks, thread_id=thread_id)
    run_in_transaction(store_connection(), driver.WRITE, work)


def run_in_transaction(
    connection: BaseDatabaseWrapper, begin: Statement | None, work: Callable[[Execute], T]
) -> T:
    """Return the result of `work` in a transaction that `begin` opens, or in none if it is None.

    Whatever it writes is then in the store. If a server certainly did nothing, try again.
    """
    is_write, is_nested = begin is driver.WRITE, driver.is_nested(connection)
    pauses = iter(() if is_nested else _PAUSES)
    while True:
        was_open, is_uncertain = connection.connection is not None, False
        try:
            if is_write:
                file_identity.close_if_read_only(connection)
            else:
                file_identity.close_if_replaced(connection)
            with driver.transact(connection, begin) as execute:
                result = work(execute)
                is_uncertain = is_write  # until the transaction is committed
            if is_write:
                file_identity.check_written(connection)
            return result
        except Error as error:
            is_uncertain = is_uncertain and errors.is_disconnection(error)
            may_repeat = not is_uncertain and errors.may_repeat(error, was_open=was_open)
            pause = next(pauses, None) if may_repeat else None
            if pause is None:
                raise _store_error(error, connection, is_uncertain) from error.__cause__
        time.sleep(pause)


def _text(value: str | bytes | None) -> str:
    return str(value, "utf-8", "replace") if isinstance(value, bytes) else value or ""


def _time_after(earlier: list[str]) -> str:
    """Return the current time, or the time just after the latest of `earlier` if that is later.

    Values in `earlier` that are not timestamps are ignored.
    """
    now = now_rfc3339()
    ahead = [time for time in earlier if time >= now and is_canonical(time)]
    return next_nanosecond(max(ahead)) if ahead else now


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
    driver.run(cursor, statements.LOCK_THREAD, _lock_keys(thread_id))


def lock_thread_and_task(cursor: CursorWrapper, thread_id: str, task_id: str) -> None:
    """Lock a thread and a task that is to be written, which may be new."""
    driver.run(cursor, statements.LOCK_THREAD_AND_TASK, _lock_keys(thread_id, task_id))


def delete_tasks(execute: Execute, thread_id: str) -> None:
    """Delete a thread's tasks. On PostgreSQL, wait for pending writes to the thread first."""
    ids = {"thread_id": thread_id}
    if not engine(store_connection()).is_file:
        execute(statements.LOCK_THREAD, _lock_keys(thread_id))
        execute(statements.LOCK_TASKS, ids).fetchall()  # tells a lost connection from a lost commit
    execute(statements.DELETE_THREAD, ids)


def _lock_keys(thread_id: str, task_id: str = "") -> dict[str, int]:
    """Return the keys of a thread's and a task's advisory lock.

    They are made here because not every server has PostgreSQL's function for that.
    """
    return {"thread_key": _lock_key("thread", thread_id), "task_key": _lock_key("task", task_id)}


def _lock_key(kind: str, id_: str) -> int:
    name = f"{kind} {id_}".replace("\0", "\ufffd")  # as ids are stored
    digest = hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


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


def _store_error(
    error: Error, connection: BaseDatabaseWrapper, is_uncertain: bool = False
) -> Exception:
    """Convert a database error to a StoreError.

    Outside transactions, also close the connection, so that the next call reopens the store.
    """
    if not connection.in_atomic_block:
        connection.close()
    if is_uncertain:
        return errors.uncertain(error, connection)
    return errors.translate(error, connection)
