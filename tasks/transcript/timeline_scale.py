"""What of a task's steps becomes a bar of the picture, and what is folded."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any

from tasks.models import TaskRecord, TaskStatus
from tasks.transcript.steps import Outline

SHORTEST_GAP, MANY_TIMES = 600, 8  # seconds, and times the median step, that are folded
MOST_GAPS = 6


@dataclass(frozen=True)
class Span:
    """What becomes a bar: its steps, the folded time before it, and the time that it shows."""

    steps: Sequence[Outline]
    gap: float
    seconds: float


@dataclass(frozen=True)
class Ending:
    seconds: float
    status: str
    is_gap: bool


def spans_of(steps: Sequence[Outline], most: int) -> list[Span]:
    """At most so many spans of equally many steps each, and one more for each folded gap."""
    size = -(-len(steps) // most)
    limit = _longest_shown(steps)
    made: list[Span] = []
    taken: list[Outline] = []
    gap = 0.0
    for step in steps:
        is_gap = (step.seconds or 0) > limit
        if taken and (is_gap or len(taken) == size):
            made.append(_span(taken, gap))
            taken, gap = [], 0.0
        if is_gap:
            gap = step.seconds or 0
        taken.append(step)
    return [*made, _span(taken, gap)]


def _span(steps: list[Outline], gap: float) -> Span:
    seconds = sum(step.seconds or 0 for step in steps) - gap
    return Span(steps, gap, max(seconds, 0))


def _longest_shown(steps: Iterable[Outline]) -> float:
    """Seconds beyond which a step's time is folded: nobody knows whether anything went on."""
    known = sorted((s.seconds for s in steps if s.seconds is not None), reverse=True)
    if not known:
        return SHORTEST_GAP
    beyond_the_most = known[MOST_GAPS] if len(known) > MOST_GAPS else 0
    return max(SHORTEST_GAP, MANY_TIMES * median(known), beyond_the_most)


def ending_of(steps: Sequence[Outline], task: TaskRecord, now: datetime) -> Ending | None:
    status = TaskStatus.read(task.status)
    end: Any = task.completed_at if status.is_terminal else now
    last = steps[-1].ended_at
    if last is None or not isinstance(end, datetime) or end <= last:
        return None
    seconds = (end - last).total_seconds()
    return Ending(seconds, status.value, seconds > _longest_shown(steps))
