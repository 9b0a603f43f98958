"""The task store's verbs: the functions that save, load and delete tasks.

Their names and behavior match gloamy's built-in store, which may use the same SQLite file at the
same time. Every verb has an asynchronous version named `a…`. Calling a plain verb while an event
loop runs raises Django's SynchronousOnlyOperation. Cancelling an `a…` verb does not interrupt its
write, which happens completely or not at all.

If the store fails, the verb writes nothing and raises a StoreError; there is a subclass for each
remedy. StoreUncertainError means that a server may have written. The next call reopens the store,
so nothing needs to be restarted. On a server, deadlocks and lost connections are tried again first.
"""

from functools import partial
from typing import Any

from asgiref.sync import sync_to_async

from tasks.messages import (
    NO_SURROGATES,
    AssistantToolCalls,
    Chat,
    ChatMessage,
    ConversationMessage,
    ExecutionCheckpointItem,
    ToolCall,
    ToolCallRequest,
    ToolResult,
    ToolResults,
    encode_history,
    encode_items,
    require,
)
from tasks.models import TaskStatus
from tasks.sanitization import (
    conversation_messages_to_resumable_turns,
    normalize_resumable_turns,
    resumable_turns_from_task_record,
    resumable_turns_to_conversation_messages,
    strip_tool_call_tags,
)
from tasks.store import driver, statements, transactions
from tasks.store.errors import (
    CorruptRecordError,
    IdTooLongError,
    StoreBusyError,
    StoreDamagedError,
    StoreError,
    StoreFullError,
    StoreMissingError,
    StoreReadOnlyError,
    StoreTriggerError,
    StoreUnavailableError,
    StoreUncertainError,
)
from tasks.store.loading import load_resumable, load_task
from tasks.store.records import (
    StoredCheckpoint,
    StoredTask,
    TaskCheckpointUpdate,
    TaskSnapshot,
)
from tasks.store.thread_rows import ThreadRows, fetch

__all__ = [
    "AssistantToolCalls",
    "Chat",
    "ChatMessage",
    "ConversationMessage",
    "CorruptRecordError",
    "ExecutionCheckpointItem",
    "IdTooLongError",
    "StoreBusyError",
    "StoreDamagedError",
    "StoreError",
    "StoreFullError",
    "StoreMissingError",
    "StoreReadOnlyError",
    "StoreTriggerError",
    "StoreUnavailableError",
    "StoreUncertainError",
    "StoredCheckpoint",
    "StoredTask",
    "TaskCheckpointUpdate",
    "TaskSnapshot",
    "TaskStatus",
    "ThreadChangedError",
    "ToolCall",
    "ToolCallRequest",
    "ToolResult",
    "ToolResults",
    "aclear_session",
    "adelete_by_thread_id",
    "aload_by_thread_id",
    "aload_resumable_state",
    "arecord_checkpoint",
    "asave_snapshot",
    "clear_session",
    "conversation_messages_to_resumable_turns",
    "delete_by_thread_id",
    "load_by_thread_id",
    "load_resumable_state",
    "normalize_resumable_turns",
    "record_checkpoint",
    "resumable_turns_from_task_record",
    "resumable_turns_to_conversation_messages",
    "save_snapshot",
    "strip_tool_call_tags",
]

_MAX_STEP_INDEX = 2**63 - 1
_IDENTITY = ("task_id", "thread_id", "channel", "provider", "model")


class ThreadChangedError(Exception):
    """The thread's rows differ from the expected ones; nothing was deleted."""


def save_snapshot(snapshot: TaskSnapshot) -> None:
    """Insert or replace a task, preserving its `created_at` and its checkpoints.

    `completed_at` is set to the current time if the status is terminal, otherwise to null. Saving
    an ended task as running starts a new run: its checkpoints are deleted and their count reset.
    Raises TypeError or ValueError, naming the invalid field, before anything is written.
    """
    texts = _checked_texts(snapshot, "latest_checkpoint_note", "final_response", "last_error")
    status = _checked_status(snapshot.status)
    values = texts | {
        "status": status.value,
        "has_ended": status.is_terminal,
        "execution_history": encode_history(snapshot.execution_history, "execution_history"),
        "resumable_history": encode_history(snapshot.resumable_history, "resumable_history"),
    }
    transactions.write_task(values, statements.SAVE_SNAPSHOT, end_last_run=not status.is_terminal)


def record_checkpoint(update: TaskCheckpointUpdate) -> None:
    """Add a checkpoint to a task, creating the task if it is new, and set its status to running.

    The task's `resumable_history`, `final_response`, `last_error` and `completed_at` are unchanged.
    Raises TypeError or ValueError, naming the invalid field, before anything is written.
    """
    values = _checked_texts(update, "checkpoint_note") | {
        "step_index": _checked_step_index(update.step_index),
        "execution_history": encode_history(update.execution_history, "execution_history"),
        "items": encode_items(update.items, "items"),
    }
    transactions.write_task(values, statements.RECORD_CHECKPOINT, statements.ADD_CHECKPOINT)


def load_by_thread_id(thread_id: str) -> StoredTask | None:
    """Return the thread's most recently updated task with its checkpoints.

    Returns None if the thread has no tasks. Raises CorruptRecordError if a row cannot be decoded.
    If a message or a tool call repeats a field, the last one is used; `check_store` reports it.
    """
    return load_task(_checked_text(thread_id, "thread_id"))


def delete_by_thread_id(
    thread_id: str, *, expected: ThreadRows | None = None, overwrite: bool = False
) -> None:
    """Delete all of the thread's tasks and their checkpoints.

    Raises ThreadChangedError, and deletes nothing, if the thread's rows differ from `expected`.
    With `overwrite`, SQLite overwrites the deleted data with zeros.
    """
    _checked_text(thread_id, "thread_id")
    if expected is None and not overwrite:
        transactions.delete_thread(thread_id)
        return
    with transactions.secure_delete(enabled=overwrite), transactions.writing() as cursor:
        transactions.lock_thread(cursor, thread_id)
        if expected is not None and fetch(cursor, thread_id, to_delete=True) != expected:
            raise ThreadChangedError(f"The thread {thread_id!r} has changed.")
        transactions.delete_tasks(partial(driver.run, cursor), thread_id)


def clear_session(thread_id: str) -> None:
    """An alias for `delete_by_thread_id`, with the name that the agent's `/new` command uses."""
    delete_by_thread_id(thread_id)


def load_resumable_state(thread_id: str) -> tuple[list[ChatMessage], str | None] | None:
    """Return (turns, latest checkpoint note) to resume the thread, or None if there are no turns.

    Raises CorruptRecordError if the history cannot be decoded.
    """
    stored = load_resumable(_checked_text(thread_id, "thread_id"))
    if stored is None:
        return None
    turns = resumable_turns_from_task_record(stored)
    return (turns, stored.latest_checkpoint_note) if turns else None


async def asave_snapshot(snapshot: TaskSnapshot) -> None:
    """Call `save_snapshot` from asynchronous code."""
    await sync_to_async(save_snapshot)(snapshot)


async def arecord_checkpoint(update: TaskCheckpointUpdate) -> None:
    """Call `record_checkpoint` from asynchronous code."""
    await sync_to_async(record_checkpoint)(update)


async def aload_by_thread_id(thread_id: str) -> StoredTask | None:
    """Call `load_by_thread_id` from asynchronous code."""
    return await sync_to_async(load_by_thread_id)(thread_id)


async def adelete_by_thread_id(thread_id: str) -> None:
    """Call `delete_by_thread_id` from asynchronous code."""
    await sync_to_async(delete_by_thread_id)(thread_id)


async def aclear_session(thread_id: str) -> None:
    """Call `clear_session` from asynchronous code."""
    await sync_to_async(clear_session)(thread_id)


async def aload_resumable_state(
    thread_id: str,
) -> tuple[list[ChatMessage], str | None] | None:
    """Call `load_resumable_state` from asynchronous code."""
    return await sync_to_async(load_resumable_state)(thread_id)


def _checked_texts(source: TaskSnapshot | TaskCheckpointUpdate, *optional: str) -> dict[str, Any]:
    """Validate the text fields and return them in a dict; only the `optional` ones may be None."""
    values: dict[str, Any] = {}
    for name in _IDENTITY:
        values[name] = _checked_text(getattr(source, name), name)
    for name in optional:
        value = getattr(source, name)
        values[name] = None if value is None else _checked_text(value, name)
    return values


def _checked_text(value: Any, name: str) -> str:
    require(value, str, name)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name}: {NO_SURROGATES}") from error
    return value  # type: ignore[no-any-return]


def _checked_status(value: Any) -> TaskStatus:
    require(value, str, "status")
    try:
        return TaskStatus(value)
    except ValueError:
        names = ", ".join(TaskStatus.values)
        raise ValueError(f"status must be one of {names}, not {value!r}") from None


def _checked_step_index(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"step_index must be int, not {type(value).__name__}")
    if not 0 <= value <= _MAX_STEP_INDEX:
        raise ValueError(f"step_index must be from 0 to {_MAX_STEP_INDEX}, not {value}")
    return value
