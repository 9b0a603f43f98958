"""The timeline's scale: groups steps into spans, folds long gaps and maps seconds to pixels."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any

from tasks.models import TaskRecord, TaskStatus
from tasks.transcript.steps import Outline

MIN_GAP, MEDIANS = 600, 8  # minimum gap to fold: in seconds, and in median step durations
MAX_GAPS = 6
GAP_WIDTH = 70  # pixels
BAR_WIDTH = 38.0  # pixels for a bar of zero duration, if there is room


@dataclass(frozen=True)
class Span:
    """The steps in one bar, the folded gap before them, and the seconds that the steps took."""

    steps: Sequence[Outline]
    gap: float
    seconds: float


@dataclass(frozen=True)
class Ending:
    """The time from the last step to the end of the task, or to now if it is still running."""

    seconds: float
    status: str
    is_gap: bool


@dataclass(frozen=True)
class Axis:
    """The time axis of one row, measured on a timeline that is `base` pixels wide."""

    spans: list[Span]
    ending: Ending | None
    base: int
    is_alone: bool  # whether the timeline has only this row

    @property
    def min_bar_width(self) -> float:
        """The width of a bar of zero duration. If it is the only bar, it takes up all the space."""
        if self.is_alone and len(self.spans) == 1 and not self.seconds:
            return self.base - self.gap_count * self.gap_width
        return max(3.0, min(BAR_WIDTH, self.base * 0.5 / max(len(self.spans), 1)))

    @property
    def gap_count(self) -> int:
        return sum(span.gap > 0 for span in self.spans) + bool(self.ending and self.ending.is_gap)

    @property
    def gap_width(self) -> float:
        return min(GAP_WIDTH, self.base * 0.4 / max(self.gap_count, 1))

    @property
    def has_tail(self) -> bool:
        return self.ending is not None and not self.ending.is_gap

    @property
    def seconds(self) -> float:
        tail = self.ending.seconds if self.ending and self.has_tail else 0
        return sum(span.seconds for span in self.spans) + tail

    @property
    def scale(self) -> float:
        """The number of pixels per second that makes the row fill the timeline."""
        bars = len(self.spans) + self.has_tail
        room = self.base - bars * self.min_bar_width - self.gap_count * self.gap_width
        return max(room, 0) / self.seconds if self.seconds else 0


def group_steps(steps: Sequence[Outline], max_spans: int) -> list[Span]:
    """Group steps evenly into at most `max_spans` spans, plus one for each folded gap."""
    size = -(-len(steps) // max_spans)
    threshold = _gap_threshold(steps)
    spans: list[Span] = []
    group: list[Outline] = []
    gap = 0.0
    for step in steps:
        is_gap = (step.seconds or 0) > threshold
        if group and (is_gap or len(group) == size):
            spans.append(_span(group, gap))
            group, gap = [], 0.0
        if is_gap:
            gap = step.seconds or 0
        group.append(step)
    return [*spans, _span(group, gap)]


def _span(steps: list[Outline], gap: float) -> Span:
    seconds = sum(step.seconds or 0 for step in steps) - gap
    return Span(steps, gap, max(seconds, 0))


def _gap_threshold(steps: Iterable[Outline]) -> float:
    """Return the duration in seconds above which a step counts as a gap in the agent's activity."""
    durations = sorted((s.seconds for s in steps if s.seconds is not None), reverse=True)
    if not durations:
        return MIN_GAP
    longest_unfolded = durations[MAX_GAPS] if len(durations) > MAX_GAPS else 0
    return max(MIN_GAP, MEDIANS * median(durations), longest_unfolded)


def ending_of(steps: Sequence[Outline], task: TaskRecord, now: datetime) -> Ending | None:
    """Return the time from the last step to the end, or None if that is zero or unknown."""
    status = TaskStatus.read(task.status)
    end: Any = task.completed_at if status.is_terminal else now
    last = steps[-1].ended_at
    if last is None or not isinstance(end, datetime) or end <= last:
        return None
    seconds = (end - last).total_seconds()
    return Ending(seconds, status.value, seconds > _gap_threshold(steps))
