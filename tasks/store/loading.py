"""Load a thread's latest task: fetch its rows, check and decode them, and return structs."""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from django.db.backends.utils import CursorWrapper

from tasks.engines import engine
from tasks.messages import decode_all_items, decode_history, decode_items
from tasks.models import TaskStatus
from tasks.store import statements, transactions
from tasks.store.errors import CorruptRecordError
from tasks.store.records import StoredCheckpoint, StoredResumable, StoredTask
from tasks.store.statements import CheckpointRow, ResumableRow, TaskRow
from tasks.store.workspace import store_connection

T = TypeVar("T")
Row = tuple[Any, ...]


def load_task(thread_id: str) -> StoredTask | None:
    """Return the thread's latest task and its checkpoints, read from one consistent snapshot.

    Returns None if the thread has no tasks. Raises CorruptRecordError if a row cannot be decoded.
    """
    has_snapshot_reads = engine(store_connection()).has_snapshot_reads
    fetch = _fetch_task if has_snapshot_reads else _fetch_task_at_once
    row, checkpoints = _read(fetch, thread_id, single_statement=not has_snapshot_reads)
    return None if row is None else _stored_task(row, checkpoints)


def load_resumable(thread_id: str) -> StoredResumable | None:
    """Return the data needed to resume a thread, or None. Raises CorruptRecordError."""
    row = _read(_fetch_resumable, thread_id, single_statement=True)
    if row is None:
        return None
    [row] = _checked([row], ResumableRow, "task_records")
    return StoredResumable(_history(row, "resumable_history_json"), row.latest_checkpoint_note)


def _read(
    fetch: Callable[[CursorWrapper, str], Any], thread_id: str, *, single_statement: bool
) -> Any:
    """Fetch rows; return invalid UTF-8 text as bytes, so that an error can name the row."""
    try:
        with transactions.reading(single_statement=single_statement) as cursor:
            return fetch(cursor, thread_id)
    except CorruptRecordError:
        with transactions.reading_as_stored() as cursor:
            return fetch(cursor, thread_id)


def _fetch_task(cursor: CursorWrapper, thread_id: str) -> tuple[Row | None, list[Row]]:
    transactions.run(cursor, statements.LOAD_TASK, {"thread_id": thread_id})
    row = cursor.fetchone()
    if row is None:
        return None, []
    transactions.run(cursor, statements.LOAD_CHECKPOINTS, {"task_id": row[0]})
    return row, cursor.fetchall()


def _fetch_task_at_once(cursor: CursorWrapper, thread_id: str) -> tuple[Row | None, list[Row]]:
    transactions.run(cursor, statements.LOAD_TASK_AND_CHECKPOINTS, {"thread_id": thread_id})
    row = cursor.fetchone()
    if row is None:
        return None, []
    width = len(TaskRow._fields)
    return row[:width], list(zip(*row[width:], strict=True))


def _fetch_resumable(cursor: CursorWrapper, thread_id: str) -> Row | None:
    transactions.run(cursor, statements.LOAD_RESUMABLE, {"thread_id": thread_id})
    row: Row | None = cursor.fetchone()
    return row


def _stored_task(raw: Row, checkpoints: list[Row]) -> StoredTask:
    [row] = _checked([raw], TaskRow, "task_records")
    return StoredTask(
        task_id=row.task_id,
        thread_id=row.thread_id,
        channel=row.channel,
        provider=row.provider,
        model=row.model,
        status=TaskStatus.read(row.status),
        execution_history=_history(row, "execution_history_json"),
        resumable_history=_history(row, "resumable_history_json"),
        latest_checkpoint_note=row.latest_checkpoint_note,
        checkpoint_count=max(row.checkpoint_count, 0),
        final_response=row.final_response,
        last_error=row.last_error,
        created_at=row.created_at,
        updated_at=row.updated_at,
        completed_at=row.completed_at,
        checkpoints=_stored_checkpoints(checkpoints),
    )


def _stored_checkpoints(raws: list[Row]) -> list[StoredCheckpoint]:
    table = "task_checkpoints"
    rows = _checked(raws, CheckpointRow, table)
    decoded = decode_all_items([row.items_json for row in rows])
    if decoded is None:
        decoded = [
            _decoded(decode_items, row.items_json, f"{table} {row.id!r}, items_json")
            for row in rows
        ]
    return [
        StoredCheckpoint(row.step_index, row.checkpoint_note, items, row.created_at)
        for row, items in zip(rows, decoded, strict=True)
    ]


def _history(row: TaskRow | ResumableRow, column: str) -> list[Any]:
    where = f"task_records {row.task_id!r}, {column}"
    return _decoded(decode_history, getattr(row, column), where)


def _decoded(decode: Callable[[str], list[T]], raw: str, where: str) -> list[T]:
    try:
        return decode(raw)
    except ValueError as error:
        raise CorruptRecordError(f"{where}: {error}") from error


def _checked(rows: list[Row], kind: type[T], table: str) -> list[T]:
    """Return the rows as named tuples. Raises CorruptRecordError if a value has the wrong type."""
    try:
        return msgspec.convert(rows, list[kind])  # type: ignore[valid-type]
    except msgspec.ValidationError:
        [first, *_] = [
            f"{table} {row[0]!r}, {column}: a value of type {type(value).__name__}"
            for row in rows
            for (column, expected), value in zip(kind.__annotations__.items(), row, strict=True)
            if not isinstance(value, expected)
        ]
        raise CorruptRecordError(first) from None
