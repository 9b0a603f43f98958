"""The statements that move whole tasks, one at a time, as they are stored."""

from typing import Any

from django.db.backends.utils import CursorWrapper

from tasks.engines import engine
from tasks.store.statements import TASK_COLUMNS, TaskRow


def page_of_ids(cursor: CursorWrapper, after: str | bytes | None, size: int) -> list[str | bytes]:
    """The first task ids after this one, in the order of their bytes; those that are texts."""
    comparison = ">=" if after is None else ">"
    is_text = "" if engine(cursor.db).is_strictly_typed else "AND typeof(task_id) = 'text'"
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
    if engine(cursor.db).is_strictly_typed:
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
    if engine(cursor.db).is_strictly_typed or isinstance(task_id, bytes):
        return task_id
    return task_id.encode()


READ_TASK = f"SELECT {TASK_COLUMNS} FROM task_records WHERE task_id = CAST(%s AS TEXT)"

READ_CHECKPOINTS = """
    SELECT step_index, checkpoint_note, items_json, created_at
    FROM task_checkpoints WHERE task_id = CAST(%s AS TEXT) ORDER BY id"""

PUT_CHECKPOINT = """
    INSERT INTO task_checkpoints (task_id, step_index, checkpoint_note, items_json, created_at)
    VALUES (%s, %s, %s, %s, %s)"""

ADD_TASK = f"""
    INSERT INTO task_records ({TASK_COLUMNS})
    VALUES ({", ".join(["%s"] * len(TaskRow._fields))})
    ON CONFLICT (task_id) DO NOTHING"""

DELETE_TASK = "DELETE FROM task_records WHERE task_id = CAST(%s AS TEXT)"

HAS_TASK = "SELECT 1 FROM task_records WHERE task_id = CAST(%s AS TEXT)"

IDS_OF_THREAD = "SELECT task_id FROM task_records WHERE thread_id = %s ORDER BY task_id"


DELETE_CHECKPOINTS = "DELETE FROM task_checkpoints WHERE task_id = %s"
