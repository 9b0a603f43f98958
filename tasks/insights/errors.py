"""Errors grouped by their shapes."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise

from django.db.models import Count, Max, Min, Value

from tasks.fields import parse_stored, to_text
from tasks.index.counting import count_ranges
from tasks.index.models import PLACES, ErrorShape, Failure, IndexedTask
from tasks.insights import pictures
from tasks.insights.selection import Selection
from tasks.models import TaskRecord, TaskStatus

BINS = 24  # of a trend
VARIANTS_OF = 1_000  # the latest failures whose lines are compared
MAX_VARIANTS = 10
_FIGURES = ("shape", "tool", "n", "threads", "last")
NEW = timedelta(days=1)


@dataclass
class Error:
    """A shape of errors, with its failures in the threads that are selected."""

    shape: int
    text: str = ""
    failures: int = 0
    threads: int = 0
    first: str = ""  # of all failures in the store
    last: str = ""
    is_new: bool = False  # seen for the first time in the last 24 hours
    tools: dict[str, int] = field(default_factory=dict)  # failures; "" for the failures of tasks
    trend: list[int] = field(default_factory=list)

    @property
    def path(self) -> str:
        return "".join(bar.path for bar in pictures.bars([[n] for n in self.trend]))

    @property
    def first_seen(self) -> datetime | str:
        return parse_stored(self.first)

    @property
    def last_seen(self) -> datetime | str:
        return parse_stored(self.last)


@dataclass
class Errors:
    errors: list[Error]  # the most frequent, or the latest
    number: int  # of all
    failures: int
    start: datetime | None  # of the trends
    end: datetime


def read_errors(
    selection: Selection, most: int, *, by_time: bool = False, has_times: bool = True
) -> Errors:
    """Return the `most` errors that affect the most threads, or the most recent ones."""
    by_shape: dict[int, Error] = {}
    figures = selection.failures.order_by().values("shape", "tool")
    last_seen = Max("created_at") if has_times or by_time else Value("")
    figures = figures.annotate(
        n=Count("shape"), threads=Count("shape", filter=selection.is_first), last=last_seen
    )
    for shape, tool, n, threads, last in figures.values_list(*_FIGURES):
        error = by_shape.setdefault(shape, Error(shape))
        error.failures += n
        error.threads += threads
        error.last = max(error.last, last)
        error.tools[tool] = n

    def order(error: Error) -> tuple[object, ...]:
        numbers = (error.threads, error.failures)
        return (error.last, *numbers) if by_time else (*numbers, error.last)

    errors = sorted(by_shape.values(), key=order, reverse=True)[:most]
    _add_texts(errors)
    start = None
    if has_times:
        _add_first(errors, to_text(selection.now - NEW))
        start = _trend_start(selection, errors)
        _add_trends(selection, errors, start)
    failures = sum(error.failures for error in by_shape.values())
    return Errors(errors, len(by_shape), failures, start, selection.end)


def _add_texts(errors: list[Error]) -> None:
    shapes = [error.shape for error in errors]
    texts = dict(ErrorShape.objects.filter(pk__in=shapes).values_list("pk", "text"))
    for error in errors:
        error.text = texts.get(error.shape, "")


def _add_first(errors: list[Error], new_since: str) -> None:
    shapes = [error.shape for error in errors]
    rows = Failure.objects.of_latest().filter(shape__in=shapes).values_list("shape").order_by()
    first = dict(rows.annotate(Min("created_at")))
    for error in errors:
        error.first = first[error.shape]
        error.is_new = error.first >= new_since


def _trend_start(selection: Selection, errors: list[Error]) -> datetime | None:
    first = min((error.first for error in errors), default="")
    start = selection.start or parse_stored(first)
    return start if isinstance(start, datetime) and start < selection.end else None


def _add_trends(selection: Selection, errors: list[Error], start: datetime | None) -> None:
    if start is None:
        return
    # the end itself belongs to the last bin
    step = (selection.end - start + timedelta(microseconds=1)) / BINS
    times = [to_text(start + step * n) for n in range(BINS + 1)]
    pairs = [(error, tool) for error in errors for tool in error.tools]
    groups = [{"shape": error.shape, "tool": tool} for error, tool in pairs]
    ranges = list(pairwise(times))
    counts = count_ranges(selection.failures, "created_at", groups, ranges)
    for (error, _), row in zip(pairs, counts, strict=True):
        error.trend = [sum(pair) for pair in zip(error.trend or [0] * BINS, row, strict=True)]


@dataclass(frozen=True)
class Variant:
    line: str
    failures: int


def variants(selection: Selection) -> list[Variant]:
    """Return the lines of the latest failures, the most frequent first."""
    latest = selection.failures.order_by("-created_at")[:VARIANTS_OF]
    lines = Counter(latest.values_list("line", flat=True))
    return [Variant(*pair) for pair in lines.most_common(MAX_VARIANTS)]


def same_error(record: TaskRecord) -> tuple[int, int]:
    """Return the shape of a task's error, and in how many other threads it is.

    The error is that of the task, or else of its last call that failed, unless it completed.
    """
    task = IndexedTask.objects.filter(task_id=record.task_id).first()
    if task is None or task.status == TaskStatus.COMPLETED:
        return 0, 0
    first = task.pk * PLACES
    own = Failure.objects.filter(pk__gte=first, pk__lt=first + PLACES)
    failure = own.filter(tool="").first() or own.order_by("pk").last()
    if failure is None:
        return 0, 0
    same = Failure.objects.of_latest().filter(
        **Failure.objects.first_of("shape"), shape=failure.shape
    )
    return failure.shape, same.exclude(pk__gte=first, pk__lt=first + PLACES).count()
