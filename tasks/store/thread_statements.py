"""The statements for clearing threads and for putting them back; `sql` has all others."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from tasks import large_values
from tasks.models import TaskRecord
from tasks.store import statements, transactions

TASK_COLUMNS = (
    "task_id",
    "thread_id",
    "channel",
    "provider",
    "model",
    "status",
    "execution_history_json",
    "resumable_history_json",
    "latest_checkpoint_note",
    "checkpoint_count",
    "final_response",
    "last_error",
    "created_at",
    "updated_at",
    "completed_at",
)
CHECKPOINT_COLUMNS = (
    "id",
    "task_id",
    "step_index",
    "checkpoint_note",
    "items_json",
    "created_at",
)
LONGEST_PAUSE = 0.25  # seconds: an agent that waits for the lock looks for it every 0.1 s


def is_postgresql(connection: BaseDatabaseWrapper) -> bool:
    return connection.vendor == "postgresql"


def store() -> BaseDatabaseWrapper:
    return connections[router.db_for_write(TaskRecord)]


def lock_thread(cursor: CursorWrapper, thread_id: str) -> None:
    """Take the lock for deleting a thread or putting it back, before anything is read."""
    if is_postgresql(cursor.db):
        transactions.run(cursor, statements.LOCK_THREAD, {"thread_id": thread_id})
    else:
        cursor.execute(LOCK_FILE)


@contextmanager
def freeing(using: str | None = None, *, overwrite: bool) -> Iterator[None]:
    """On SQLite, whether what is freed is filled with zeros: how SQLite was built does not count.

    Of many megabytes it takes longer, with the lock held.
    """
    connection = connections[using] if using else store()
    if is_postgresql(connection):
        yield
        return
    [before] = _pragma(connection, "secure_delete")
    _pragma(connection, f"secure_delete = {int(overwrite)}")
    try:
        yield
    finally:
        if connection.connection is not None:  # an error closes it
            _pragma(connection, f"secure_delete = {before}")


def _pragma(connection: BaseDatabaseWrapper, statement: str) -> tuple[Any, ...]:
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA {statement}")
        row: tuple[Any, ...] = cursor.fetchone()
        return row


def empty_log() -> None:
    """On SQLite, have the -wal file's pages written to the store; nobody waits for it."""
    connection = store()
    if not is_postgresql(connection) and not connection.in_atomic_block:
        _pragma(connection, "wal_checkpoint(PASSIVE)")


def give_way(held: float) -> None:
    """Leave SQLite's lock to the agent for twice as long as it was held (seconds)."""
    if not is_postgresql(store()):
        time.sleep(min(2 * held, LONGEST_PAUSE))


LOCK_FILE = "UPDATE task_records SET status = status WHERE 0"

_ROWS_OF_THREAD = (
    f"SELECT {', '.join(TASK_COLUMNS)} FROM task_records"
    + " WHERE thread_id = %(thread_id)s ORDER BY "
)

# NULL, which SQLite takes for an id, puts no rows in order.
TASKS_OF_THREAD = {
    "sqlite": _ROWS_OF_THREAD + "rowid",
    "postgresql": _ROWS_OF_THREAD + "task_id",
}

TASKS_TO_DELETE = TASKS_OF_THREAD | {"postgresql": _ROWS_OF_THREAD + "task_id FOR UPDATE"}

CHECKPOINTS_OF_THREAD = """
    SELECT id, task_id, step_index, checkpoint_note, items_json, created_at FROM task_checkpoints
    WHERE task_id IN (SELECT task_id FROM task_records WHERE thread_id = %(thread_id)s)
    ORDER BY id"""

# What tells whether a thread has changed, without a look at a history.
STATE_OF_TASKS = """
    SELECT thread_id, task_id, status, updated_at,
        (SELECT count(*) FROM task_checkpoints c WHERE c.task_id = r.task_id),
        (SELECT max(id) FROM task_checkpoints c WHERE c.task_id = r.task_id)
    FROM task_records r WHERE thread_id IN ({}) ORDER BY thread_id, updated_at, task_id"""

MARKS_OF_THREAD = "SELECT task_id, created_at FROM task_records WHERE thread_id = %(thread_id)s"

OLDEST_TASKS = """
    SELECT thread_id, min(created_at) FROM task_records
    WHERE thread_id IN ({}) GROUP BY thread_id"""

_TEXTS = {
    "task_records": tuple(name for name in TASK_COLUMNS if name != "checkpoint_count"),
    "task_checkpoints": ("task_id", "checkpoint_note", "items_json", "created_at"),
}


def _total(table: str) -> str:
    return " + ".join(f"coalesce(octet_length({table}.{name}), 0)" for name in _TEXTS[table])


# The bytes of texts of threads on PostgreSQL, in two parts: of tasks, of checkpoints.
SIZE_OF_THREADS = f"""
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


def sizes_on_sqlite(cursor: CursorWrapper, thread_ids: Sequence[str]) -> Iterator[tuple[str, int]]:
    """The same on SQLite, where asking for a length would read the text."""
    raw = cursor.db.connection
    for thread_id in thread_ids:
        for table, statement in _ROWIDS.items():
            cursor.execute(statement, [thread_id])
            for (rowid,) in cursor.fetchall():
                found = large_values.lengths(raw, table, rowid, _TEXTS[table])
                yield thread_id, sum(found.values())


def insert(
    cursor: CursorWrapper, table: str, columns: Sequence[str], row: Sequence[Any], texts: set[int]
) -> None:
    """Insert a row; the values at the places of `texts` are texts as bytes."""
    places = ("CAST(%s AS TEXT)" if i in texts else "%s" for i in range(len(row)))
    statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(places)})"
    cursor.execute(statement, row)


SIZE_ON_POSTGRESQL = """
    SELECT pg_total_relation_size('task_records') + pg_total_relation_size('task_checkpoints')"""
