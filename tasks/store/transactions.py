"""The store's statements, and the transactions they run in, on SQLite and on PostgreSQL.

On SQLite a write takes the lock with its first statement and reads take none. On PostgreSQL a write
first takes two locks, named after the thread and the task, and then the task's row; always in that
order, so that no two writes wait for each other. Whatever must differ between the two is here.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import count
from typing import Any

from django.db import Error, connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from tasks.fields import following, is_stored_form, now_rfc3339, storable
from tasks.models import TaskRecord
from tasks.store import errors, file_identity, statements
from tasks.store.errors import CorruptRecordError
from tasks.store.statements import ByVendor

Time = int | str

_writes = count()  # a number for each write


@contextmanager
def changing(using: str | None = None) -> Iterator[CursorWrapper]:
    """A transaction of the store, for a statement that takes its lock by itself."""
    connection = connections[using or router.db_for_write(TaskRecord)]
    try:
        file_identity.before_write(connection)
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            yield cursor
        file_identity.check_written(connection)
    except Error as error:
        raise _plain(error, connection) from error.__cause__


@contextmanager
def writing(
    thread_id: str, task_id: str, using: str | None = None
) -> Iterator[tuple[CursorWrapper, Time]]:
    """A transaction for writing one task, and what its statements take for `%(now)s`.

    The time of a write is read when it holds its locks, and is later than any time of its thread
    and its task: the order of commits is the order of times, also where a clock stands still or
    goes back. Stored values that are no times do not count.
    """
    with changing(using) as cursor:
        if is_postgresql(cursor.db):
            yield cursor, _time_under_locks(cursor, thread_id, task_id)
        else:  # the first statement takes the file's lock, and asks `time_of_write`
            yield cursor, next(_writes)


def _time_under_locks(cursor: CursorWrapper, thread_id: str, task_id: str) -> str:
    ids = {"thread_id": thread_id, "task_id": task_id}
    run(cursor, statements.LOCK_THREAD_AND_TASK, ids)  # a new task has no row to lock yet
    run(cursor, statements.EARLIER_TIMES, ids)
    return time_after(*filter(None, cursor.fetchone()))


def time_after(*earlier: str) -> str:
    """Now, or the next nanosecond after the latest of these times where that is later."""
    now = now_rfc3339()
    ahead = [time for time in earlier if time >= now and is_stored_form(time)]
    return following(max(ahead)) if ahead else now


class TimeOfWrite:
    """The SQL function `time_of_write` of SQLite: one time for one write, however often asked."""

    def __init__(self) -> None:
        self.write, self.time = -1, ""

    def __call__(self, write: int, *earlier: bytes | None) -> str:
        if write != self.write:
            # they come as bytes: a text that is not UTF-8 would be an error, and is only no time
            texts = [time.decode(errors="replace") for time in earlier if time is not None]
            self.write, self.time = write, time_after(*texts)
        return self.time


def add_functions(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    """For `connection_created`."""
    if connection.vendor == "sqlite":
        connection.connection.create_function("time_of_write", -1, TimeOfWrite())


def run(cursor: CursorWrapper, statement: str | ByVendor, values: dict[str, Any]) -> None:
    """Execute a statement with named values, in the words of the cursor's database."""
    text = statement if isinstance(statement, str) else statement[cursor.db.vendor]
    if is_postgresql(cursor.db):
        values = {name: storable(value, "postgresql") for name, value in values.items()}
    cursor.execute(text, values)


@contextmanager
def reading(using: str | None = None) -> Iterator[CursorWrapper]:
    """A transaction whose statements all see the same state, and which takes no lock."""
    connection = connections[using or router.db_for_read(TaskRecord)]
    outermost = not connection.in_atomic_block
    try:
        file_identity.follow(connection)
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            if outermost and is_postgresql(connection):  # SQLite's are all like that
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield cursor
    except Error as error:
        raise _plain(error, connection) from error.__cause__


def _plain(error: Error, connection: BaseDatabaseWrapper) -> Exception:
    """The store's own error. What comes next opens the store afresh: it may have been mended."""
    if not connection.in_atomic_block:
        connection.close()
    return errors.translated(error, connection)


@contextmanager
def reading_as_stored(using: str | None = None) -> Iterator[CursorWrapper]:
    """`reading`, where a text that is not UTF-8 is no error but comes as bytes."""
    with reading(using) as cursor:
        if is_postgresql(cursor.db):  # it holds no such text
            yield cursor
            return
        connection = cursor.db.connection
        before, connection.text_factory = connection.text_factory, _text_or_bytes
        try:
            yield cursor
        finally:
            connection.text_factory = before


def _text_or_bytes(raw: bytes) -> str | bytes:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def delete_thread(cursor: CursorWrapper, thread_id: str) -> None:
    """Delete all tasks of a thread; on PostgreSQL after the writes to it that are under way."""
    if is_postgresql(cursor.db):
        run(cursor, statements.LOCK_THREAD, {"thread_id": thread_id})
        run(cursor, statements.LOCK_TASKS, {"thread_id": thread_id})
    run(cursor, statements.DELETE_THREAD, {"thread_id": thread_id})


def load_task(thread_id: str) -> tuple[tuple[Any, ...] | None, list[tuple[Any, ...]]]:
    """The row of a thread's latest task, or None, and those of its checkpoints; of one moment."""
    is_one = connections[router.db_for_read(TaskRecord)].vendor == "postgresql"
    how, fetch = (_asking, _fetch_at_once) if is_one else (reading, _fetch_latest)
    task: tuple[tuple[Any, ...] | None, list[Any]] = _load(how, fetch, thread_id)
    return task


def load_resumable(thread_id: str) -> tuple[Any, ...] | None:
    """What a thread's latest task resumes with; one statement, so no transaction is needed."""
    row: tuple[Any, ...] | None = _load(_asking, _fetch_resumable, thread_id)
    return row


def _load(
    how: Callable[[], AbstractContextManager[CursorWrapper]],
    fetch: Callable[[CursorWrapper, str], Any],
    thread_id: str,
) -> Any:
    """What `fetch` finds; with bytes where a text is not UTF-8, so that its row can be named."""
    try:
        with how() as cursor:
            return fetch(cursor, thread_id)
    except CorruptRecordError:
        with reading_as_stored() as cursor:
            return fetch(cursor, thread_id)


@contextmanager
def _asking() -> Iterator[CursorWrapper]:
    connection = connections[router.db_for_read(TaskRecord)]
    try:
        file_identity.follow(connection)
        # an error must not end a transaction of the caller's
        within = (
            transaction.atomic(connection.alias) if connection.in_atomic_block else nullcontext()
        )
        with within, connection.cursor() as cursor:
            yield cursor
    except Error as error:
        raise _plain(error, connection) from error.__cause__


def _fetch_latest(cursor: CursorWrapper, thread_id: str) -> tuple[Any, list[Any]]:
    run(cursor, statements.LOAD_TASK, {"thread_id": thread_id})
    row = cursor.fetchone()
    if row is None:
        return None, []
    run(cursor, statements.LOAD_CHECKPOINTS, {"task_id": row[0]})
    return row, cursor.fetchall()


def _fetch_at_once(cursor: CursorWrapper, thread_id: str) -> tuple[Any, list[Any]]:
    run(cursor, statements.LOAD_TASK_AND_CHECKPOINTS, {"thread_id": thread_id})
    row = cursor.fetchone()
    if row is None:
        return None, []
    width = len(statements.CHECKPOINT_COLUMNS)
    return row[:-width], list(zip(*row[-width:], strict=True))


def _fetch_resumable(cursor: CursorWrapper, thread_id: str) -> Any:
    run(cursor, statements.LOAD_RESUMABLE, {"thread_id": thread_id})
    return cursor.fetchone()


def is_postgresql(connection: BaseDatabaseWrapper) -> bool:
    return connection.vendor == "postgresql"
