"""A task as an ATIF trajectory: the Agent Trajectory Interchange Format, version 1.4.

A result belongs to the step of its call. What is not known is left out: tokens, cost, and the
times of single messages.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from tasks.fields import to_text
from tasks.models import TaskCheckpoint, TaskRecord
from tasks.transcript.history import Message, Thread
from tasks.transcript.text_preview import Text
from tasks.transcript.tool_calls import Call

VERSION = "ATIF-v1.4"
_SOURCES = {"system": "system", "developer": "system", "assistant": "agent"}


def trajectory(record: TaskRecord) -> dict[str, Any]:
    """The task as one object of the format; without steps where its history cannot be read."""
    thread = Thread(record)
    steps = list(_numbered(thread.messages))
    document: dict[str, Any] = {
        "schema_version": VERSION,
        "session_id": record.thread_id,
        "agent": {"name": "gloamy", "version": "unknown", "model_name": record.model},
        "steps": steps,
        "final_metrics": {"total_steps": len(steps)},
        "extra": _about(record),
    }
    if thread.problem:
        document["notes"] = f"The history cannot be read: {thread.problem}"
        document["extra"]["execution_history_json"] = thread.raw.whole
    return document


def _about(record: TaskRecord) -> dict[str, Any]:
    notes = TaskCheckpoint.objects.filter(task_id=record.task_id).in_order_taken()
    about = {
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
            for step, note in notes.values_list("step_index", "checkpoint_note")
            if note
        ],
    }
    return {name: value for name, value in about.items() if value not in (None, [])}


def _numbered(messages: list[Message]) -> Iterator[dict[str, Any]]:
    number, ids = 0, _Ids()
    for message in messages:
        if message.is_tool_output and message.exchange.messages[0].role == "assistant":
            continue  # with the step of its calls
        number += 1
        yield {"step_id": number, **_step(message, ids)}


def _step(message: Message, ids: "_Ids") -> dict[str, Any]:
    if message.role == "assistant":
        return _agent_step(message, ids)
    step: dict[str, Any] = {
        "source": _SOURCES.get(message.role, "user"),
        "message": message.text.whole,
    }
    return step | {"extra": _where(message)}


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
        "extra": _where(message),
    }
    if message.reasoning:
        step["reasoning_content"] = message.reasoning.whole
    if tool_calls:
        step["tool_calls"] = tool_calls
    if results:
        step["observation"] = {"results": results}
    return step


def _object(arguments: Any) -> dict[str, Any]:
    """Arguments as the object that the format wants."""
    if isinstance(arguments, dict):
        return arguments
    return {} if arguments in (None, "") else {"arguments": arguments}


def _where(message: Message) -> dict[str, Any]:
    """The message of the history, and its role where the format has no source for it."""
    place: dict[str, Any] = {"message": message.number}
    known = message.role in ("user", *_SOURCES)
    return place if known else place | {"role": message.role}


class _Ids:
    """Names of calls, each given once: an agent that begins again uses its own again."""

    def __init__(self) -> None:
        self._given: Counter[str] = Counter()

    def unique(self, name: str) -> str:
        self._given[name] += 1
        times = self._given[name]
        return name if times == 1 else self.unique(f"{name}-{times}")
