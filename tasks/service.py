"""The verbs of the task store: the one door for whatever writes to it.

Names and behaviour are those of gloamy's own store, which works on the same SQLite file at the
same time. Every verb has an `a…` twin for asynchronous code; where an event loop runs, a plain verb
raises Django's SynchronousOnlyOperation. A twin that is cancelled while it is at work is finished
all the same: its write happened whole, or not at all.

What goes wrong with the store is a StoreError, of one class for each thing that one can do about
it; then nothing was written. The next call opens the store afresh, so there is nothing to restart.
"""

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
from tasks.store import statements, thread_statements, transactions
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
)
from tasks.store.records import (
    StoredCheckpoint,
    StoredTask,
    TaskCheckpointUpdate,
    TaskSnapshot,
    stored_resumable,
    stored_task,
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


class ThreadChangedError(Exception):
    """A thread is not, or not any more, what it was expected to be; nothing was deleted."""


def save_snapshot(snapshot: TaskSnapshot) -> None:
    """Insert or replace a task; its `created_at` and its checkpoints stay.

    `completed_at` becomes now if the status is terminal, else null. Saving a task as running over
    a terminal one starts a new run: its count becomes 0 and its checkpoints go.
    Raises TypeError or ValueError, naming the field, before anything is written.
    """
    _check_texts(snapshot, "latest_checkpoint_note", "final_response", "last_error")
    status = _status(snapshot.status)
    values = {
        **_identity(snapshot),
        "status": status.value,
        "has_ended": status.is_terminal,
        "execution_history": encode_history(snapshot.execution_history, "execution_history"),
        "resumable_history": encode_history(snapshot.resumable_history, "resumable_history"),
        "note": snapshot.latest_checkpoint_note,
        "final_response": snapshot.final_response,
        "last_error": snapshot.last_error,
    }
    with transactions.writing(snapshot.thread_id, snapshot.task_id) as (cursor, values["now"]):
        if not status.is_terminal:
            transactions.run(cursor, statements.END_LAST_RUN, values)
        transactions.run(cursor, statements.SAVE_SNAPSHOT, values)


def record_checkpoint(update: TaskCheckpointUpdate) -> None:
    """Add a checkpoint to a task, which is running from then on; the task is made if it is new.

    `resumable_history`, `final_response`, `last_error` and `completed_at` of a task stay.
    Raises TypeError or ValueError, naming the field, before anything is written.
    """
    _check_texts(update, "checkpoint_note")
    _check_step_index(update.step_index)
    values = {
        **_identity(update),
        "execution_history": encode_history(update.execution_history, "execution_history"),
        "step_index": update.step_index,
        "note": update.checkpoint_note,
        "items": encode_items(update.items, "items"),
    }
    with transactions.writing(update.thread_id, update.task_id) as (cursor, values["now"]):
        transactions.run(cursor, statements.RECORD_CHECKPOINT, values)
        transactions.run(cursor, statements.ADD_CHECKPOINT, values)


def load_by_thread_id(thread_id: str) -> StoredTask | None:
    """The thread's most recently updated task with its checkpoints, or None where there is none.

    Raises CorruptRecordError where a row cannot be decoded.
    """
    _check_text(thread_id, "thread_id")
    row, checkpoints = transactions.load_task(thread_id)
    return None if row is None else stored_task(row, checkpoints)


def delete_by_thread_id(
    thread_id: str, *, expected: ThreadRows | None = None, overwrite: bool = False
) -> None:
    """Delete all tasks of the thread with their checkpoints.

    Where rows are expected, ThreadChangedError is raised and nothing deleted unless the thread has
    exactly these. `overwrite` has SQLite fill with zeros what it frees.
    """
    _check_text(thread_id, "thread_id")
    if expected is None and not overwrite:
        with transactions.changing() as cursor:
            transactions.delete_thread(cursor, thread_id)
        return
    with thread_statements.freeing(overwrite=overwrite), transactions.changing() as cursor:
        thread_statements.lock_thread(cursor, thread_id)
        if expected is not None and fetch(cursor, thread_id, to_delete=True) != expected:
            raise ThreadChangedError(f"The thread {thread_id!r} has changed.")
        transactions.delete_thread(cursor, thread_id)


def clear_session(thread_id: str) -> None:
    """`delete_by_thread_id` under the name that the agent's `/new` uses."""
    delete_by_thread_id(thread_id)


def load_resumable_state(thread_id: str) -> tuple[list[ChatMessage], str | None] | None:
    """What the agent resumes with: (turns, latest checkpoint note), or None where no turn is left.

    Raises CorruptRecordError where the history cannot be decoded.
    """
    _check_text(thread_id, "thread_id")
    row = transactions.load_resumable(thread_id)
    if row is None:
        return None
    stored = stored_resumable(row)
    turns = resumable_turns_from_task_record(stored)
    return (turns, stored.latest_checkpoint_note) if turns else None


async def asave_snapshot(snapshot: TaskSnapshot) -> None:
    """`save_snapshot` for asynchronous code."""
    await sync_to_async(save_snapshot)(snapshot)


async def arecord_checkpoint(update: TaskCheckpointUpdate) -> None:
    """`record_checkpoint` for asynchronous code."""
    await sync_to_async(record_checkpoint)(update)


async def aload_by_thread_id(thread_id: str) -> StoredTask | None:
    """`load_by_thread_id` for asynchronous code."""
    return await sync_to_async(load_by_thread_id)(thread_id)


async def adelete_by_thread_id(thread_id: str) -> None:
    """`delete_by_thread_id` for asynchronous code."""
    await sync_to_async(delete_by_thread_id)(thread_id)


async def aclear_session(thread_id: str) -> None:
    """`clear_session` for asynchronous code."""
    await sync_to_async(clear_session)(thread_id)


async def aload_resumable_state(
    thread_id: str,
) -> tuple[list[ChatMessage], str | None] | None:
    """`load_resumable_state` for asynchronous code."""
    return await sync_to_async(load_resumable_state)(thread_id)


def _identity(given: TaskSnapshot | TaskCheckpointUpdate) -> dict[str, Any]:
    return {
        "task_id": given.task_id,
        "thread_id": given.thread_id,
        "channel": given.channel,
        "provider": given.provider,
        "model": given.model,
    }


def _check_texts(given: TaskSnapshot | TaskCheckpointUpdate, *optional: str) -> None:
    for name in ("task_id", "thread_id", "channel", "provider", "model"):
        _check_text(getattr(given, name), name)
    for name in optional:
        if (value := getattr(given, name)) is not None:
            _check_text(value, name)


def _check_text(value: Any, name: str) -> None:
    require(value, str, name)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name}: {NO_SURROGATES}") from error


def _status(given: Any) -> TaskStatus:
    require(given, str, "status")
    if given not in TaskStatus.values:
        raise ValueError(f"status must be one of {', '.join(TaskStatus.values)}, not {given!r}")
    return TaskStatus(given)


def _check_step_index(step_index: Any) -> None:
    if type(step_index) is not int:
        raise TypeError(f"step_index must be int, not {type(step_index).__name__}")
    if not 0 <= step_index <= _MAX_STEP_INDEX:
        raise ValueError(f"step_index must be from 0 to {_MAX_STEP_INDEX}, not {step_index}")
