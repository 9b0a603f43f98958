"""The store's statements, and the transactions they run in, on SQLite and on PostgreSQL.

On SQLite a write takes the lock with its first statement and reads take none. On PostgreSQL a write
first takes two locks, named after the thread and the task, and then the task's row; always in that
order, so that no two writes wait for each other. Whatever must differ between the two is here.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from typing import Any

from django.db import Error, connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from tasks import errors, opened
from tasks.errors import CorruptRecordError
from tasks.fields import following, is_stored_form, now_rfc3339, storable
from tasks.models import TaskRecord, TaskStatus

Time = int | str

_writes = count()  # a number for each write


@contextmanager
def changing(using: str | None = None) -> Iterator[CursorWrapper]:
    """A transaction of the store, for a statement that takes its lock by itself."""
    connection = connections[using or router.db_for_write(TaskRecord)]
    try:
        opened.before_write(connection)
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            yield cursor
        opened.check_written(connection)
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
        if _is_postgresql(cursor.db):
            yield cursor, _time_under_locks(cursor, thread_id, task_id)
        else:  # the first statement takes the file's lock, and asks `time_of_write`
            yield cursor, next(_writes)


def _time_under_locks(cursor: CursorWrapper, thread_id: str, task_id: str) -> str:
    ids = {"thread_id": thread_id, "task_id": task_id}
    run(cursor, LOCK_THREAD_AND_TASK, ids)  # a new task has no row to lock yet
    run(cursor, LOCK_ROW, ids)
    own = cursor.fetchone() or ()
    run(cursor, LATEST_TIME, ids)
    return time_after(*own, *(cursor.fetchone() or ()))


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


def run(cursor: CursorWrapper, statement: "str | ByVendor", values: dict[str, Any]) -> None:
    """Execute a statement with named values, in the words of the cursor's database."""
    text = statement if isinstance(statement, str) else statement[cursor.db.vendor]
    if _is_postgresql(cursor.db):
        values = {name: storable(value, "postgresql") for name, value in values.items()}
    cursor.execute(text, values)


@contextmanager
def reading(using: str | None = None) -> Iterator[CursorWrapper]:
    """A transaction whose statements all see the same state, and which takes no lock."""
    connection = connections[using or router.db_for_read(TaskRecord)]
    outermost = not connection.in_atomic_block
    try:
        opened.follow(connection)
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            if outermost and _is_postgresql(connection):  # SQLite's are all like that
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
        if _is_postgresql(cursor.db):  # it holds no such text
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


def page_of_ids(cursor: CursorWrapper, after: str | bytes | None, size: int) -> list[str | bytes]:
    """The first task ids after this one, in the order of their bytes; those that are texts."""
    comparison = ">=" if after is None else ">"
    is_text = "" if _is_postgresql(cursor.db) else "AND typeof(task_id) = 'text'"
    cursor.execute(
        f"SELECT task_id FROM task_records WHERE task_id {comparison} CAST(%s AS TEXT) {is_text}"
        " ORDER BY task_id LIMIT %s",
        (_key(cursor, after or ""), size),
    )
    return [task_id for (task_id,) in cursor.fetchall()]


def fetch_task(
    cursor: CursorWrapper, task_id: str | bytes
) -> tuple[tuple[Any, ...] | None, list[tuple[Any, ...]]]:
    """The row of a task, or None, and the rows of its checkpoints in the order taken."""
    cursor.execute(READ_TASK, (_key(cursor, task_id),))
    row = cursor.fetchone()
    cursor.execute(READ_CHECKPOINTS, (_key(cursor, task_id),))
    return row, cursor.fetchall()


def has_task(cursor: CursorWrapper, task_id: str | bytes) -> bool:
    key = _key(cursor, task_id)
    if isinstance(key, bytes) or "\0" not in key:  # which PostgreSQL cannot be asked for
        cursor.execute(HAS_TASK, (key,))
        return cursor.fetchone() is not None
    return False


def delete_thread(cursor: CursorWrapper, thread_id: str) -> None:
    """Delete all tasks of a thread; on PostgreSQL after the writes to it that are under way."""
    if _is_postgresql(cursor.db):
        run(cursor, LOCK_THREAD, {"thread_id": thread_id})
    run(cursor, DELETE_THREAD, {"thread_id": thread_id})


def delete_task(cursor: CursorWrapper, task_id: str | bytes) -> None:
    cursor.execute(DELETE_TASK, (_key(cursor, task_id),))


def count_out_of_reach(cursor: CursorWrapper) -> tuple[int, int]:
    """How many tasks have no text for an id, and how many checkpoints no task that has one."""
    if _is_postgresql(cursor.db):
        return 0, 0  # its types and its foreign key see to that
    cursor.execute("SELECT count(*) FROM task_records WHERE typeof(task_id) <> 'text'")
    [tasks] = cursor.fetchone()
    cursor.execute(
        "SELECT count(*) FROM task_checkpoints WHERE typeof(task_id) <> 'text'"
        " OR task_id NOT IN (SELECT task_id FROM task_records WHERE task_id IS NOT NULL)"
    )
    [checkpoints] = cursor.fetchone()
    return tasks, checkpoints


def _key(cursor: CursorWrapper, task_id: str | bytes) -> str | bytes:
    """An id to look for with CAST(%s AS TEXT): on SQLite its bytes, which may be no UTF-8."""
    if _is_postgresql(cursor.db) or isinstance(task_id, bytes):
        return task_id
    return task_id.encode()


def load_task(thread_id: str) -> tuple[tuple[Any, ...] | None, list[tuple[Any, ...]]]:
    """The row of a thread's latest task, or None, and those of its checkpoints."""
    task: tuple[tuple[Any, ...] | None, list[Any]] = _load(reading, _fetch_latest, thread_id)
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
        opened.follow(connection)
        with connection.cursor() as cursor:
            yield cursor
    except Error as error:
        raise _plain(error, connection) from error.__cause__


def _fetch_latest(cursor: CursorWrapper, thread_id: str) -> tuple[Any, list[Any]]:
    run(cursor, LOAD_TASK, {"thread_id": thread_id})
    row = cursor.fetchone()
    if row is None:
        return None, []
    run(cursor, LOAD_CHECKPOINTS, {"task_id": row[0]})
    return row, cursor.fetchall()


def _fetch_resumable(cursor: CursorWrapper, thread_id: str) -> Any:
    run(cursor, LOAD_RESUMABLE, {"thread_id": thread_id})
    return cursor.fetchone()


def _is_postgresql(connection: BaseDatabaseWrapper) -> bool:
    return connection.vendor == "postgresql"


ByVendor = dict[str, str]


def _with_time(statement: str) -> ByVendor:
    """The statement for each database, with the time of its write for `{time}`."""
    others = "task_id = %(task_id)s AND thread_id <> %(thread_id)s"  # all else is in its thread
    asked = (
        "time_of_write(%(now)s,"
        " (SELECT CAST(updated_at AS BLOB) FROM task_records WHERE thread_id = %(thread_id)s"
        " ORDER BY updated_at DESC LIMIT 1),"
        f" (SELECT CAST(updated_at AS BLOB) FROM task_records WHERE {others}))"
    )
    return {
        "sqlite": statement.replace("{time}", asked),
        "postgresql": statement.replace("{time}", "%(now)s"),
    }


_ENDED = ", ".join(f"'{status.value}'" for status in TaskStatus if status.is_terminal)

SAVE_SNAPSHOT = _with_time(f"""
    INSERT INTO task_records (
        task_id, thread_id, channel, provider, model, status,
        execution_history_json, resumable_history_json, latest_checkpoint_note, checkpoint_count,
        final_response, last_error, created_at, updated_at, completed_at)
    VALUES (%(task_id)s, %(thread_id)s, %(channel)s, %(provider)s, %(model)s, %(status)s,
        %(execution_history)s, %(resumable_history)s, %(note)s, 0,
        %(final_response)s, %(last_error)s, {{time}}, {{time}},
        CASE WHEN %(has_ended)s THEN {{time}} END)
    ON CONFLICT (task_id) DO UPDATE SET
        thread_id = excluded.thread_id,
        channel = excluded.channel,
        provider = excluded.provider,
        model = excluded.model,
        status = excluded.status,
        execution_history_json = excluded.execution_history_json,
        resumable_history_json = excluded.resumable_history_json,
        latest_checkpoint_note = excluded.latest_checkpoint_note,
        checkpoint_count = CASE
            WHEN NOT %(has_ended)s AND task_records.status IN ({_ENDED}) THEN 0
            ELSE task_records.checkpoint_count END,
        final_response = excluded.final_response,
        last_error = excluded.last_error,
        updated_at = excluded.updated_at,
        completed_at = excluded.completed_at""")

RECORD_CHECKPOINT = _with_time("""
    INSERT INTO task_records (
        task_id, thread_id, channel, provider, model, status, execution_history_json,
        resumable_history_json, latest_checkpoint_note, checkpoint_count, created_at, updated_at)
    VALUES (%(task_id)s, %(thread_id)s, %(channel)s, %(provider)s, %(model)s, 'running',
        %(execution_history)s, '[]', %(note)s, 1, {time}, {time})
    ON CONFLICT (task_id) DO UPDATE SET
        thread_id = excluded.thread_id,
        channel = excluded.channel,
        provider = excluded.provider,
        model = excluded.model,
        status = excluded.status,
        execution_history_json = excluded.execution_history_json,
        latest_checkpoint_note = excluded.latest_checkpoint_note,
        checkpoint_count = task_records.checkpoint_count + 1,
        updated_at = excluded.updated_at""")

ADD_CHECKPOINT = {
    "sqlite": """
        INSERT INTO task_checkpoints (task_id, step_index, checkpoint_note, items_json, created_at)
        VALUES (%(task_id)s, %(step_index)s, %(note)s, %(items)s, time_of_write(%(now)s))""",
    "postgresql": """
        INSERT INTO task_checkpoints (task_id, step_index, checkpoint_note, items_json, created_at)
        VALUES (%(task_id)s, %(step_index)s, %(note)s, %(items)s, %(now)s)""",
}

# A run that starts over one that has ended takes its checkpoints away.
END_LAST_RUN = f"""
    DELETE FROM task_checkpoints WHERE task_id = %(task_id)s AND EXISTS (
        SELECT 1 FROM task_records WHERE task_id = %(task_id)s AND status IN ({_ENDED}))"""

LOCK_THREAD = "SELECT pg_advisory_xact_lock(hashtextextended(%(thread_id)s, 0))"

LOCK_THREAD_AND_TASK = LOCK_THREAD + ", pg_advisory_xact_lock(hashtextextended(%(task_id)s, 1))"

LOCK_ROW = "SELECT updated_at FROM task_records WHERE task_id = %(task_id)s FOR UPDATE"

LATEST_TIME = """
    SELECT updated_at FROM task_records WHERE thread_id = %(thread_id)s
    ORDER BY updated_at DESC LIMIT 1"""

TAKE_LOCK = "DELETE FROM task_checkpoints WHERE false"  # SQLite's, before anything is read or timed

DELETE_CHECKPOINTS = "DELETE FROM task_checkpoints WHERE task_id = %s"

# The cascade does the rest.
DELETE_THREAD = "DELETE FROM task_records WHERE thread_id = %(thread_id)s"

_LATEST_TASK = """
    WHERE task_id = (
        SELECT task_id FROM task_records WHERE thread_id = %(thread_id)s
        ORDER BY updated_at DESC, task_id DESC LIMIT 1)"""

_TASK = """
    SELECT task_id, thread_id, channel, provider, model, status,
        execution_history_json, resumable_history_json, latest_checkpoint_note, checkpoint_count,
        final_response, last_error, created_at, updated_at, completed_at
    FROM task_records"""

LOAD_TASK = _TASK + _LATEST_TASK

LOAD_RESUMABLE = (
    "SELECT task_id, resumable_history_json, latest_checkpoint_note FROM task_records"
    + _LATEST_TASK
)

LOAD_CHECKPOINTS = """
    SELECT id, step_index, checkpoint_note, items_json, created_at
    FROM task_checkpoints WHERE task_id = %(task_id)s ORDER BY step_index, id"""

READ_TASK = _TASK + " WHERE task_id = CAST(%s AS TEXT)"

READ_CHECKPOINTS = """
    SELECT step_index, checkpoint_note, items_json, created_at
    FROM task_checkpoints WHERE task_id = CAST(%s AS TEXT) ORDER BY id"""

PUT_CHECKPOINT = """
    INSERT INTO task_checkpoints (task_id, step_index, checkpoint_note, items_json, created_at)
    VALUES (%s, %s, %s, %s, %s)"""

ADD_TASK = """
    INSERT INTO task_records (
        task_id, thread_id, channel, provider, model, status,
        execution_history_json, resumable_history_json, latest_checkpoint_note, checkpoint_count,
        final_response, last_error, created_at, updated_at, completed_at)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (task_id) DO NOTHING"""

DELETE_TASK = "DELETE FROM task_records WHERE task_id = CAST(%s AS TEXT)"

HAS_TASK = "SELECT 1 FROM task_records WHERE task_id = CAST(%s AS TEXT)"

IDS_OF_THREAD = "SELECT task_id FROM task_records WHERE thread_id = %s ORDER BY task_id"
