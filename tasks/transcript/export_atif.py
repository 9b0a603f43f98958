"""Export a task in ATIF, the Agent Trajectory Interchange Format, version 1.4.

Each tool result is exported in the step that made the call. Token counts, costs and message times
are omitted, because they are unknown.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from tasks.fields import to_text
from tasks.models import TaskCheckpoint, TaskRecord
from tasks.transcript.history import Message, Thread
from tasks.transcript.text_preview import Text
from tasks.transcript.tool_calls import Call

VERSION = "ATIF-v1.4"
_SOURCES = {"system": "system", "developer": "system", "assistant": "agent"}


def trajectory(record: TaskRecord) -> dict[str, Any]:
    """Return the task as an ATIF trajectory. It has no steps if the history cannot be read."""
    thread = Thread(record)
    steps = list(_numbered(thread.messages))
    document: dict[str, Any] = {
        "schema_version": VERSION,
        "session_id": record.thread_id,
        "agent": {"name": "gloamy", "version": "unknown", "model_name": record.model},
        "steps": steps,
        "final_metrics": {"total_steps": len(steps)},
        "extra": _extra(record),
    }
    if thread.problem:
        document["notes"] = f"The history cannot be read: {thread.problem}"
        document["extra"]["execution_history_json"] = thread.raw.whole
    return document


def _extra(record: TaskRecord) -> dict[str, Any]:
    checkpoints = TaskCheckpoint.objects.filter(task_id=record.task_id).in_recorded_order()
    extra = {
        "task_id": record.task_id,
        "status": record.status,
        "channel": record.channel,
        "provider": record.provider,
        "error": record.last_error,
        "final_response": record.final_response,
        "latest_checkpoint_note": record.latest_checkpoint_note,
        "created_at": to_text(record.created_at),
        "updated_at": to_text(record.updated_at),
        "completed_at": record.completed_at and to_text(record.completed_at),
        "checkpoint_notes": [
            {"step_index": step, "note": note}
            for step, note in checkpoints.values_list("step_index", "checkpoint_note")
            if note
        ],
    }
    return {name: value for name, value in extra.items() if value not in (None, [])}


def _numbered(messages: Sequence[Message]) -> Iterator[dict[str, Any]]:
    number, ids = 0, _Ids()
    for message in messages:
        if message.is_tool_output and message.exchange.messages[0].role == "assistant":
            continue  # tool output is exported in the step that made the calls
        number += 1
        yield {"step_id": number, **_step(message, ids)}


def _step(message: Message, ids: "_Ids") -> dict[str, Any]:
    if message.role == "assistant":
        return _agent_step(message, ids)
    return {
        "source": _SOURCES.get(message.role, "user"),
        "message": message.text.whole,
        "extra": _message_extra(message),
    }


def _agent_step(message: Message, ids: "_Ids") -> dict[str, Any]:
    texts: list[str] = []
    tool_calls: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for part in message.parts:
        if not isinstance(part, Call):
            texts.append(part.whole if isinstance(part, Text) else part.text.whole)
            continue
        call_id = ids.unique(part.id or part.anchor)
        tool_calls.append(
            {
                "tool_call_id": call_id,
                "function_name": part.tool_name,
                "arguments": _object(part.arguments),
            }
        )
        if part.output is not None:
            results.append({"source_call_id": call_id, "content": part.output.whole})
    for other in message.exchange.messages[1:]:
        results += [{"source_call_id": None, "content": r.output} for r in other.orphaned_results]
    step: dict[str, Any] = {
        "source": "agent",
        "message": "\n\n".join(texts),
        "extra": _message_extra(message),
    }
    if message.reasoning:
        step["reasoning_content"] = message.reasoning.whole
    if tool_calls:
        step["tool_calls"] = tool_calls
    if results:
        step["observation"] = {"results": results}
    return step


def _object(arguments: Any) -> dict[str, Any]:
    """Wrap a call's arguments in an object, which ATIF requires, unless they already are one."""
    if isinstance(arguments, dict):
        return arguments
    return {} if arguments in (None, "") else {"arguments": arguments}


def _message_extra(message: Message) -> dict[str, Any]:
    """Return the message's number, plus its role if ATIF has no source for that role."""
    extra: dict[str, Any] = {"message": message.number}
    is_known = message.role in ("user", *_SOURCES)
    return extra if is_known else extra | {"role": message.role}


class _Ids:
    """Makes call ids unique, because an agent reuses the same ids after a restart."""

    def __init__(self) -> None:
        self._uses: Counter[str] = Counter()

    def unique(self, id_: str) -> str:
        self._uses[id_] += 1
        uses = self._uses[id_]
        return id_ if uses == 1 else self.unique(f"{id_}-{uses}")
