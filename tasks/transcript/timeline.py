"""The picture of a task: each attempt on a time axis, a bar for each step.

Positions are shares of the picture's width, so that it fits any screen while its texts stay as
large as they are. All that depends on the width of a screen is which labels there is room for.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby

from tasks.models import TaskRecord, TaskStatus
from tasks.transcript.steps import Outline
from tasks.transcript.timeline_labels import (
    NUMBERED,
    ROOMS,
    fitted,
    label_of,
    number_of,
    room_for,
    sparsely_numbered,
)
from tasks.transcript.timeline_scale import Ending, Span, ending_of, spans_of

NARROW, WIDE = 320, 900  # pixels that a picture is at least wide: of few steps, and of many
MOST_BARS, MOST_ROWS = 120, 5
FEW = 4  # steps that a narrow picture has room for
GAP_WIDTH = 70
LEAST = 38.0  # pixels of a bar that takes no time, where there is room
LEAST_FAILED = 0.25  # of the height of a bar in which any step failed
TOUCHED = 96  # pixels that a bar has on a phone, on the average
PHONE_WIDTHS = (900, 1280, 1920, 2560, 3840)  # the styles have the same
TICKS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400)
TICK_WIDTH = 62


@dataclass(frozen=True)
class Bar:
    """A step, or several where there are too many for bars of their own."""

    steps: Sequence[Outline]
    x: str
    width: str
    text: str
    label_from: int | None
    number_from: int | None

    @property
    def first(self) -> Outline:
        return self.steps[0]

    @property
    def target(self) -> Outline:
        """The step that it leads to: the first that failed, or the first."""
        return next((step for step in self.steps if step.failed), self.first)

    @property
    def failures(self) -> int:
        return sum(step.failed for step in self.steps)

    @property
    def outcome(self) -> str:
        return self.target.outcome if len(self.steps) == 1 or self.failures else self.first.outcome

    @property
    def passed_share(self) -> str:
        """How much of it did not fail, where that is not all or nothing; a failure always shows."""
        share = 1 - self.failures / len(self.steps)
        return _percent(min(share, 1 - LEAST_FAILED)) if 0 < share < 1 else ""

    @property
    def label(self) -> str:
        return self.text

    @property
    def number(self) -> str:
        return number_of(self.steps)

    def is_marked(self, place: int) -> bool:
        """Whether it is one of those that tell their number where not each can."""
        index = self.first.step_index if len(self.steps) == 1 else place
        return isinstance(index, int) and index % NUMBERED == 0

    @property
    def seconds(self) -> float | None:
        known = [step.seconds for step in self.steps if step.seconds is not None]
        return sum(known) if known else None


@dataclass(frozen=True)
class Gap:
    """Time in which nothing was recorded, folded."""

    x: str
    width: str
    middle: str
    seconds: float
    kind: str  # "idle", or "silent" of a task that is running


@dataclass(frozen=True)
class Tail:
    """What came after the last step: the answer, the error, or what is going on."""

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
    """One attempt, or the earlier attempts together."""

    first_attempt: int
    last_attempt: int
    step_count: int
    failures: int
    seconds: float | None
    idle_before: float | None
    bars: list[Bar] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    ticks: list[Tick] = field(default_factory=list)
    tail: Tail | None = None


@dataclass(frozen=True)
class Picture:
    rows: list[Row]
    detail: Row | None  # the steps that a page lists, where the rows' bars hold several each
    is_wide: bool

    @property
    def phone_width(self) -> int:
        """Pixels that it has on a phone, where a finger has to hit a bar."""
        rows = [*self.rows, self.detail] if self.detail else self.rows
        needed = TOUCHED * max(len(row.bars) for row in rows)
        return next((width for width in PHONE_WIDTHS if width >= needed), PHONE_WIDTHS[-1])


@dataclass(frozen=True)
class _Axis:
    """The spans of a row, and how wide they are in pixels of the narrowest picture."""

    spans: list[Span]
    ending: Ending | None
    base: int
    is_alone: bool

    @property
    def least(self) -> float:
        """The width of a bar that takes no time; a lone one has all there is."""
        if self.is_alone and len(self.spans) == 1 and not self.seconds:
            return self.base - self.gap_count * self.gap_width
        return max(3.0, min(LEAST, self.base * 0.5 / max(len(self.spans), 1)))

    @property
    def gap_count(self) -> int:
        return sum(span.gap > 0 for span in self.spans) + bool(self.ending and self.ending.is_gap)

    @property
    def gap_width(self) -> float:
        return min(GAP_WIDTH, self.base * 0.4 / max(self.gap_count, 1))

    @property
    def seconds(self) -> float:
        shown = self.ending.seconds if self.ending and not self.ending.is_gap else 0
        return sum(span.seconds for span in self.spans) + shown

    @property
    def scale(self) -> float:
        """Pixels that a second gets, if the row shall fill the picture."""
        bars = len(self.spans) + bool(self.ending and not self.ending.is_gap)
        room = self.base - bars * self.least - self.gap_count * self.gap_width
        return max(room, 0) / self.seconds if self.seconds else 0


def picture(
    found: Sequence[Outline], task: TaskRecord, now: datetime, listed: Sequence[Outline] = ()
) -> Picture | None:
    """The picture of these steps; None where there are none. `listed` are those that a page lists.

    `now` is where a running task's last row ends.
    """
    if not found:
        return None
    attempts = [list(steps) for _, steps in groupby(found, lambda step: step.attempt)]
    groups = _rows_of(attempts)
    base = NARROW if len(found) <= FEW else WIDE
    endings = [None] * (len(groups) - 1) + [ending_of(groups[-1], task, now)]
    axes = [
        _Axis(spans_of(steps, MOST_BARS), ending, base, len(groups) == 1)
        for steps, ending in zip(groups, endings, strict=True)
    ]
    scale = min((axis.scale for axis in axes if axis.seconds), default=0)
    rows = [_row(steps, axis, scale) for steps, axis in zip(groups, axes, strict=True)]
    for row, before, steps in zip(rows[1:], groups, groups[1:], strict=False):
        row.idle_before = _seconds_between(before[-1], steps[0])
    is_binned = any(len(bar.steps) > 1 for row in rows for bar in row.bars)
    detail = _detail(listed) if is_binned and listed else None
    return Picture(rows, detail, base == WIDE)


def _rows_of(attempts: list[list[Outline]]) -> list[list[Outline]]:
    """The steps of each row: where there are many attempts, the earlier ones share the first."""
    if len(attempts) <= MOST_ROWS:
        return attempts
    earlier = attempts[: 1 - MOST_ROWS]
    return [[step for steps in earlier for step in steps], *attempts[1 - MOST_ROWS :]]


def _detail(shown: Sequence[Outline]) -> Row:
    axis = _Axis(spans_of(shown, len(shown)), None, WIDE, True)
    return _row(shown, axis, axis.scale)


def _seconds_between(before: Outline, after: Outline) -> float | None:
    if before.ended_at is None or after.ended_at is None:
        return None
    return max(0.0, (after.ended_at - before.ended_at).total_seconds())


def _seconds_of(steps: Sequence[Outline], ending: Ending | None) -> float | None:
    """What one attempt took, to its end; None for several, between which anything may lie."""
    if steps[0].attempt != steps[-1].attempt:
        return None
    after = ending.seconds if ending and ending.status != TaskStatus.RUNNING else 0
    return sum(step.seconds or 0 for step in steps) + after


def _row(steps: Sequence[Outline], axis: _Axis, scale: float) -> Row:
    row = Row(
        steps[0].attempt,
        steps[-1].attempt,
        len(steps),
        sum(step.failed for step in steps),
        _seconds_of(steps, axis.ending),
        None,
    )
    x, elapsed = 0.0, 0.0
    stretches: list[tuple[float, float, float, float]] = []
    for span in axis.spans:
        if span.gap:
            row.gaps.append(_gap(x, axis, span.gap, "idle"))
            x, elapsed = x + axis.gap_width, elapsed + span.gap
        width = axis.least + span.seconds * scale
        row.bars.append(_bar(span, x, width, axis.base))
        stretches.append((x, width, elapsed, span.seconds))
        x, elapsed = x + width, elapsed + span.seconds
    if (ending := axis.ending) and ending.is_gap:
        kind = "silent" if ending.status == TaskStatus.RUNNING else "idle"
        row.gaps.append(_gap(x, axis, ending.seconds, kind))
    elif ending:
        width = axis.least + ending.seconds * scale
        row.tail = Tail(*_share(x, width, axis.base), ending.seconds, ending.status)
        stretches.append((x, width, elapsed, ending.seconds))
    row.bars = _numbered(row.bars, axis.base)
    row.ticks = list(_ticks(stretches, axis))
    return row


def _gap(x: float, axis: _Axis, seconds: float, kind: str) -> Gap:
    width = axis.gap_width
    return Gap(*_share(x, width, axis.base), _percent((x + width / 2) / axis.base), seconds, kind)


def _bar(span: Span, x: float, width: float, base: int) -> Bar:
    share = width / base
    label, label_from = fitted(label_of(span.steps), share, base)
    number_from = room_for(number_of(span.steps), share, base)
    return Bar(span.steps, *_share(x, width, base), label, label_from, number_from)


def _numbered(bars: list[Bar], base: int) -> list[Bar]:
    """The bars, some of them with numbers that reach under the next ones."""
    places = [float(bar.x[:-1]) / 100 * base for bar in bars]
    told = [bar.number_from in ROOMS for bar in bars]
    numbers = list(zip(places, [bar.number for bar in bars], told, strict=True))
    marked = [bar.is_marked(place) for place, bar in enumerate(bars)]
    chosen = zip(bars, sparsely_numbered(numbers, marked, base), strict=True)
    return [replace(bar, number_from=base) if is_chosen else bar for bar, is_chosen in chosen]


def _ticks(stretches: list[tuple[float, float, float, float]], axis: _Axis) -> Iterator[Tick]:
    """Times from the start of the row; of (x, width, elapsed, seconds) of what is drawn."""
    most = axis.base // TICK_WIDTH
    step = next((tick for tick in TICKS if axis.seconds / tick <= most), TICKS[-1])
    free, last = 0.0, -1.0
    for x, width, elapsed, seconds in stretches:
        first = -(-elapsed // step) * step
        count = int((elapsed + seconds - first) // step) + 1 if seconds else int(first == elapsed)
        for number in range(min(max(count, 0), most)):
            moment = first + number * step
            position = x + ((moment - elapsed) / seconds * width if seconds else 0)
            if moment > last and free <= position <= axis.base - 30:
                yield Tick(_percent(position / axis.base), int(moment))
                free, last = position + TICK_WIDTH * 0.8, moment


def _share(x: float, width: float, base: int) -> tuple[str, str]:
    return _percent(x / base), _percent(width / base)


def _percent(share: float) -> str:
    return f"{share * 100:.3f}".rstrip("0").rstrip(".") + "%"
