"""The SQL statements of the store's verbs, and named tuples for the rows that they return."""

from collections.abc import Iterable
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


class StepRow(NamedTuple):
    """The columns of a checkpoint that a load returns."""

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

_ENDED = ", ".join(f"'{status.value}'" for status in TaskStatus if status.is_terminal)

SAVE_SNAPSHOT = f"""
    INSERT INTO task_records ({TASK_COLUMNS})
    VALUES (%(task_id)s, %(thread_id)s, %(channel)s, %(provider)s, %(model)s, %(status)s,
        %(execution_history)s, %(resumable_history)s, %(latest_checkpoint_note)s, 0,
        %(final_response)s, %(last_error)s, %(now)s, %(now)s,
        CASE WHEN %(has_ended)s THEN %(now)s END)
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
        completed_at = excluded.completed_at"""

RECORD_CHECKPOINT = """
    INSERT INTO task_records (
        task_id, thread_id, channel, provider, model, status, execution_history_json,
        resumable_history_json, latest_checkpoint_note, checkpoint_count, created_at, updated_at)
    VALUES (%(task_id)s, %(thread_id)s, %(channel)s, %(provider)s, %(model)s, 'running',
        %(execution_history)s, '[]', %(checkpoint_note)s, 1, %(now)s, %(now)s)
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
    VALUES (%(task_id)s, %(step_index)s, %(checkpoint_note)s, %(items)s, %(now)s)"""

# Starting a new run of an ended task deletes the checkpoints of its previous run.
END_LAST_RUN = "DELETE FROM task_checkpoints WHERE task_id = %(task_id)s"

# The latest `updated_at` in the thread, ignoring values that are not timestamps.
_LATEST_TIME = """
    FROM task_records WHERE thread_id = %(thread_id)s AND updated_at LIKE '____-__-__T%%+00:00'
    ORDER BY updated_at DESC LIMIT 1"""

# Selects the task's status and `updated_at`, and the latest `updated_at` in its thread. On SQLite,
# these are bytes, since text may not be UTF-8, and the task's own time is read only if the write
# moves it from another thread, because it is stored after the histories. On PostgreSQL, this also
# locks the task's row.
LAST_WRITE = PerEngine(
    sqlite=f"""
    SELECT CAST(status AS BLOB), (SELECT CAST(updated_at AS BLOB) {_LATEST_TIME}),
        CASE WHEN thread_id <> %(thread_id)s THEN CAST(updated_at AS BLOB) END
    FROM (SELECT 1) LEFT JOIN task_records ON task_id = %(task_id)s""",
    postgresql=f"""
    SELECT status, (SELECT updated_at {_LATEST_TIME}), updated_at
    FROM (SELECT 1) AS always LEFT JOIN (
        SELECT status, updated_at FROM task_records WHERE task_id = %(task_id)s FOR UPDATE
    ) AS task ON true""",
)

_THREAD_LOCK = "SELECT pg_advisory_xact_lock(%(thread_key)s::bigint)"
_TASK_LOCK = "pg_advisory_xact_lock(%(task_key)s::bigint)"
LOCK_FILE = "UPDATE task_records SET status = status WHERE 0"  # changes nothing

LOCK_THREAD = PerEngine(sqlite=LOCK_FILE, postgresql=_THREAD_LOCK)
LOCK_THREAD_AND_TASK = PerEngine(sqlite=LOCK_FILE, postgresql=f"{_THREAD_LOCK}, {_TASK_LOCK}")

# Only for PostgreSQL, which can lock single rows.
# Locks the thread's tasks in a fixed order, so that concurrent writes cannot deadlock.
LOCK_TASKS = """
    SELECT 1 FROM task_records WHERE thread_id = %(thread_id)s ORDER BY task_id FOR UPDATE"""

# The deletion cascades to the checkpoints.
DELETE_THREAD = "DELETE FROM task_records WHERE thread_id = %(thread_id)s"

_OF_THREAD = """
    FROM task_records WHERE thread_id = %(thread_id)s
    ORDER BY updated_at DESC, task_id DESC LIMIT 1"""


def _load(columns: Iterable[str]) -> PerEngine:
    """Select columns of the thread's latest task, without sorting histories on SQLite."""
    names = ", ".join(columns)
    return PerEngine(
        sqlite=f"SELECT {names} FROM task_records WHERE rowid = (SELECT rowid {_OF_THREAD})",
        postgresql=f"SELECT {names} {_OF_THREAD}",
    )


LOAD_TASK = _load(TaskRow._fields)
LOAD_RESUMABLE = _load(ResumableRow._fields)

_LOAD_CHECKPOINTS = """
    SELECT {} FROM task_checkpoints WHERE task_id = %(task_id)s ORDER BY step_index, id"""
LOAD_CHECKPOINTS = _LOAD_CHECKPOINTS.format(", ".join(StepRow._fields))
LOAD_CHECKPOINT_IDS = _LOAD_CHECKPOINTS.format("id")

# For engines without snapshot reads: a single statement that selects a task and its checkpoints.
# The first row is the task, and the others are checkpoints, in the last columns.
_NO_TASK = ", ".join("NULL" for _ in TaskRow._fields)
LOAD_TASK_AND_CHECKPOINTS = f"""
    SELECT task.*, NULL::bigint AS step_index, NULL, NULL, NULL, NULL::bigint AS id
    FROM ({LOAD_TASK.postgresql}) AS task
    UNION ALL
    SELECT {_NO_TASK}, {", ".join(StepRow._fields)}, id
    FROM task_checkpoints WHERE task_id = (SELECT task_id {_OF_THREAD})
    ORDER BY step_index NULLS FIRST, id"""
