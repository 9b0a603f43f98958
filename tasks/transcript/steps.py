"""What a task did step by step: its attempts, how each step went, and what it changed."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import SequenceMatcher
from functools import cached_property
from typing import Any

import msgspec

from tasks.models import TaskCheckpoint, TaskRecord
from tasks.secrets import request_masking
from tasks.transcript.text_preview import Output, Text, format_size
from tasks.transcript.tool_calls import Call

OK, FAILED, NO_TOOL, UNREADABLE = "ok", "failed", "none", "unreadable"
KNOWN_START = 600  # seconds before its first checkpoint within which a task's age is its start
LARGEST_ITEMS = 8_000_000  # characters of a step's items that a page reads, of which it shows many
LONGEST_COMPARED, MOST_LINES = 20_000, 400  # of two texts that are compared line by line

_FIRST_TOOL = re.compile(r'\[\{"tool_name":("(?:[^"\\]|\\.)*+")')


@dataclass(frozen=True, slots=True)
class Outline:
    """A step as the picture shows it; `started_at` is None where nobody knows."""

    id: int
    step_index: Any
    attempt: int
    tool: str
    has_more: bool
    outcome: str
    length: int
    started_at: datetime | None
    ended_at: datetime | None

    @property
    def failed(self) -> bool:
        return self.outcome == FAILED

    @property
    def is_too_large(self) -> bool:
        """Whether no more than the beginning of its items is read."""
        return self.length > LARGEST_ITEMS

    @property
    def seconds(self) -> float | None:
        """How long it took; None where one of its ends is not known."""
        if self.started_at is None or self.ended_at is None:
            return None
        return max(0.0, (self.ended_at - self.started_at).total_seconds())

    @property
    def tools(self) -> str:
        return f"{self.tool} and more" if self.has_more else self.tool


def attempts(order_taken: Iterable[tuple[int, Any]]) -> dict[int, int]:
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


def outlines(rows: Iterable[tuple[Any, ...]], task: TaskRecord) -> list[Outline]:
    """The steps of a task, of rows as `outlined()` reads them.

    Those of a table made anew may have no number, and without one nothing leads to them.
    """
    rows = [row for row in rows if isinstance(row[0], int)]
    attempt_of = attempts((id_, step_index) for id_, step_index, *_ in rows)
    found: list[Outline] = []
    for id_, step_index, created_at, start, length, has_failure, has_more in rows:
        attempt, ended_at = attempt_of[id_], _moment(created_at)
        if found and found[-1].attempt == attempt:
            started_at = found[-1].ended_at
        else:
            started_at = None if found else _start_of(task, ended_at)
        tool, outcome = _first_call(start)
        if outcome == OK and has_failure:
            outcome = FAILED
        found.append(
            Outline(
                id=id_,
                step_index=step_index,
                attempt=attempt,
                tool=tool,
                has_more=bool(tool and has_more),
                outcome=outcome,
                length=length or 0,
                started_at=started_at,
                ended_at=ended_at,
            )
        )
    return found


def _first_call(start: Any) -> tuple[str, str]:
    """The first tool of a step, of the start of its items, and how it seems to have gone."""
    if start == "[]":
        return "", NO_TOOL
    named = isinstance(start, str) and _FIRST_TOOL.match(start)
    if not named:
        return "", UNREADABLE
    try:
        return request_masking.mask(msgspec.json.decode(named[1], type=str)), OK
    except msgspec.DecodeError:
        return "", UNREADABLE


def _start_of(task: TaskRecord, first: datetime | None) -> datetime | None:
    """When the first attempt began: `created_at` is the thread's age, unless that is close."""
    created = _moment(task.created_at)
    if created is None or first is None:
        return None
    return created if 0 <= (first - created).total_seconds() <= KNOWN_START else None


def _moment(stored: Any) -> datetime | None:
    return stored if isinstance(stored, datetime) else None


def seconds_of_last_attempt(found: Sequence[Outline], task: TaskRecord) -> float | None:
    """From the start of the last attempt, or its first checkpoint, to its end; None if unknown."""
    last = [step for step in found if step.attempt == found[-1].attempt]
    if not last:
        return None
    start = last[0].started_at or last[0].ended_at
    ends = [last[-1].ended_at, _moment(task.completed_at)]
    end = max(filter(None, ends), default=None)
    return None if start is None or end is None else max(0.0, (end - start).total_seconds())


def calls_of(checkpoint: TaskCheckpoint) -> list[Call]:
    """The tool calls of a checkpoint. Raises ValueError where its items cannot be read."""
    return [
        Call(
            item.tool_name,
            item.arguments,
            item.success,
            Output(item.output),
            anchor=f"step-{checkpoint.id}-call-{place}",
        )
        for place, item in enumerate(checkpoint.items, start=1)
    ]


def readable(arguments: Any) -> str:
    """A lone text argument as it is, such as a shell command; anything else as indented JSON."""
    if isinstance(arguments, str):
        return arguments
    if isinstance(arguments, dict) and len(arguments) == 1:
        [(name, value)] = arguments.items()
        if isinstance(value, str):
            return str(request_masking.mask_field(name, value))
    return msgspec.json.format(msgspec.json.encode(arguments), indent=2).decode()


class Step:
    """A checkpoint with its items, or with what is wrong with them, after the one before it."""

    def __init__(self, outline: Outline, checkpoint: TaskCheckpoint, before: "Step | None"):
        self.outline, self.checkpoint = outline, checkpoint
        self.before = before if before and before.outline.attempt == outline.attempt else None
        self.starts_attempt = self.before is None

    @cached_property
    def _read(self) -> tuple[list[Call], str]:
        if self.outline.is_too_large:
            return [], f"they have {format_size(self.outline.length)}, too much for a page"
        try:
            return calls_of(self.checkpoint), ""
        except (TypeError, ValueError) as error:
            return [], str(error)

    @property
    def items(self) -> list[Call]:
        return self._read[0]

    @property
    def problem(self) -> str:
        """Why its items cannot be read, or nothing."""
        return self._read[1]

    @property
    def failed(self) -> bool:
        return any(not item.success for item in self.items)

    @property
    def raw(self) -> Text:
        """The items as stored; the beginning of what is too large."""
        if self.outline.is_too_large:
            return Text(str(self.checkpoint.items_start))  # type: ignore[attr-defined]
        return Text(str(self.checkpoint.items_json))

    @property
    def note(self) -> str:
        return str(self.checkpoint.checkpoint_note or "")

    @cached_property
    def changes(self) -> "Changes | None":
        """What is different from the step before; None for the first of an attempt."""
        return Changes(self.before, self) if self.before else None


class Changes:
    """What a step changed from the one before it."""

    def __init__(self, before: Step, after: Step) -> None:
        self.before, self.after = before, after

    @property
    def tools(self) -> tuple[str, str] | None:
        """The tools before and after, where they are not the same."""
        if self.before.problem or self.after.problem:
            return None  # nobody knows which were called
        before, after = (_names(step) for step in (self.before, self.after))
        return None if before == after else (before, after)

    @property
    def is_repeat(self) -> bool:
        """Whether the very same calls were made again."""
        before, after = (_calls(step) for step in (self.before, self.after))
        return bool(after) and before == after

    @property
    def outcome(self) -> str:
        """How it went compared to before, or nothing where it went well both times."""
        before, after = self.before.failed, self.after.failed
        if not (self.before.items and self.after.items and (before or after)):
            return ""
        return "failed again" if before and after else "works again" if before else "failed first"

    @cached_property
    def arguments(self) -> list[tuple[str, str]]:
        """The lines of a lone call's arguments that differ, where the tool is the same."""
        if self.tools or len(self.before.items) != 1 or len(self.after.items) != 1:
            return []
        return changed_lines(
            readable(self.before.items[0].arguments), readable(self.after.items[0].arguments)
        )

    @cached_property
    def note(self) -> list[tuple[str, str]]:
        return changed_lines(self.before.note, self.after.note)


def _names(step: Step) -> str:
    return ", ".join(item.tool_name for item in step.items) or "no tool"


def _calls(step: Step) -> list[tuple[str, str]]:
    return [(item.tool_name, readable(item.arguments)) for item in step.items]


def changed_lines(before: str, after: str) -> list[tuple[str, str]]:
    """The lines taken away ("-") and added ("+"); of texts too long to compare, none."""
    if before == after or len(before) + len(after) > LONGEST_COMPARED:
        return []
    old, new = before.split("\n"), after.split("\n")
    if len(old) + len(new) > MOST_LINES:
        return []
    changed: list[tuple[str, str]] = []
    for kind, i, j, k, m in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind != "equal":
            changed += [("-", line) for line in old[i:j]] + [("+", line) for line in new[k:m]]
    return [(sign, line) for sign, line in changed if line.strip()]


def steps(
    shown: Sequence[Outline], rows: Mapping[int, TaskCheckpoint], before: Outline | None
) -> list[Step]:
    """The steps of these outlines whose rows are there; `before` is the outline that precedes."""
    previous = Step(before, rows[before.id], None) if before and before.id in rows else None
    made: list[Step] = []
    for outline in shown:
        if outline.id in rows:
            previous = Step(outline, rows[outline.id], previous)
            made.append(previous)
    return made
