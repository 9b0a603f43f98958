"""The picture of a task: each attempt on a time axis, a bar for each step.

Positions are shares of the picture's width, so that it fits any screen while its texts stay as
large as they are. All that depends on the width of a screen is which labels there is room for.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby

from tasks.models import TaskRecord, TaskStatus
from tasks.spans import Ending, Span, ending_of, spans_of
from tasks.steps import NO_TOOL, UNREADABLE, Outline

NARROW, WIDE = 320, 900  # pixels that a picture is at least wide: of few steps, and of many
MOST_BARS, MOST_ROWS = 120, 5
FEW = 4  # steps that a narrow picture has room for
GAP_WIDTH = 70
LEAST = 38.0  # pixels of a bar that takes no time, where there is room
LEAST_FAILED = 0.25  # of the height of a bar in which any step failed
LETTER, PADDING = 6.7, 12  # pixels: of a label's letter, and around a label
ROOMS = (320, 480, 900, 1180)  # widths from which a label may fit; the styles have the same
SHORTEST_LABEL = 4  # letters of a label that is cut
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
        """How much of it did not fail, where that is not all or nothing.

        One failure among hundreds is what a person looks for, so it always shows.
        """
        share = 1 - self.failures / len(self.steps)
        return _percent(min(share, 1 - LEAST_FAILED)) if 0 < share < 1 else ""

    @property
    def label(self) -> str:
        return self.text

    @property
    def number(self) -> str:
        return _number(self.steps)

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


@dataclass(frozen=True)
class _Axis:
    """The spans of a row, and how wide they are in pixels of the narrowest picture."""

    spans: list[Span]
    ending: Ending | None
    base: int

    @property
    def least(self) -> float:
        """The width of a bar that takes no time."""
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
        _Axis(spans_of(steps, MOST_BARS), ending, base)
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
    axis = _Axis(spans_of(shown, len(shown)), None, WIDE)
    return _row(shown, axis, axis.scale)


def _seconds_between(before: Outline, after: Outline) -> float | None:
    if before.ended_at is None or after.ended_at is None:
        return None
    return max(0.0, (after.ended_at - before.ended_at).total_seconds())


def _row(steps: Sequence[Outline], axis: _Axis, scale: float) -> Row:
    row = Row(
        steps[0].attempt,
        steps[-1].attempt,
        len(steps),
        sum(step.failed for step in steps),
        sum(step.seconds or 0 for step in steps) if steps[0].attempt == steps[-1].attempt else None,
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
    row.ticks = list(_ticks(stretches, axis))
    return row


def _gap(x: float, axis: _Axis, seconds: float, kind: str) -> Gap:
    width = axis.gap_width
    return Gap(*_share(x, width, axis.base), _percent((x + width / 2) / axis.base), seconds, kind)


def _bar(span: Span, x: float, width: float, base: int) -> Bar:
    share = width / base
    label, label_from = _fitted(_label(span.steps), share, base)
    number_from = _room_for(_number(span.steps), share, base)
    return Bar(span.steps, *_share(x, width, base), label, label_from, number_from)


def _fitted(label: str, share: float, base: int) -> tuple[str, int | None]:
    """The label, or as much of it as the bar holds in a wide picture, and from what width on."""
    room = _room_for(label, share, base)
    letters = int((ROOMS[-1] * share - PADDING) / LETTER) - 1
    if room is None and SHORTEST_LABEL <= letters < len(label):
        return f"{label[:letters]}…", ROOMS[-1]
    return label, room


def _label(steps: Sequence[Outline]) -> str:
    if len(steps) > 1:
        return ""
    if steps[0].outcome in (NO_TOOL, UNREADABLE):
        return "no tool" if steps[0].outcome == NO_TOOL else "unreadable"
    return steps[0].tool + (" +" if steps[0].has_more else "")


def _number(steps: Sequence[Outline]) -> str:
    numbers = [str(step.step_index)[:20] for step in (steps[0], steps[-1])]
    return numbers[0] if len(steps) == 1 else " to ".join(numbers)


def _room_for(text: str, share: float, base: int) -> int | None:
    """The width of a picture from which on a bar of this share holds the text; None if none."""
    needed = len(text) * LETTER + PADDING
    rooms = (room for room in ROOMS if room >= base)
    return next((room for room in rooms if text and room * share >= needed), None)


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
