"""SQL queries for clearing and restoring threads: their rows, their state and their size."""

from collections.abc import Iterator, Sequence

from django.db.backends.utils import CursorWrapper

from tasks import large_values
from tasks.engines import PerEngine, engine
from tasks.store.statements import CHECKPOINT_COLUMNS, TASK_COLUMNS, CheckpointRow, TaskRow

_TASKS = f"SELECT {TASK_COLUMNS} FROM task_records WHERE thread_id = %(thread_id)s ORDER BY "

# On SQLite, order by rowid: ids may be NULL there, and NULLs have no defined order.
TASKS_OF_THREAD = PerEngine(sqlite=_TASKS + "rowid", postgresql=_TASKS + "task_id")
TASKS_TO_DELETE = TASKS_OF_THREAD._replace(postgresql=_TASKS + "task_id FOR UPDATE")

CHECKPOINTS_OF_THREAD = f"""
    SELECT {CHECKPOINT_COLUMNS} FROM task_checkpoints
    WHERE task_id IN (SELECT task_id FROM task_records WHERE thread_id = %(thread_id)s)
    ORDER BY id"""

# Selects the state of tasks, to detect changes without reading the histories.
STATE_OF_TASKS = """
    SELECT thread_id, task_id, status, updated_at,
        (SELECT count(*) FROM task_checkpoints c WHERE c.task_id = r.task_id),
        (SELECT max(id) FROM task_checkpoints c WHERE c.task_id = r.task_id)
    FROM task_records r WHERE thread_id IN ({}) ORDER BY thread_id, updated_at, task_id"""

MARKS_OF_THREAD = "SELECT task_id, created_at FROM task_records WHERE thread_id = %(thread_id)s"

OLDEST_TASKS = """
    SELECT thread_id, min(created_at) FROM task_records
    WHERE thread_id IN ({}) GROUP BY thread_id"""

NUMBERS = ("id", "step_index", "checkpoint_count")  # all other columns hold text
_TEXTS = {
    "task_records": [name for name in TaskRow._fields if name not in NUMBERS],
    "task_checkpoints": [name for name in CheckpointRow._fields if name not in NUMBERS],
}


def _total(table: str) -> str:
    return " + ".join(f"coalesce(octet_length({table}.{name}), 0)" for name in _TEXTS[table])


_SIZES = f"""
    SELECT thread_id, sum({_total("task_records")}) FROM task_records
    WHERE thread_id IN ({{ids}}) GROUP BY thread_id
    UNION ALL
    SELECT thread_id, sum({_total("task_checkpoints")}) FROM task_checkpoints
    JOIN task_records ON task_records.task_id = task_checkpoints.task_id
    WHERE thread_id IN ({{ids}}) GROUP BY thread_id"""

_ROWIDS = {
    "task_records": "SELECT rowid FROM task_records WHERE thread_id = %s",
    "task_checkpoints": """
        SELECT c.rowid FROM task_checkpoints c JOIN task_records r ON r.task_id = c.task_id
        WHERE thread_id = %s""",
}


def text_sizes(cursor: CursorWrapper, thread_ids: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Yield (thread id, text size in bytes) pairs. Add up a thread's sizes to get its total."""
    if not engine(cursor.db).has_blob_handles:
        ids = ", ".join(["%s"] * len(thread_ids))
        cursor.execute(_SIZES.format(ids=ids), [*thread_ids, *thread_ids])
        yield from ((thread_id, int(size or 0)) for thread_id, size in cursor.fetchall())
        return
    for thread_id in thread_ids:
        for table, statement in _ROWIDS.items():
            cursor.execute(statement, [thread_id])
            for (rowid,) in cursor.fetchall():
                lengths = large_values.lengths(cursor.db.connection, table, rowid, _TEXTS[table])
                yield thread_id, sum(lengths.values())
