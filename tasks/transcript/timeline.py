"""A task's timeline, with a row for each attempt and a bar for each step on a linear time axis.

Positions and widths are percentages, so the drawing scales to any screen while its text stays the
same size. The screen width only determines which labels are shown.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby

from tasks.models import TaskRecord, TaskStatus
from tasks.transcript.steps import Outline
from tasks.transcript.timeline_labels import (
    NUMBER_INTERVAL,
    WIDTHS,
    choose_numbers,
    fit_label,
    fitting_width,
    label_of,
    number_of,
)
from tasks.transcript.timeline_scale import MAX_BARS, Axis, Ending, Span, ending_of, sequence

NARROW, WIDE = 320, 900  # minimum timeline widths in pixels, for few and for many steps
FEW_STEPS = 4  # a task with this many steps or fewer gets a narrow timeline
MAX_ROWS = 5
MIN_WIDTH = 3.0  # pixels, for the only bar of a row
MIN_FAILED_SHARE = 0.25  # minimum share of a bar drawn as failed, so that one failure is visible
TOUCH_WIDTH = 96  # minimum average bar width on a phone, in pixels
PHONE_WIDTHS = (900, 1280, 1920, 2560, 3840)  # in pixels; timeline.css repeats these widths
TICKS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400)
TICK_WIDTH = 62  # pixels
LAST_TICK_ROOM = 30  # minimum pixels between the last tick and the right edge


@dataclass(frozen=True)
class Bar:
    """A bar for one step, or for several consecutive steps that are too short for a bar each.

    `label_from` and `number_from` are the timeline widths from which the label and number fit.
    """

    steps: Sequence[Outline]
    x: str
    width: str
    label: str
    label_from: int | None
    number_from: int | None
    is_stub: bool = False  # whether its start is not on the axis

    @property
    def first(self) -> Outline:
        return self.steps[0]

    @property
    def target(self) -> Outline:
        """The step the bar links to: the first failed step, or the first step if none failed."""
        return next((step for step in self.steps if step.failed), self.first)

    @property
    def failures(self) -> int:
        return sum(step.failed for step in self.steps)

    @property
    def outcome(self) -> str:
        return self.target.outcome

    @property
    def passed_share(self) -> str:
        """The share of the bar's height for passed steps, or "" if no steps or all steps failed."""
        share = 1 - self.failures / len(self.steps)
        return _percent(min(share, 1 - MIN_FAILED_SHARE)) if 0 < share < 1 else ""

    @property
    def number(self) -> str:
        return number_of(self.steps)

    @property
    def seconds(self) -> float | None:
        durations = [step.seconds for step in self.steps if step.seconds is not None]
        return sum(durations) if durations else None


@dataclass(frozen=True)
class Gap:
    """A long stretch of time without any checkpoint, which the axis leaves out."""

    x: str
    width: str
    middle: str
    seconds: float
    kind: str  # "idle", or "inactive" at the end of a running task


@dataclass(frozen=True)
class Tail:
    """The time from the last step to the end of the task, or to now if it is still running."""

    x: str
    width: str
    seconds: float
    status: str


@dataclass(frozen=True)
class Tick:
    x: str
    seconds: int


@dataclass
class Row:
    """A timeline row for one attempt, or for the earliest attempts combined if there are many."""

    first_attempt: int
    last_attempt: int
    step_count: int
    failures: int
    seconds: float | None
    idle_before: float | None = None
    bars: list[Bar] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    ticks: list[Tick] = field(default_factory=list)
    tail: Tail | None = None
    is_to_scale: bool = True  # whether the row has a time axis


@dataclass(frozen=True)
class Timeline:
    rows: list[Row]
    detail: Row | None  # a row for the steps listed on the page, if other rows combine steps
    is_wide: bool

    @property
    def phone_width(self) -> int:
        """The timeline's width on a phone, in pixels. It makes each bar wide enough to tap."""
        rows = [*self.rows, self.detail] if self.detail else self.rows
        needed = TOUCH_WIDTH * max(len(row.bars) for row in rows)
        return next((width for width in PHONE_WIDTHS if width >= needed), PHONE_WIDTHS[-1])


def build_timeline(
    steps: Sequence[Outline], task: TaskRecord, now: datetime, listed: Sequence[Outline] = ()
) -> Timeline | None:
    """Lay out a timeline of a task's steps, or return None if there are no steps.

    `listed` holds the steps that the page lists. The last row of a running task ends at `now`.
    """
    if not steps:
        return None
    groups = _group_attempts(steps)
    base = NARROW if len(steps) <= FEW_STEPS else WIDE
    endings = [None] * (len(groups) - 1) + [ending_of(groups[-1], task, now)]
    axes = [Axis(group, ending, base) for group, ending in zip(groups, endings, strict=True)]
    scale = min((axis.scale for axis in axes if axis.seconds), default=0)
    rows = [_row(axis, scale) for axis in axes]
    for row, before, group in zip(rows[1:], groups, groups[1:], strict=False):
        row.idle_before = _seconds_between(before[-1], group[0])
    detail = None
    if listed and any(len(bar.steps) > 1 for row in rows for bar in row.bars):
        detail = _sequence_row(listed, WIDE, len(listed))
    return Timeline(rows, detail, base == WIDE)


def _group_attempts(steps: Sequence[Outline]) -> list[list[Outline]]:
    """Group steps into a row per attempt. If there are many attempts, the earliest share a row."""
    attempts = [list(group) for _, group in groupby(steps, lambda step: step.attempt)]
    if len(attempts) <= MAX_ROWS:
        return attempts
    earlier = attempts[: 1 - MAX_ROWS]
    return [[step for group in earlier for step in group], *attempts[1 - MAX_ROWS :]]


def _seconds_between(before: Outline, after: Outline) -> float | None:
    if before.ended_at is None or after.ended_at is None:
        return None
    return max(0.0, (after.ended_at - before.ended_at).total_seconds())


def _duration(steps: Sequence[Outline], ending: Ending | None) -> float | None:
    """Return the duration of one attempt, or None if the steps span several attempts."""
    if steps[0].attempt != steps[-1].attempt:
        return None
    after = ending.seconds if ending and ending.status != TaskStatus.RUNNING else 0
    return sum(step.seconds or 0 for step in steps) + after


def _row(axis: Axis, scale: float) -> Row:
    """Lay out a row. Its bars are equally wide if it has several attempts, or lasted no time."""
    if not scale or axis.steps[0].attempt != axis.steps[-1].attempt:
        return _sequence_row(axis.steps, axis.base, MAX_BARS)
    row = _empty_row(axis.steps, axis.ending)
    x, elapsed = 0.0, 0.0
    segments: list[tuple[float, float, float, float]] = []
    for span in axis.spans(scale):
        if span.gap:
            row.gaps.append(_gap(x, axis, span.gap, "idle"))
            x, elapsed = x + axis.gap_width, elapsed + span.gap
        stub, width = axis.stub_width if span.is_stub else 0, span.seconds * scale
        row.bars.append(_bar(span, x, max(stub + width, MIN_WIDTH), axis.base))
        segments.append((x + stub, width, elapsed, span.seconds))
        x, elapsed = x + stub + width, elapsed + span.seconds
    if (ending := axis.ending) and ending.is_gap:
        kind = "inactive" if ending.status == TaskStatus.RUNNING else "idle"
        row.gaps.append(_gap(x, axis, ending.seconds, kind))
    elif ending:
        width = ending.seconds * scale
        x_share, width_share = _percent(x / axis.base), _percent(width / axis.base)
        row.tail = Tail(x_share, width_share, ending.seconds, ending.status)
        segments.append((x, width, elapsed, ending.seconds))
    row.bars = _number_bars(row.bars, axis.base)
    row.ticks = list(_ticks(segments, axis))
    return row


def _sequence_row(steps: Sequence[Outline], base: int, max_bars: int) -> Row:
    """Lay out a row without a time axis, whose bars are equally wide."""
    row, spans = _empty_row(steps, None), sequence(steps, max_bars)
    row.is_to_scale = False
    width = base / len(spans)
    bars = [_bar(span, position * width, width, base) for position, span in enumerate(spans)]
    row.bars = _number_bars(bars, base)
    return row


def _empty_row(steps: Sequence[Outline], ending: Ending | None) -> Row:
    return Row(
        first_attempt=steps[0].attempt,
        last_attempt=steps[-1].attempt,
        step_count=len(steps),
        failures=sum(step.failed for step in steps),
        seconds=_duration(steps, ending),
    )


def _gap(x: float, axis: Axis, seconds: float, kind: str) -> Gap:
    width, base = axis.gap_width, axis.base
    middle = _percent((x + width / 2) / base)
    return Gap(_percent(x / base), _percent(width / base), middle, seconds, kind)


def _bar(span: Span, x: float, width: float, base: int) -> Bar:
    share = width / base
    label, label_from = fit_label(label_of(span.steps), share, base)
    number_from = fitting_width(number_of(span.steps), share, base)
    place = (_percent(x / base), _percent(share))
    return Bar(span.steps, *place, label, label_from, number_from, span.is_stub)


def _number_bars(bars: list[Bar], base: int) -> list[Bar]:
    """Show the numbers of some narrow bars, letting the numbers extend past the bars."""
    numbers = [
        (float(bar.x[:-1]) / 100 * base, bar.number, bar.number_from in WIDTHS) for bar in bars
    ]
    indexes = [
        bar.first.step_index if len(bar.steps) == 1 else position
        for position, bar in enumerate(bars)
    ]
    candidates = [isinstance(i, int) and i % NUMBER_INTERVAL == 0 for i in indexes]
    chosen = zip(bars, choose_numbers(numbers, candidates, base), strict=True)
    return [replace(bar, number_from=base) if is_chosen else bar for bar, is_chosen in chosen]


def _ticks(segments: list[tuple[float, float, float, float]], axis: Axis) -> Iterator[Tick]:
    """Yield a row's ticks. A segment is the (x, width, elapsed, seconds) of a bar or the tail."""
    max_ticks = axis.base // TICK_WIDTH
    interval = next((tick for tick in TICKS if axis.seconds / tick <= max_ticks), TICKS[-1])
    free, last = 0.0, -1.0
    for x, width, elapsed, seconds in segments:
        first = -(-elapsed // interval) * interval
        count = int((elapsed + seconds - first) // interval) + 1 if seconds else 0
        for number in range(min(max(count, 0), max_ticks)):
            moment = first + number * interval
            position = x + (moment - elapsed) / seconds * width
            if moment > last and free <= position <= axis.base - LAST_TICK_ROOM:
                yield Tick(_percent(position / axis.base), int(moment))
                free, last = position + TICK_WIDTH * 0.8, moment


def _percent(share: float) -> str:
    return f"{share * 100:.3f}".rstrip("0").rstrip(".") + "%"
