"""What the verbs say to a database, with named values; where the two differ, for each."""

from tasks.models import TaskStatus

ByVendor = dict[str, str]


# What is no time does not count.
_LATEST_TIME = """
    FROM task_records WHERE thread_id = %(thread_id)s AND updated_at LIKE '____-__-__T%%+00:00'
    ORDER BY updated_at DESC LIMIT 1"""


def _with_time(statement: str) -> ByVendor:
    """The statement for each database, with the time of its write for `{time}`."""
    others = "task_id = %(task_id)s AND thread_id <> %(thread_id)s"  # all else is in its thread
    asked = (
        f"time_of_write(%(now)s, (SELECT CAST(updated_at AS BLOB) {_LATEST_TIME}),"
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

# The task's time, with its row locked, and the latest of its thread.
EARLIER_TIMES = f"""
    SELECT (SELECT updated_at FROM task_records WHERE task_id = %(task_id)s FOR UPDATE),
        (SELECT updated_at {_LATEST_TIME})"""

# In one order, as a row that has moved to another thread by now stays locked all the same.
LOCK_TASKS = """
    SELECT 1 FROM task_records WHERE thread_id = %(thread_id)s ORDER BY task_id FOR UPDATE"""

# The cascade does the rest.
DELETE_THREAD = "DELETE FROM task_records WHERE thread_id = %(thread_id)s"

_LATEST_TASK = """
    WHERE task_id = (
        SELECT task_id FROM task_records WHERE thread_id = %(thread_id)s
        ORDER BY updated_at DESC, task_id DESC LIMIT 1)"""

TASK_COLUMNS = """
    task_id, thread_id, channel, provider, model, status,
    execution_history_json, resumable_history_json, latest_checkpoint_note, checkpoint_count,
    final_response, last_error, created_at, updated_at, completed_at"""

TASK = f"SELECT {TASK_COLUMNS} FROM task_records"

LOAD_TASK = TASK + _LATEST_TASK

CHECKPOINT_COLUMNS = ("id", "step_index", "checkpoint_note", "items_json", "created_at")

LOAD_CHECKPOINTS = f"""
    SELECT {", ".join(CHECKPOINT_COLUMNS)}
    FROM task_checkpoints WHERE task_id = %(task_id)s ORDER BY step_index, id"""

# PostgreSQL's statements each see a moment of their own, so there it is one: a row of the task, and
# for each of the checkpoints' columns a list.
_LISTS = ", ".join(
    f"ARRAY(SELECT {column} FROM task_checkpoints c WHERE c.task_id = task_records.task_id"
    " ORDER BY step_index, id)"
    for column in CHECKPOINT_COLUMNS
)
LOAD_TASK_AND_CHECKPOINTS = f"SELECT {TASK_COLUMNS}, {_LISTS} FROM task_records" + _LATEST_TASK

LOAD_RESUMABLE = (
    "SELECT task_id, resumable_history_json, latest_checkpoint_note FROM task_records"
    + _LATEST_TASK
)
