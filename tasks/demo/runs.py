"""Turn a story into the writes that an agent would make while handling its message."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from tasks.demo.story import Call, Step, Story
from tasks.service import (
    ChatMessage,
    ExecutionCheckpointItem,
    TaskCheckpointUpdate,
    TaskSnapshot,
    TaskStatus,
    record_checkpoint,
    save_snapshot,
)

Write = TaskSnapshot | TaskCheckpointUpdate

SYSTEM_PROMPT = """\
You are gloamy, an autonomous agent on your operator's own machine.

## Rules
- Look before you change something, and prove that the change worked.
- Ask before you delete what cannot be made again.
- Answer briefly, in the language of the message.

## Tools
shell, file_read, file_write, file_edit, http_request, memory_recall, memory_store, cron_add
"""
TAG_PROTOCOL = """
## Tool Use Protocol
Wrap a JSON object in <tool_call></tool_call> tags:
<tool_call>
{"name": "tool_name", "arguments": {"param": "value"}}
</tool_call>
"""


def perform(write: Write) -> None:
    """Write a snapshot or a checkpoint to the store."""
    if isinstance(write, TaskSnapshot):
        save_snapshot(write)
    else:
        record_checkpoint(write)


class Run:
    """An agent's run, which handles one message. The run's history grows with each write."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._history = _opening(story)
        self._note: str | None = None
        self.has_ended = False

    def writes(self) -> Iterator[Write]:
        story = self._story
        yield self._snapshot(TaskStatus.RUNNING)
        for number, step in _numbered(story.steps):
            if step.restarted:
                self._history = _opening(story)
            messages = _native_messages(number, step) if story.native else _tagged_messages(step)
            self._history += messages
            self._note = checkpoint_note(step.calls)
            yield self._checkpoint(number, step)
        if story.status.is_terminal:
            self.has_ended = True
            if story.answer:
                self._history.append(ChatMessage("assistant", story.answer))
            yield self._snapshot(story.status, story.answer or None, story.error)

    def cancellation(self) -> TaskSnapshot:
        return self._snapshot(TaskStatus.CANCELLED, error="cancelled during tool-call loop")

    def _snapshot(
        self, status: TaskStatus, answer: str | None = None, error: str | None = None
    ) -> TaskSnapshot:
        return TaskSnapshot(
            **self._task_fields(),
            status=status,
            execution_history=list(self._history),
            resumable_history=self._resumable_history(answer),
            latest_checkpoint_note=self._note,
            final_response=answer,
            last_error=error,
        )

    def _checkpoint(self, number: int, step: Step) -> TaskCheckpointUpdate:
        return TaskCheckpointUpdate(
            **self._task_fields(),
            step_index=number,
            execution_history=list(self._history),
            checkpoint_note=self._note,
            items=[
                ExecutionCheckpointItem(call.tool, call.arguments, call.success, call.output)
                for call in step.calls
            ],
        )

    def _task_fields(self) -> dict[str, Any]:
        story = self._story
        return {
            "task_id": story.task,
            "thread_id": story.thread,
            "channel": story.channel,
            "provider": story.provider,
            "model": story.model,
        }

    def _resumable_history(self, answer: str | None) -> list[ChatMessage]:
        if not self._story.resumable:
            return []
        turn = [ChatMessage("assistant", answer)] if answer else []
        return _turns(self._story) + turn


def _numbered(steps: Sequence[Step]) -> Iterator[tuple[int, Step]]:
    """Number the steps, starting again at 1 whenever the agent restarts."""
    number = 0
    for step in steps:
        number = 1 if step.restarted else number + 1
        yield number, step


def _opening(story: Story) -> list[ChatMessage]:
    prompt = SYSTEM_PROMPT if story.native else SYSTEM_PROMPT + TAG_PROTOCOL
    return [ChatMessage("system", prompt), *_turns(story)]


def _turns(story: Story) -> list[ChatMessage]:
    turns = []
    for message, answer in story.before:
        turns += [ChatMessage("user", message), ChatMessage("assistant", answer)]
    return [*turns, ChatMessage("user", story.ask)]


def _tagged_messages(step: Step) -> list[ChatMessage]:
    lines, results = [step.thought], ["[Tool results]"]
    for call in step.calls:
        body = _json({"name": call.tool, "arguments": call.arguments})
        lines.append(f"<tool_call>\n{body}\n</tool_call>")
        status = "ok" if call.success else "error"
        results.append(
            f'<tool_result name="{call.tool}" status="{status}">\n{call.output}\n</tool_result>'
        )
    return [ChatMessage("assistant", "\n".join(lines)), ChatMessage("user", "\n".join(results))]


def _native_messages(number: int, step: Step) -> list[ChatMessage]:
    ids = [f"call_{number:02d}{index:02d}" for index, _ in enumerate(step.calls)]
    message = {
        "content": None if number % 2 else step.thought,
        "tool_calls": [
            {"id": id, "name": call.tool, "arguments": _json(call.arguments)}
            for id, call in zip(ids, step.calls, strict=True)
        ],
        "reasoning_content": step.thought if number % 2 else None,
    }
    results = [
        ChatMessage("tool", _json({"tool_call_id": id, "content": call.output}))
        for id, call in zip(ids, step.calls, strict=True)
    ]
    return [ChatMessage("assistant", _json(message)), *results]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def checkpoint_note(calls: Sequence[Call]) -> str:
    """Return the note that gloamy writes after a step to guide a model that resumes from it."""
    lines = [
        "Continue from the latest confirmed state. Do not restart successful steps unless "
        "verification disproves them."
    ]
    if confirmed := dict.fromkeys(call.tool for call in calls if call.success):
        lines.append(f"Confirmed steps: {', '.join(confirmed)}")
    if failed := dict.fromkeys(f"{call.tool} [tool_error]" for call in calls if not call.success):
        lines.append(f"Failed steps: {', '.join(failed)}")
    lines.append(
        "Choose the smallest next action that resolves the current blocker or proves the change "
        "worked."
    )
    return "## Runtime Checkpoint\n\n" + "\n".join(f"- {line}" for line in lines)
