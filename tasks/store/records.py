"""The structs that the verbs take and return."""

import msgspec

from tasks.messages import ChatMessage, ExecutionCheckpointItem
from tasks.models import TaskStatus


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
    """A loaded checkpoint; `created_at` is RFC 3339 text in UTC."""

    step_index: int
    checkpoint_note: str | None
    items: list[ExecutionCheckpointItem]
    created_at: str


class StoredTask(msgspec.Struct):
    """A loaded and decoded task; times are RFC 3339 text in UTC, with up to 9 fractional digits."""

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
    """The part of a task that the agent resumes with."""

    resumable_history: list[ChatMessage]
    latest_checkpoint_note: str | None
