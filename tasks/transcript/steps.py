"""A task's steps, with their attempts, outcomes and differences from the previous step."""

import math
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import Any

import msgspec

from masking import MARGIN
from tasks.fields import to_text
from tasks.models import TaskCheckpoint, TaskCheckpointQuerySet, TaskRecord
from tasks.secrets import request_masking
from tasks.store import workspace
from tasks.transcript import terminal
from tasks.transcript.diffs import changed_lines
from tasks.transcript.text_preview import Output, Text, format_size
from tasks.transcript.tool_calls import Call

OK, FAILED, NO_TOOL, UNREADABLE = "ok", "failed", "none", "unreadable"
MANY_STEPS = 1_000
MAX_FAILURES_LENGTH = 4_000_000  # characters of steps to read for the first lines of their errors
ERROR_START, ERROR_LENGTH = 1_000, 160  # characters of an output to read, and of its line to show
MAX_ITEMS_LENGTH = 8_000_000  # characters; a page reads only the start of anything longer

_JSON_TEXT = re.compile(r'"(?:[^"\\]|\\u[0-9a-fA-F]{4}|\\[^u])*+')
_FIRST_TOOL = re.compile(r'\[\{"tool_name":("(?:[^"\\]|\\.)*+")')


@dataclass(frozen=True, slots=True)
class Outline:
    """An outline of a step for the timeline, which does not need the step's items."""

    id: int
    step_index: Any
    attempt: int
    tool: str
    has_more: bool
    outcome: str
    length: int
    started_at: datetime | None  # None for the first step of an attempt: nothing records its start
    ended_at: datetime | None
    seconds: float | None = field(init=False)  # its duration, None if its start or end is unknown
    failed: bool = field(init=False)

    def __post_init__(self) -> None:
        # not properties, since a timeline asks for them many times
        seconds = None
        if self.started_at is not None and self.ended_at is not None:
            seconds = max(0.0, (self.ended_at - self.started_at).total_seconds())
        object.__setattr__(self, "seconds", seconds)
        object.__setattr__(self, "failed", self.outcome == FAILED)

    @property
    def is_too_large(self) -> bool:
        """Whether the items are so large that only their start is read."""
        return self.length > MAX_ITEMS_LENGTH

    @property
    def tools(self) -> str:
        return f"{self.tool} and more" if self.has_more else self.tool


def number_attempts(checkpoints: Iterable[tuple[int, Any]]) -> dict[int, int]:
    """Map each checkpoint id to its attempt number, given (id, step_index) pairs in id order.

    Step numbers restart with each attempt, so any that does not increase marks a new attempt.
    """
    attempts: dict[int, int] = {}
    attempt, previous = 1, -math.inf
    for id_, step_index in checkpoints:
        if isinstance(step_index, int):  # SQLite may store other types in this column
            attempt += step_index <= previous
            previous = step_index
        attempts[id_] = attempt
    return attempts


def read_outlines(task: TaskRecord) -> list[Outline]:
    """Return the outlines of all steps of a task.

    Stored steps never change, so of a task with many, only those since the last call are read.
    """
    # task.checkpoints would fail for a corrupt row without an id
    checkpoints = TaskCheckpoint.objects.filter(task_id=task.task_id)
    count: Any = task.checkpoint_count
    if not isinstance(count, int) or count < MANY_STEPS:
        return build_outlines(checkpoints.outline_rows())
    kept = _kept_rows(workspace.identity(), task.task_id)
    known = kept.copy() if _are_stored(kept, checkpoints) else []
    newer = checkpoints.filter(id__gt=known[-1][0]) if known else checkpoints
    kept[:] = rows = [*known, *newer.outline_rows()]
    return build_outlines(rows)


@lru_cache(maxsize=8)
def _kept_rows(store: str, task_id: str) -> list[tuple[Any, ...]]:
    """Return the list that keeps a task's rows of `outline_rows()` from one call to the next."""
    return []


def _are_stored(rows: Sequence[tuple[Any, ...]], checkpoints: TaskCheckpointQuerySet) -> bool:
    """Return whether these are a task's first rows, not those of another run or a backup."""
    if not rows:
        return False
    last, _, created_at, *_ = rows[-1]
    times = checkpoints.filter(id=last).values_list("created_at", flat=True)
    is_same = list(map(to_text, times)) == [to_text(created_at)]
    return is_same and checkpoints.filter(id__lte=last).count() == len(rows)


def build_outlines(rows: Iterable[tuple[Any, ...]]) -> list[Outline]:
    """Build the outlines of a task's steps from the rows of `outline_rows()`.

    Rows without an id are skipped. They occur only in tables that other tools have rebuilt.
    """
    rows = [row for row in rows if isinstance(row[0], int)]
    attempt_of = number_attempts((id_, step_index) for id_, step_index, *_ in rows)
    outlines: list[Outline] = []
    for id_, step_index, created_at, start, length, has_failure, has_more in rows:
        attempt, ended_at = attempt_of[id_], _datetime(created_at)
        is_first = not outlines or outlines[-1].attempt != attempt
        tool, outcome = _first_call(start)
        if outcome == OK and has_failure:
            outcome = FAILED
        outlines.append(
            Outline(
                id=id_,
                step_index=step_index,
                attempt=attempt,
                tool=tool,
                has_more=bool(tool and has_more),
                outcome=outcome,
                length=length or 0,
                started_at=None if is_first else outlines[-1].ended_at,
                ended_at=ended_at,
            )
        )
    return outlines


def _first_call(start: Any) -> tuple[str, str]:
    """Read a step's first tool and likely outcome from the start of its stored items."""
    if start == "[]":
        return "", NO_TOOL
    match = isinstance(start, str) and _FIRST_TOOL.match(start)
    if not match:
        return "", UNREADABLE
    try:
        return request_masking.mask(msgspec.json.decode(match[1], type=str)), OK
    except msgspec.DecodeError:
        return "", UNREADABLE


def _datetime(value: Any) -> datetime | None:
    return value if isinstance(value, datetime) else None


def last_attempt_seconds(steps: Sequence[Outline], task: TaskRecord) -> float | None:
    """Return the time from the last attempt's first checkpoint to its end."""
    last = [step for step in steps if step.attempt == steps[-1].attempt]
    if not last:
        return None
    start = last[0].ended_at
    ends = [last[-1].ended_at, _datetime(task.completed_at)]
    end = max(filter(None, ends), default=None)
    return None if start is None or end is None else max(0.0, (end - start).total_seconds())


def error_lines(task: TaskRecord, failures: Sequence[Outline]) -> dict[int, str]:
    """Map the ids of failed steps to the first line of output of their first failed call.

    The earliest are left out if the steps are so large that reading them would take long.
    """
    sizes = list(accumulate(step.length for step in reversed(failures)))
    count = bisect_right(sizes, MAX_FAILURES_LENGTH)
    ids = [step.id for step in failures[len(failures) - count :]]
    rows = TaskCheckpoint.objects.filter(task_id=task.task_id, id__in=ids)
    outputs = rows.failed_outputs(ERROR_START + MARGIN) if ids else ()
    return {id_: _first_line(start) for id_, start in outputs}


def _first_line(json_start: Any) -> str:
    """Return the first line of the text at the start of some JSON, which may be cut off."""
    match = isinstance(json_start, str) and _JSON_TEXT.match(json_start)
    try:
        text = msgspec.json.decode(f'{match[0]}"', type=str) if match else ""
    except msgspec.DecodeError:
        return ""
    body = Output(request_masking.mask(text)).body
    lines = "".join(part for _, part in terminal.spans(body)).split("\n")
    return request_masking.shorten(next(filter(str.strip, lines), "").strip(), ERROR_LENGTH)


class Step:
    """A checkpoint with its items, or the reason why they cannot be read."""

    def __init__(self, outline: Outline, checkpoint: TaskCheckpoint, before: "Step | None") -> None:
        self.outline, self.checkpoint = outline, checkpoint
        self.before = before if before and before.outline.attempt == outline.attempt else None
        self.starts_attempt = self.before is None

    @cached_property
    def _parsed(self) -> tuple[list[Call], str]:
        if self.outline.is_too_large:
            return [], f"they are {format_size(self.outline.length)}, too large to display"
        try:
            items = self.checkpoint.items
        except (TypeError, ValueError) as error:
            return [], str(error)
        prefix = f"step-{self.checkpoint.id}-call-"
        return [
            Call(i.tool_name, i.arguments, i.success, Output(i.output), anchor=f"{prefix}{number}")
            for number, i in enumerate(items, start=1)
        ], ""

    @property
    def calls(self) -> list[Call]:
        return self._parsed[0]

    @property
    def problem(self) -> str:
        """Why the items cannot be read, or "" if they can."""
        return self._parsed[1]

    @property
    def failed(self) -> bool:
        return any(not call.success for call in self.calls)

    @property
    def raw(self) -> Text:
        """The items exactly as stored, or only their start if they are too large."""
        if self.outline.is_too_large:
            return Text(str(self.checkpoint.items_start))  # type: ignore[attr-defined]
        return Text(str(self.checkpoint.items_json))

    @property
    def note(self) -> str:
        return str(self.checkpoint.checkpoint_note or "")

    @cached_property
    def changes(self) -> "Changes | None":
        """The changes from the previous step, or None for the first step of an attempt."""
        return Changes(self.before, self) if self.before else None


class Changes:
    """The differences between a step and the previous one."""

    def __init__(self, before: Step, after: Step) -> None:
        self.before, self.after = before, after

    @property
    def tools(self) -> tuple[str, str] | None:
        """The tools of the previous and current steps, or None if they are unknown or the same."""
        if self.before.problem or self.after.problem:
            return None
        before, after = (_tool_names(step) for step in (self.before, self.after))
        return None if before == after else (before, after)

    @property
    def is_repeat(self) -> bool:
        """Whether the step made the same calls as the previous step."""
        before, after = (_formatted_calls(step) for step in (self.before, self.after))
        return bool(after) and before == after

    @property
    def outcome(self) -> str:
        """How the outcome compares with the previous step's, or "" if both steps succeeded."""
        before, after = self.before.failed, self.after.failed
        if not (self.before.calls and self.after.calls and (before or after)):
            return ""
        return "failed again" if before and after else "recovered" if before else "started failing"

    @cached_property
    def arguments(self) -> list[tuple[str, str]]:
        """The argument lines that changed, if both steps made a single call to the same tool."""
        if self.tools or len(self.before.calls) != 1 or len(self.after.calls) != 1:
            return []
        before, after = (step.calls[0].arguments for step in (self.before, self.after))
        return changed_lines(_format_arguments(before), _format_arguments(after))

    @cached_property
    def note(self) -> list[tuple[str, str]]:
        return changed_lines(self.before.note, self.after.note)


def _tool_names(step: Step) -> str:
    return ", ".join(call.tool_name for call in step.calls) or "no tool"


def _formatted_calls(step: Step) -> list[tuple[str, str]]:
    return [(call.tool_name, _format_arguments(call.arguments)) for call in step.calls]


def _format_arguments(arguments: Any) -> str:
    """Format arguments as indented JSON, except for a lone string such as a command."""
    if isinstance(arguments, str):
        return arguments
    if isinstance(arguments, dict) and len(arguments) == 1:
        [(name, value)] = arguments.items()
        if isinstance(value, str):
            return str(request_masking.mask_field(name, value))
    return msgspec.json.format(msgspec.json.encode(arguments), indent=2).decode()


def build_steps(outlines: Sequence[Outline], rows: Mapping[int, TaskCheckpoint]) -> list[Step]:
    """Build a step for each outline that has a row, comparing it with the one before."""
    steps: list[Step] = []
    for outline in outlines:
        if outline.id in rows:
            steps.append(Step(outline, rows[outline.id], steps[-1] if steps else None))
    return steps
