"""The SQL statements of the store's verbs, and named tuples for the rows that they return."""

from typing import NamedTuple

from tasks.engines import PerEngine
from tasks.models import TaskStatus


class TaskRow(NamedTuple):
    """A row of task_records; the fields are the columns in table order.

    SQLite can store any type in any column, so these types are not guaranteed until checked.
    """

    task_id: str
    thread_id: str
    channel: str
    provider: str
    model: str
    status: str
    execution_history_json: str
    resumable_history_json: str
    latest_checkpoint_note: str | None
    checkpoint_count: int
    final_response: str | None
    last_error: str | None
    created_at: str
    updated_at: str
    completed_at: str | None


class CheckpointRow(NamedTuple):
    """A row of task_checkpoints; as in `TaskRow`, the types are not guaranteed until checked."""

    id: int
    task_id: str
    step_index: int
    checkpoint_note: str | None
    items_json: str
    created_at: str


class ResumableRow(NamedTuple):
    """A row returned by the LOAD_RESUMABLE statement."""

    task_id: str
    resumable_history_json: str
    latest_checkpoint_note: str | None


TASK_COLUMNS = ", ".join(TaskRow._fields)
CHECKPOINT_COLUMNS = ", ".join(CheckpointRow._fields)

# Finds the latest `updated_at` in the thread, ignoring values that are not timestamps.
_LATEST_TIME = """
    FROM task_records WHERE thread_id = %(thread_id)s AND updated_at LIKE '____-__-__T%%+00:00'
    ORDER BY updated_at DESC LIMIT 1"""


def _with_time(statement: str) -> PerEngine:
    """Replace `{time}` in the statement with an SQL expression for the time of the write."""
    # matches the task if this write moves it from another thread
    moved = "task_id = %(task_id)s AND thread_id <> %(thread_id)s"
    write_time = (
        f"write_time(%(now)s, (SELECT CAST(updated_at AS BLOB) {_LATEST_TIME}),"
        f" (SELECT CAST(updated_at AS BLOB) FROM task_records WHERE {moved}))"
    )
    return PerEngine(
        sqlite=statement.replace("{time}", write_time),
        postgresql=statement.replace("{time}", "%(now)s"),
    )


_ENDED = ", ".join(f"'{status.value}'" for status in TaskStatus if status.is_terminal)

SAVE_SNAPSHOT = _with_time(f"""
    INSERT INTO task_records ({TASK_COLUMNS})
    VALUES (%(task_id)s, %(thread_id)s, %(channel)s, %(provider)s, %(model)s, %(status)s,
        %(execution_history)s, %(resumable_history)s, %(latest_checkpoint_note)s, 0,
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
        %(execution_history)s, '[]', %(checkpoint_note)s, 1, {time}, {time})
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

_ADD_CHECKPOINT = """
    INSERT INTO task_checkpoints (task_id, step_index, checkpoint_note, items_json, created_at)
    VALUES (%(task_id)s, %(step_index)s, %(checkpoint_note)s, %(items)s, """
ADD_CHECKPOINT = PerEngine(
    sqlite=_ADD_CHECKPOINT + "write_time(%(now)s))", postgresql=_ADD_CHECKPOINT + "%(now)s)"
)

# Starting a new run of an ended task deletes the checkpoints of its previous run.
END_LAST_RUN = f"""
    DELETE FROM task_checkpoints WHERE task_id = %(task_id)s AND EXISTS (
        SELECT 1 FROM task_records WHERE task_id = %(task_id)s AND status IN ({_ENDED}))"""

_THREAD_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(%(thread_id)s, 0))"

LOCK_THREAD = PerEngine(
    sqlite="UPDATE task_records SET status = status WHERE 0",  # changes nothing, but locks the file
    postgresql=_THREAD_LOCK,
)

# The statements from here through LOCK_TASKS are only for PostgreSQL, which can lock single rows.
LOCK_THREAD_AND_TASK = _THREAD_LOCK + ", pg_advisory_xact_lock(hashtextextended(%(task_id)s, 1))"

# Selects the task's `updated_at`, locking its row, and the latest `updated_at` in the thread.
EARLIER_TIMES = f"""
    SELECT (SELECT updated_at FROM task_records WHERE task_id = %(task_id)s FOR UPDATE),
        (SELECT updated_at {_LATEST_TIME})"""

# Locks the thread's tasks in a fixed order, so that concurrent writes cannot deadlock.
LOCK_TASKS = """
    SELECT 1 FROM task_records WHERE thread_id = %(thread_id)s ORDER BY task_id FOR UPDATE"""

# The deletion cascades to the checkpoints.
DELETE_THREAD = "DELETE FROM task_records WHERE thread_id = %(thread_id)s"

_LATEST_TASK = """
    WHERE task_id = (
        SELECT task_id FROM task_records WHERE thread_id = %(thread_id)s
        ORDER BY updated_at DESC, task_id DESC LIMIT 1)"""

LOAD_TASK = f"SELECT {TASK_COLUMNS} FROM task_records" + _LATEST_TASK

LOAD_CHECKPOINTS = f"""
    SELECT {CHECKPOINT_COLUMNS}
    FROM task_checkpoints WHERE task_id = %(task_id)s ORDER BY step_index, id"""

# For engines without snapshot reads: a single statement that selects a task and its checkpoints.
# Each checkpoint column is returned as a list of values.
_LISTS = ", ".join(
    f"ARRAY(SELECT {column} FROM task_checkpoints c WHERE c.task_id = task_records.task_id"
    " ORDER BY step_index, id)"
    for column in CheckpointRow._fields
)
LOAD_TASK_AND_CHECKPOINTS = f"SELECT {TASK_COLUMNS}, {_LISTS} FROM task_records" + _LATEST_TASK

LOAD_RESUMABLE = f"SELECT {', '.join(ResumableRow._fields)} FROM task_records" + _LATEST_TASK
