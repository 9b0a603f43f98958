"""The timeline's time axis: linear, except for breaks, which stand for time that is left out.

A break is drawn wherever the agent recorded nothing for long, and where an attempt begins, as
nothing records when. The step after a break is drawn as a stub, since its start is not on the axis.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from statistics import median
from typing import Any

from tasks.models import TaskRecord, TaskStatus
from tasks.transcript.steps import Outline

# Time is left out if it is longer than this many seconds and than `MEDIANS` median steps, or longer
# than `MANY_MEDIANS`, next to which the other steps could not be seen.
MIN_GAP, MEDIANS, MANY_MEDIANS = 120, 8, 50
MAX_GAPS = 6
GAP_WIDTH, STUB_WIDTH = 70, 46  # pixels, if there is room
MAX_BARS = 120


@dataclass
class Span:
    """The steps in one bar, the time left out before them, and the seconds that they took."""

    steps: list[Outline]
    gap: float = 0
    seconds: float = 0
    is_stub: bool = False


@dataclass(frozen=True)
class Ending:
    """The time from the last step to the end of the task, or to now if it is still running."""

    seconds: float
    status: str
    is_gap: bool


@dataclass(frozen=True)
class Axis:
    """The time axis of the steps in one row, measured on a timeline that is `base` pixels wide."""

    steps: Sequence[Outline]
    ending: Ending | None
    base: int

    @cached_property
    def _gaps(self) -> list[float]:
        """The time left out before each step."""
        threshold = _gap_threshold(self.steps)
        durations = (step.seconds or 0 for step in self.steps)
        return [seconds if seconds > threshold else 0 for seconds in durations]

    @cached_property
    def _are_stubs(self) -> list[bool]:
        pairs = zip(self.steps, self._gaps, strict=True)
        return [step.seconds is None or gap > 0 for step, gap in pairs]

    @cached_property
    def seconds(self) -> float:
        """The time on the axis, without the breaks."""
        tail = self.ending.seconds if self.ending and not self.ending.is_gap else 0
        pairs = zip(self.steps, self._are_stubs, strict=True)
        return sum(step.seconds or 0 for step, is_stub in pairs if not is_stub) + tail

    @cached_property
    def gap_width(self) -> float:
        return min(GAP_WIDTH, self.base * 0.4 / max(self._gap_count, 1))

    @cached_property
    def stub_width(self) -> float:
        room = self.base * min(0.1, 0.3 / max(sum(self._are_stubs), 1))
        return min(STUB_WIDTH, room)

    @property
    def _gap_count(self) -> int:
        return sum(map(bool, self._gaps)) + bool(self.ending and self.ending.is_gap)

    @property
    def scale(self) -> float:
        """The number of pixels per second that makes the row fill the timeline."""
        breaks = sum(self._are_stubs) * self.stub_width + self._gap_count * self.gap_width
        return (self.base - breaks) / self.seconds if self.seconds else 0

    def spans(self, scale: float) -> list[Span]:
        """Group the steps into bars that are wide enough to be seen on this scale."""
        min_seconds = self.base / MAX_BARS / scale
        spans: list[Span] = []
        for step, gap, is_stub in zip(self.steps, self._gaps, self._are_stubs, strict=True):
            seconds = 0 if is_stub else step.seconds or 0
            is_narrow = bool(spans) and not spans[-1].is_stub and spans[-1].seconds < min_seconds
            if is_narrow and not is_stub:
                spans[-1].steps.append(step)
                spans[-1].seconds += seconds
                continue
            if is_narrow:
                _join_last(spans)
            spans.append(Span([step], gap, seconds, is_stub))
        if not spans[-1].is_stub and spans[-1].seconds < min_seconds:
            _join_last(spans)
        return spans


def _join_last(spans: list[Span]) -> None:
    """Join the last bar, which is too narrow, to the one before it."""
    if len(spans) > 1:
        last = spans.pop()
        spans[-1].steps += last.steps
        spans[-1].seconds += last.seconds


def sequence(steps: Sequence[Outline], max_bars: int) -> list[Span]:
    """Group steps evenly into at most `max_bars` bars, for a row without a time axis."""
    size = -(-len(steps) // max_bars)
    return [Span([*steps[n : n + size]]) for n in range(0, len(steps), size)]


def _gap_threshold(steps: Iterable[Outline]) -> float:
    """Return the duration in seconds above which a step's time is left out."""
    durations = sorted((s.seconds for s in steps if s.seconds is not None), reverse=True)
    if not durations:
        return MIN_GAP
    longest_on_axis = durations[MAX_GAPS] if len(durations) > MAX_GAPS else 0
    typical = median(durations)
    return max(MEDIANS * typical, min(MIN_GAP, MANY_MEDIANS * typical), longest_on_axis)


def ending_of(steps: Sequence[Outline], task: TaskRecord, now: datetime) -> Ending | None:
    """Return the time from the last step to the end, or None if that is zero or unknown."""
    status = TaskStatus.read(task.status)
    end: Any = task.completed_at if status.is_terminal else now
    last = steps[-1].ended_at
    if last is None or not isinstance(end, datetime) or end <= last:
        return None
    seconds = (end - last).total_seconds()
    return Ending(seconds, status.value, seconds > _gap_threshold(steps))
