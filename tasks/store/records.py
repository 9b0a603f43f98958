"""The structs that the store's verbs take and return."""

import msgspec

from tasks.messages import ChatMessage, ExecutionCheckpointItem
from tasks.models import TaskStatus


class TaskSnapshot(msgspec.Struct, kw_only=True):
    """The complete state of a task, as passed to `save_snapshot`."""

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
    """One step of a running task, as passed to `record_checkpoint`."""

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
    """A checkpoint loaded from the store; `created_at` is an RFC 3339 timestamp in UTC."""

    step_index: int
    checkpoint_note: str | None
    items: list[ExecutionCheckpointItem]
    created_at: str


class StoredTask(msgspec.Struct):
    """A task loaded from the store; times are RFC 3339 timestamps in UTC with up to 9 decimals."""

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
    """The part of a task that the agent needs to resume its thread."""

    resumable_history: list[ChatMessage]
    latest_checkpoint_note: str | None
