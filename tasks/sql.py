"""The store's statements, and the transactions they run in, on SQLite and on PostgreSQL.

On SQLite a write takes the lock with its first statement and reads take none; on PostgreSQL it
first takes a lock named after the task. Whatever must differ between the two is here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import Error, connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from tasks import errors, opened
from tasks.models import TaskRecord, TaskStatus


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
def writing(task_id: str, using: str | None = None) -> Iterator[CursorWrapper]:
    """A transaction that holds the write lock from its first statement on.

    The time of a write is taken inside, so that the order of commits is the order of times.
    """
    with changing(using) as cursor:
        if _is_postgresql(cursor.db):  # a new task has no row to lock yet
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (task_id,))
        else:
            cursor.execute("DELETE FROM task_checkpoints WHERE 0")  # takes the file's write lock
        yield cursor


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


def has_ended(cursor: CursorWrapper, task_id: str) -> bool:
    """Whether the stored task is terminal; its row is locked from then on."""
    cursor.execute(STATUS + (" FOR UPDATE" if _is_postgresql(cursor.db) else ""), (task_id,))
    row = cursor.fetchone()
    return row is not None and TaskStatus.read(row[0]).is_terminal


def fetch_latest(cursor: CursorWrapper, statement: str, thread_id: str) -> Any:
    """The row that a statement finds of a thread's latest task, or None."""
    if cannot_hold(cursor.db, thread_id):
        return None
    cursor.execute(statement, (thread_id,))
    return cursor.fetchone()


def cannot_hold(connection: BaseDatabaseWrapper, thread_id: str) -> bool:
    """Whether there can be no such thread: PostgreSQL knows no NUL in a text, and says so."""
    return "\0" in thread_id and _is_postgresql(connection)


def _is_postgresql(connection: BaseDatabaseWrapper) -> bool:
    return connection.vendor == "postgresql"


SAVE_SNAPSHOT = """
    INSERT INTO task_records (
        task_id, thread_id, channel, provider, model, status,
        execution_history_json, resumable_history_json, latest_checkpoint_note, checkpoint_count,
        final_response, last_error, created_at, updated_at, completed_at)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, 0, %s, %s, %s, %s, %s)
    ON CONFLICT (task_id) DO UPDATE SET
        thread_id = excluded.thread_id,
        channel = excluded.channel,
        provider = excluded.provider,
        model = excluded.model,
        status = excluded.status,
        execution_history_json = excluded.execution_history_json,
        resumable_history_json = excluded.resumable_history_json,
        latest_checkpoint_note = excluded.latest_checkpoint_note,
        checkpoint_count = CASE WHEN %s THEN 0 ELSE task_records.checkpoint_count END,
        final_response = excluded.final_response,
        last_error = excluded.last_error,
        updated_at = excluded.updated_at,
        completed_at = excluded.completed_at"""

RECORD_CHECKPOINT = """
    INSERT INTO task_records (
        task_id, thread_id, channel, provider, model, status, execution_history_json,
        resumable_history_json, latest_checkpoint_note, checkpoint_count, created_at, updated_at)
    VALUES (%s, %s, %s, %s, %s, 'running', %s, '[]', %s, 1, %s, %s)
    ON CONFLICT (task_id) DO UPDATE SET
        thread_id = excluded.thread_id,
        channel = excluded.channel,
        provider = excluded.provider,
        model = excluded.model,
        status = excluded.status,
        execution_history_json = excluded.execution_history_json,
        latest_checkpoint_note = excluded.latest_checkpoint_note,
        checkpoint_count = task_records.checkpoint_count + 1,
        updated_at = excluded.updated_at"""

ADD_CHECKPOINT = """
    INSERT INTO task_checkpoints (task_id, step_index, checkpoint_note, items_json, created_at)
    VALUES (%s, %s, %s, %s, %s)"""

STATUS = "SELECT status FROM task_records WHERE task_id = %s"

DELETE_CHECKPOINTS = "DELETE FROM task_checkpoints WHERE task_id = %s"

DELETE_THREAD = "DELETE FROM task_records WHERE thread_id = %s"  # the cascade does the rest

_LATEST_TASK = """
    WHERE task_id = (
        SELECT task_id FROM task_records WHERE thread_id = %s
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
    FROM task_checkpoints WHERE task_id = %s ORDER BY step_index, id"""

READ_TASK = _TASK + " WHERE task_id = CAST(%s AS TEXT)"

READ_CHECKPOINTS = """
    SELECT step_index, checkpoint_note, items_json, created_at
    FROM task_checkpoints WHERE task_id = CAST(%s AS TEXT) ORDER BY id"""

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
