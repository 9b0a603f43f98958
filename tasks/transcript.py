"""A history as a person reads it: titles, messages, steps and attempts."""

import contextlib
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec

from tasks.messages import ChatMessage, ExecutionCheckpointItem
from tasks.models import TaskCheckpoint, TaskRecord
from tasks.sanitization import resumable_turns_from_task_record

SHOWN_LENGTH = 20_000  # characters of one text that a page shows; the rest is a link away
PREVIEW_LENGTH, PREVIEW_LINES = 900, 12  # of a text that is folded until somebody opens it
TITLE_LENGTH = 200
_NOTE_BEGINNINGS = ("Runtime Checkpoint", "Continue from the latest confirmed state")  # gloamy's

_ASKED = re.compile(r'\{"role":"user","content":"((?:[^"\\]|\\u[0-9a-f]{4}|\\[^u])*+)')


def title(record: TaskRecord) -> str:
    """What the user first asked for, or nothing; of a row as `for_list()` reads it."""
    for start in (record.history_start, record.resumable_start):  # type: ignore[attr-defined]
        asked = isinstance(start, str) and _ASKED.search(start)
        if asked and (line := asked_for(_decoded(asked[1]))):
            return line
    return ""


def _decoded(json_text: str) -> str:
    """The start of a JSON string's text, which may be cut off within an escape."""
    text = json_text[: TITLE_LENGTH * 12]
    for _ in range(3):  # a surrogate pair is two escapes, and either may be cut
        with contextlib.suppress(msgspec.DecodeError):
            return msgspec.json.decode(f'"{text}"', type=str)
        text = text[: text.rfind("\\")]
    return ""


def asked_for(message: str) -> str:
    """The line of a message that says what it is about: the first that introduces no other."""
    lines = [line.strip() for line in message[: TITLE_LENGTH * 12].split("\n")]
    lines = [line for line in lines if line]
    telling = next((line for line in lines if not line.endswith(":")), "")
    return (telling or "".join(lines[:1]))[:TITLE_LENGTH]


def note_line(note: str) -> str:
    """The first line of a note that tells of this thread: no heading, nor what each begins with."""
    lines = [line.strip().lstrip("-*# ") for line in note.splitlines()]
    lines = [line for line in lines if line]
    telling = (line for line in lines if not line.startswith(_NOTE_BEGINNINGS))
    return next(telling, "".join(lines[:1]))[:TITLE_LENGTH]


@dataclass(frozen=True)
class Text:
    """A text of any length, and the start of it that a page shows."""

    whole: str

    @property
    def shown(self) -> str:
        return self.whole[:SHOWN_LENGTH]

    @property
    def length(self) -> int:
        return len(self.whole)

    @property
    def preview(self) -> str:
        return "\n".join(self.whole[:PREVIEW_LENGTH].split("\n")[:PREVIEW_LINES])

    @property
    def is_long(self) -> bool:
        return len(self.whole) > PREVIEW_LENGTH + 300 or self.shown.count("\n") > PREVIEW_LINES + 4

    @property
    def is_cut(self) -> bool:
        return len(self.whole) > SHOWN_LENGTH


@dataclass(frozen=True)
class Message:
    number: int
    role: str
    text: Text

    @property
    def is_tool_output(self) -> bool:
        return self.role == "tool" or self.text.whole.startswith("[Tool results]")


@dataclass(frozen=True)
class Item:
    """One tool call of a step, with its arguments as readable text."""

    tool_name: str
    arguments: Text
    success: bool
    output: Text


@dataclass(frozen=True)
class Step:
    """A checkpoint with its items, or with what is wrong with them."""

    checkpoint: TaskCheckpoint
    attempt: int
    starts_attempt: bool
    items: list[Item]
    problem: str

    @property
    def failed(self) -> bool:
        return any(not item.success for item in self.items)

    @property
    def raw(self) -> Text:
        return Text(str(self.checkpoint.items_json))


def messages(history: Iterable[ChatMessage]) -> list[Message]:
    return [
        Message(number, message.role, Text(message.content))
        for number, message in enumerate(history, start=1)
    ]


def attempts(order_taken: Iterable[tuple[int, int]]) -> dict[int, int]:
    """The attempt, from 1, of each checkpoint, of (id, step_index) pairs in the order taken.

    Step numbers restart with each attempt, so a new one begins where the number does not rise.
    """
    numbers: dict[int, int] = {}
    attempt, previous = 1, -math.inf
    for id_, step_index in order_taken:
        if isinstance(step_index, int):  # SQLite stores a value of any type
            attempt += step_index <= previous
            previous = step_index
        numbers[id_] = attempt
    return numbers


def steps(checkpoints: Iterable[TaskCheckpoint], attempt_of: dict[int, int]) -> list[Step]:
    """Checkpoints as steps; each knows whether it is the first shown of its attempt."""
    shown: list[Step] = []
    for checkpoint in checkpoints:
        attempt = attempt_of.get(checkpoint.id, 0)
        starts = not shown or shown[-1].attempt != attempt
        try:
            items, problem = [_item(item) for item in checkpoint.items], ""
        except (TypeError, ValueError) as error:
            items, problem = [], str(error)
        shown.append(Step(checkpoint, attempt, starts, items, problem))
    return shown


def _item(item: ExecutionCheckpointItem) -> Item:
    return Item(item.tool_name, Text(_readable(item.arguments)), item.success, Text(item.output))


def _readable(arguments: Any) -> str:
    """A lone text argument as it is, such as a shell command; anything else as indented JSON."""
    if isinstance(arguments, str):
        return arguments
    if isinstance(arguments, dict) and len(arguments) == 1:
        [value] = arguments.values()
        if isinstance(value, str):
            return value
    return msgspec.json.format(msgspec.json.encode(arguments), indent=2).decode()


class Thread:
    """What a thread's page shows of its latest task."""

    def __init__(self, record: TaskRecord) -> None:
        self.record = record

    @cached_property
    def title(self) -> str:
        asked = next((m.text.whole for m in self.messages if m.role == "user"), "")
        return asked_for(asked)

    @cached_property
    def messages(self) -> list[Message]:
        """The execution history; none where it cannot be read, see `problem`."""
        return [] if self.problem else messages(self.record.execution_history)

    @cached_property
    def problem(self) -> str:
        """Why the execution history cannot be read, or nothing."""
        return _problem(lambda: self.record.execution_history)

    @cached_property
    def resume_problem(self) -> str:
        """Why the resumable history cannot be read, or nothing."""
        return _problem(lambda: self.record.resumable_history)

    @cached_property
    def resumable_turns(self) -> list[ChatMessage]:
        """The turns that the agent would resume with; none where there is nothing to resume."""
        return [] if self.resume_problem else resumable_turns_from_task_record(self.record)

    @property
    def raw(self) -> Text:
        return Text(str(self.record.execution_history_json))


def _problem(read: Callable[[], object]) -> str:
    try:
        read()
    except (TypeError, ValueError) as error:
        return str(error)
    return ""
