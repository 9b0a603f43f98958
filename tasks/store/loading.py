"""Load a thread's latest task: fetch its rows, check and decode them, and return structs."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import msgspec

from tasks.engines import engine
from tasks.messages import decode_all_items, decode_history, decode_items
from tasks.models import TaskStatus
from tasks.store import driver, statements, transactions
from tasks.store.driver import Execute
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
    if engine(store_connection()).has_snapshot_reads:
        row, checkpoints = _read(_fetch_task, thread_id, driver.READ)
    else:
        row, checkpoints = _read(_fetch_task_at_once, thread_id, None)
    return None if row is None else _stored_task(row, checkpoints)


def load_resumable(thread_id: str) -> StoredResumable | None:
    """Return the data needed to resume a thread, or None. Raises CorruptRecordError."""
    row = _read(_fetch_resumable, thread_id, None)
    if row is None:
        return None
    [row] = _checked([row], ResumableRow, "task_records")
    return StoredResumable(_history(row, "resumable_history_json"), row.latest_checkpoint_note)


def _read(fetch: Callable[[Execute, str], T], thread_id: str, begin: str | None) -> T:
    """Fetch rows; return invalid UTF-8 text as bytes, so that an error can name the row."""
    try:
        return transactions.read(lambda execute: fetch(execute, thread_id), begin)
    except CorruptRecordError:
        with transactions.reading_as_stored() as cursor:
            return fetch(partial(driver.run, cursor), thread_id)


def _fetch_task(execute: Execute, thread_id: str) -> tuple[Row | None, list[Row]]:
    row = execute(statements.LOAD_TASK, {"thread_id": thread_id}).fetchone()
    if row is None:
        return None, []
    return row, execute(statements.LOAD_CHECKPOINTS, {"task_id": row[0]}).fetchall()


def _fetch_task_at_once(execute: Execute, thread_id: str) -> tuple[Row | None, list[Row]]:
    values = {"thread_id": thread_id}
    row = execute(statements.LOAD_TASK_AND_CHECKPOINTS, values).fetchone()
    if row is None:
        return None, []
    width = len(TaskRow._fields)
    return row[:width], list(zip(*row[width:], strict=True))


def _fetch_resumable(execute: Execute, thread_id: str) -> Row | None:
    row: Row | None = execute(statements.LOAD_RESUMABLE, {"thread_id": thread_id}).fetchone()
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
