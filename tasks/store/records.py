"""What the verbs take and give, and how it is made of the store's rows."""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from tasks.messages import (
    ChatMessage,
    ExecutionCheckpointItem,
    decode_all_items,
    decode_history,
    decode_items,
)
from tasks.models import TaskStatus
from tasks.store.errors import CorruptRecordError

T = TypeVar("T")


class TaskSnapshot(msgspec.Struct, kw_only=True):
    """The state of a task between two messages of its thread."""

    task_id: str
    thread_id: str
    channel: str
    provider: str
    model: str
    status: TaskStatus
    execution_history: list[ChatMessage]
    resumable_history: list[ChatMessage]
    latest_checkpoint_note: str | None = None
    final_response: str | None = None
    last_error: str | None = None


class TaskCheckpointUpdate(msgspec.Struct, kw_only=True):
    """One step of a running task."""

    task_id: str
    thread_id: str
    channel: str
    provider: str
    model: str
    step_index: int
    execution_history: list[ChatMessage]
    checkpoint_note: str | None = None
    items: list[ExecutionCheckpointItem]


class StoredCheckpoint(msgspec.Struct):
    """A checkpoint as read back; `created_at` is RFC 3339 text in UTC."""

    step_index: int
    checkpoint_note: str | None
    items: list[ExecutionCheckpointItem]
    created_at: str


class StoredTask(msgspec.Struct):
    """A task as read back, decoded; times are RFC 3339 text in UTC, up to nanoseconds."""

    task_id: str
    thread_id: str
    channel: str
    provider: str
    model: str
    status: TaskStatus
    execution_history: list[ChatMessage]
    resumable_history: list[ChatMessage]
    latest_checkpoint_note: str | None
    checkpoint_count: int
    final_response: str | None
    last_error: str | None
    created_at: str
    updated_at: str
    completed_at: str | None
    checkpoints: list[StoredCheckpoint]


class StoredResumable(msgspec.Struct):
    """What a task is resumed with, as far as it is stored."""

    resumable_history: list[ChatMessage]
    latest_checkpoint_note: str | None


def stored_resumable(row: tuple[Any, ...]) -> StoredResumable:
    """What a row of statements.LOAD_RESUMABLE holds. Raises CorruptRecordError."""
    _RESUMABLE.check([row])
    task_id, history, note = row
    decoded = _decoded("task_records", task_id, "resumable_history_json", decode_history, history)
    return StoredResumable(decoded, note)


def stored_task(row: tuple[Any, ...], checkpoints: list[tuple[Any, ...]]) -> StoredTask:
    """A task of rows of statements.LOAD_TASK and LOAD_CHECKPOINTS. Raises CorruptRecordError."""
    _TASK.check([row])
    task_id, thread_id, channel, provider, model, status, execution, resumable = row[:8]
    note, checkpoint_count, response, error, created_at, updated_at, completed_at = row[8:]
    return StoredTask(
        task_id,
        thread_id,
        channel,
        provider,
        model,
        TaskStatus.read(status),
        _decoded("task_records", task_id, "execution_history_json", decode_history, execution),
        _decoded("task_records", task_id, "resumable_history_json", decode_history, resumable),
        note,
        max(checkpoint_count, 0),
        response,
        error,
        created_at,
        updated_at,
        completed_at,
        _stored_checkpoints(checkpoints),
    )


def _stored_checkpoints(rows: list[tuple[Any, ...]]) -> list[StoredCheckpoint]:
    _CHECKPOINTS.check(rows)
    decoded = decode_all_items([row[3] for row in rows])
    if decoded is None:
        table = "task_checkpoints"
        decoded = [_decoded(table, row[0], "items_json", decode_items, row[3]) for row in rows]
    return [
        StoredCheckpoint(step_index, note, items, created_at)
        for (_, step_index, note, _, created_at), items in zip(rows, decoded, strict=True)
    ]


def _decoded(
    table: str, key: str | int, column: str, decode: Callable[[str], list[T]], raw: str
) -> list[T]:
    """The decoder's result, or its error with the name of the row and the column."""
    try:
        return decode(raw)
    except ValueError as error:
        raise CorruptRecordError(f"{table} {key!r}, {column}: {error}") from error


class _Columns:
    """What the columns of a statement hold, in their order: SQLite stores anything in any."""

    def __init__(self, table: str, **types: Any) -> None:
        self.table, self.types = table, types
        self._rows = list[tuple[tuple(types.values())]]  # type: ignore[misc]

    def check(self, rows: list[tuple[Any, ...]]) -> None:
        try:
            msgspec.convert(rows, self._rows)
        except msgspec.ValidationError:
            raise CorruptRecordError(self._wrong(rows)[0]) from None

    def _wrong(self, rows: list[tuple[Any, ...]]) -> list[str]:
        return [
            f"{self.table} {row[0]!r}, {column}: a value of type {type(value).__name__}"
            for row in rows
            for (column, expected), value in zip(self.types.items(), row, strict=True)
            if not isinstance(value, expected)
        ]


_TASK = _Columns(  # of statements.LOAD_TASK
    "task_records",
    **dict.fromkeys(("task_id", "thread_id", "channel", "provider", "model", "status"), str),
    **dict.fromkeys(("execution_history_json", "resumable_history_json"), str),
    latest_checkpoint_note=str | None,
    checkpoint_count=int,
    **dict.fromkeys(("final_response", "last_error"), str | None),
    **dict.fromkeys(("created_at", "updated_at"), str),
    completed_at=str | None,
)
_CHECKPOINTS = _Columns(  # of statements.LOAD_CHECKPOINTS
    "task_checkpoints",
    id=int,
    step_index=int,
    checkpoint_note=str | None,
    items_json=str,
    created_at=str,
)
_RESUMABLE = _Columns(  # of statements.LOAD_RESUMABLE
    "task_records",
    task_id=str,
    resumable_history_json=str,
    latest_checkpoint_note=str | None,
)
