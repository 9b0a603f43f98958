"""What changed in the selected threads: how many were active, how many failed, how long they took.

A thread counts at the time at which it was last active, as in the list.
"""

import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import cached_property
from itertools import pairwise
from typing import Any

from django.db import connections

from tasks.fields import parse_stored, to_text
from tasks.index.conditions import FEW, Condition, count, kinds, select
from tasks.index.counting import Range, count_ranges
from tasks.index.models import PLACES, TEXT_FILTERS, IndexedCall, IndexedTask, StatusCount
from tasks.insights.selection import Selection
from tasks.listing.filters import Filters
from tasks.models import TaskStatus
from tasks.store.daemon import STALLED

RUNNING = str(TaskStatus.RUNNING)
FAILED = (str(TaskStatus.FAILED), str(TaskStatus.TIMED_OUT))
SAMPLE = 2_000  # the latest threads, whose tool calls and durations are read
HOURS, DAYS, WEEKS = timedelta(days=2), timedelta(days=62), timedelta(days=434)


Counted = tuple[dict[str, Any], int, Counter[str]]  # a kind, the number of a range, and states


@dataclass
class Column:
    """Threads by state that were last active in a span of time."""

    start: datetime | None  # None for the first column if there is no limit
    end: datetime | None  # the time before which it ends; None for the last if there is no limit
    label: str
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        return self.counts.total()


@dataclass
class Group:
    """The threads with a value in a column, now and in the period before."""

    value: str
    counts: Counter[str] = field(default_factory=Counter)
    before: Counter[str] = field(default_factory=Counter)

    @property
    def rate(self) -> float:
        return _rate(self.counts)

    @property
    def rate_before(self) -> float | None:
        return _rate(self.before) if self.before.total() else None


def _rate(counts: Counter[str]) -> float:
    total = counts.total()
    return sum(counts[status] for status in FAILED) / total if total else 0.0


@dataclass(frozen=True)
class Overview:
    selection: Selection
    zone: tzinfo

    @cached_property
    def start(self) -> datetime | None:
        """The beginning of the first column."""
        if self.selection.start:
            return self.selection.start
        rows = select(self.selection.without("times"), "updated_at")
        first = rows.filter(updated_at__gte="1").order_by("updated_at").first()
        moment = parse_stored(first.updated_at) if first else None
        return moment if isinstance(moment, datetime) else None

    @cached_property
    def _spans(self) -> list[Column]:
        """The columns without their counts: hours, days, weeks or months."""
        limits, label = steps(self.start or self.selection.end, self.selection.end, self.zone)
        starts = [self.selection.start, *limits[1:]]
        ends = [*limits[1:], self.selection.filters.end]
        labels = [f"{limit.astimezone(self.zone):{label}}" for limit in limits]
        return list(map(Column, starts, ends, labels))

    @cached_property
    def columns(self) -> list[Column]:
        """The threads by the time of their last activity."""
        columns = self._spans
        for _, number, counts in self._counts:
            if number < len(columns):
                columns[number].counts += counts
        return columns

    @cached_property
    def totals(self) -> Counter[str]:
        return sum((column.counts for column in self.columns), Counter())

    @property
    def before(self) -> tuple[datetime, datetime] | None:
        """The first time of the period before, and the time before which it ends."""
        start = self.selection.start
        return (start - (self.selection.end - start), start) if start else None

    @cached_property
    def groups(self) -> dict[str, list[Group]]:
        """The threads by channel, provider and model, those with most threads first."""
        found: dict[str, dict[str, Group]] = {name: {} for name in TEXT_FILTERS}
        for kind, number, counts in self._counts:
            for name in TEXT_FILTERS:
                group = found[name].setdefault(kind[name], Group(kind[name]))
                (group.counts if number < len(self._spans) else group.before).update(counts)
        return {
            name: sorted(groups.values(), key=lambda group: -group.counts.total())
            for name, groups in found.items()
        }

    @cached_property
    def _ranges(self) -> list[Range]:
        """The columns' ranges, in order, and that of the period before if there is one."""
        times = [to_text(column.start) if column.start else "" for column in self._spans]
        ranges = list(pairwise([*times, self.selection.high]))
        return [*ranges, (to_text(self.before[0]), times[0])] if self.before else ranges

    @cached_property
    def _counts(self) -> list[Counted]:
        """Numbers of threads by state, with their kind and the number of their range."""
        conditions = self.selection.without("times")
        if min((c.size for c in conditions if not c.is_plain), default=math.inf) <= FEW:
            return list(self._counts_one_by_one(conditions))
        if all(condition.is_plain for condition in conditions):
            rows = IndexedTask.objects.latest()
            for condition in conditions:
                rows = rows.filter(**condition.limits)
        else:
            rows = select(conditions)
        names = StatusCount.COLUMNS
        groups = [{name: getattr(kind, name) for name in names} for kind in kinds(conditions)]
        running = [group for group in groups if group["status"] == RUNNING]
        stalled_before = self.selection.threads.daemon.stalled_before
        silent = [(low, min(high, stalled_before)) for low, high in self._ranges]
        stalled = iter(count_ranges(rows, "updated_at", running, silent))
        found = []
        for group, row in zip(
            groups, count_ranges(rows, "updated_at", groups, self._ranges), strict=True
        ):
            silent_row = next(stalled) if group["status"] == RUNNING else [0] * len(row)
            for number, (n, of_silent) in enumerate(zip(row, silent_row, strict=True)):
                states = Counter({group["status"]: n - of_silent, STALLED: of_silent})
                found.append((group, number, +states))
        return [each for each in found if each[-1]]

    def _counts_one_by_one(self, conditions: list[Condition]) -> Iterator[Counted]:
        """Yield the same for each of a few threads."""
        names = (*StatusCount.COLUMNS, "updated_at")
        for row in select(conditions).values(*names):
            time = row.pop("updated_at")
            state = self.selection.threads.daemon.state_of(row["status"], time)
            for number, (low, high) in enumerate(self._ranges):
                if low <= time < high:
                    yield row, number, Counter({state: 1})

    @cached_property
    def sample(self) -> "Sample":
        return Sample.of(self.selection)

    @cached_property
    def sample_before(self) -> "Sample | None":
        if not self.before:
            return None
        filters = self.selection.within(*self.before)
        return Sample.of(Selection.of(filters, self.selection.threads.daemon))


@dataclass(frozen=True)
class Sample:
    """The latest threads of a selection, of which more is read than is counted for all."""

    filters: Filters  # that select exactly these threads
    is_complete: bool  # whether these are all threads of the selection
    milliseconds: list[int]  # of last attempts, in order, if known
    tools: dict[str, tuple[int, int]]  # how many threads called each, and in how many it failed
    size: int

    @classmethod
    def of(cls, selection: Selection) -> "Sample":
        rows = select(selection.without(), "updated_at").order_by("-updated_at")
        columns = ("pk", "updated_at", "milliseconds")
        found, filters = list(rows.values_list(*columns)[: SAMPLE + 1]), selection.filters
        is_complete = len(found) <= SAMPLE
        last = parse_stored(found[-2][1]) if not is_complete else None
        if isinstance(last, datetime):
            since = datetime.fromtimestamp(last.timestamp(), UTC).replace(
                microsecond=last.microsecond
            )
            found = list(rows.filter(updated_at__gte=to_text(since)).values_list(*columns))
            filters = replace(filters, period="", start=since)
        tools = _tools([pk for pk, *_ in found])
        known = sorted(n for *_, n in found if n >= 0)
        return cls(filters, is_complete, known, tools, len(found))

    def percentile(self, percent: int) -> int | None:
        """Return the duration that so many percent of the attempts do not exceed."""
        rank = -(-percent * len(self.milliseconds) // 100)
        return self.milliseconds[rank - 1] if self.milliseconds else None


_TOOLS = f"""
    SELECT tool, count(DISTINCT task.value), count(DISTINCT iif(success, NULL, task.value))
    FROM json_each(%s) AS task CROSS JOIN task_index_indexedcall AS call
        ON call.id BETWEEN task.value * {PLACES} AND (task.value + 1) * {PLACES} - 1
    WHERE tool <> '' GROUP BY tool ORDER BY 2 DESC, 1"""


def _tools(pks: list[int]) -> dict[str, tuple[int, int]]:
    with connections[IndexedCall.objects.db].cursor() as cursor:
        cursor.execute(_TOOLS, [json.dumps(pks)])
        return {tool: (threads, failed) for tool, threads, failed in cursor.fetchall()}


def steps(start: datetime, end: datetime, zone: tzinfo) -> tuple[list[datetime], str]:
    """Return the beginnings of the columns from one time to another, and how to format them.

    Days, weeks and months begin at midnight in the zone. Hours follow each other also when clocks
    change, so that a day has as many as it has.
    """
    local, span = start.astimezone(zone), end - start
    if span <= HOURS:
        first = local.replace(minute=0, second=0, microsecond=0).astimezone(UTC)
        count = max(0, (end - first) // timedelta(hours=1)) + 1
        hours = [first + timedelta(hours=n) for n in range(count)]
        return hours, "%a %H:%M"
    day = local.date()
    if span > WEEKS:
        days = iter(_months(day.year, day.month))
    elif span > DAYS:
        days = iter(_days(day - timedelta(days=day.weekday()), 7))
    else:
        days = iter(_days(day, 1))
    limits = []
    for day in days:
        limit = datetime.combine(day, time(), zone).astimezone(UTC)
        if limit > end:
            break
        limits.append(limit)
    return limits, "%b %Y" if span > WEEKS else "%a %d %b"


def _days(day: date, step: int) -> Iterator[date]:
    while True:
        yield day
        day += timedelta(days=step)


def _months(year: int, month: int) -> Iterator[date]:
    while True:
        yield date(year, month, 1)
        year, month = year + month // 12, month % 12 + 1


@dataclass(frozen=True)
class Need:
    """Threads that may need a person."""

    name: str
    count: int
    filters: Filters


def needs(selection: Selection, last_visit: datetime) -> list[Need]:
    """Return how many threads are stalled, failed since the last visit, or came back.

    That is regardless of the selection's time.
    """
    always = replace(selection.filters, period="", start=None, end=None, status="")
    filters = {
        STALLED: replace(always, status=STALLED),
        **{status: replace(always, status=status, start=last_visit) for status in FAILED},
        "returned": replace(always, returned="yes"),
    }
    return [
        Need(name, count(Selection.of(wanted, selection.threads.daemon).without()), wanted)
        for name, wanted in filters.items()
    ]
