"""The SQL that reads and writes tasks one at a time, exactly as stored."""

from collections.abc import Sequence
from typing import Any

from django.db.backends.utils import CursorWrapper

from tasks.engines import engine
from tasks.maintenance.export_format import Checkpoint
from tasks.store.statements import TASK_COLUMNS, TaskRow

_CHECKPOINT_COLUMNS = ", ".join(Checkpoint.__struct_fields__)
_WHERE_ID = "WHERE task_id = CAST(%s AS TEXT)"
_INSERT_TASK = f"""
    INSERT INTO task_records ({TASK_COLUMNS})
    VALUES ({", ".join(["%s"] * len(TaskRow._fields))}) ON CONFLICT (task_id) DO NOTHING"""
_INSERT_CHECKPOINT = f"""
    INSERT INTO task_checkpoints (task_id, {_CHECKPOINT_COLUMNS}) VALUES (%s, %s, %s, %s, %s)"""


def select_ids(cursor: CursorWrapper, after: str | bytes | None, limit: int) -> list[str | bytes]:
    """Return the next task ids in byte order, skipping ids that are not text."""
    comparison = ">=" if after is None else ">"
    is_text = "" if engine(cursor.db).is_strictly_typed else "AND typeof(task_id) = 'text'"
    cursor.execute(
        f"SELECT task_id FROM task_records WHERE task_id {comparison} CAST(%s AS TEXT) {is_text}"
        " ORDER BY task_id LIMIT %s",
        (_id_param(cursor, after or ""), limit),
    )
    return [task_id for (task_id,) in cursor.fetchall()]


def select_thread_ids(cursor: CursorWrapper, thread_id: str) -> list[str | bytes]:
    """Return the ids of a thread's tasks."""
    cursor.execute(
        "SELECT task_id FROM task_records WHERE thread_id = %s ORDER BY task_id", (thread_id,)
    )
    return [task_id for (task_id,) in cursor.fetchall() if task_id is not None]


def select_task(
    cursor: CursorWrapper, task_id: str | bytes
) -> tuple[tuple[Any, ...] | None, list[tuple[Any, ...]]]:
    """Return a task's row (or None), and its checkpoint rows in the order they were recorded."""
    params = (_id_param(cursor, task_id),)
    cursor.execute(f"SELECT {TASK_COLUMNS} FROM task_records {_WHERE_ID}", params)
    row = cursor.fetchone()
    cursor.execute(
        f"SELECT {_CHECKPOINT_COLUMNS} FROM task_checkpoints {_WHERE_ID} ORDER BY id", params
    )
    return row, cursor.fetchall()


def task_exists(cursor: CursorWrapper, task_id: str | bytes) -> bool:
    param = _id_param(cursor, task_id)
    if isinstance(param, str) and "\0" in param:  # PostgreSQL rejects parameters that contain NUL
        return False
    cursor.execute(f"SELECT 1 FROM task_records {_WHERE_ID}", (param,))
    return cursor.fetchone() is not None


def insert_task(
    cursor: CursorWrapper, task: Sequence[Any], checkpoints: Sequence[Sequence[Any]]
) -> bool:
    """Insert a task and its checkpoints. If the id is taken, write nothing and return False."""
    cursor.execute(_INSERT_TASK, task)
    if not cursor.rowcount:
        return False
    # Remove checkpoints left over from a task with this id that was deleted by hand.
    cursor.execute("DELETE FROM task_checkpoints WHERE task_id = %s", task[:1])
    cursor.executemany(_INSERT_CHECKPOINT, [(task[0], *checkpoint) for checkpoint in checkpoints])
    return True


def delete_task(cursor: CursorWrapper, task_id: str | bytes) -> None:
    cursor.execute(f"DELETE FROM task_records {_WHERE_ID}", (_id_param(cursor, task_id),))


def count_unreachable(cursor: CursorWrapper) -> tuple[int, int]:
    """Count the tasks whose ids are not text, and the checkpoints that have no task."""
    if engine(cursor.db).is_strictly_typed:
        return 0, 0  # the column types and the foreign key prevent both kinds of rows
    cursor.execute("SELECT count(*) FROM task_records WHERE typeof(task_id) <> 'text'")
    [tasks] = cursor.fetchone()
    cursor.execute(
        "SELECT count(*) FROM task_checkpoints WHERE typeof(task_id) <> 'text'"
        " OR task_id NOT IN (SELECT task_id FROM task_records WHERE task_id IS NOT NULL)"
    )
    [checkpoints] = cursor.fetchone()
    return tasks, checkpoints


def _id_param(cursor: CursorWrapper, task_id: str | bytes) -> str | bytes:
    """Prepare an id for CAST(%s AS TEXT). On SQLite, return bytes, since ids may not be UTF-8."""
    if engine(cursor.db).is_strictly_typed or isinstance(task_id, bytes):
        return task_id
    return task_id.encode()
