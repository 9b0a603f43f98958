"""The threads that a page of insights is about: those that the list shows with the same filters."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property

from django.db.models import Exists, OuterRef, Q

from tasks.fields import next_nanosecond, to_text
from tasks.index.conditions import Condition, select
from tasks.index.counting import Range
from tasks.index.models import PLACES, Failure, FailureQuerySet, StatusCount
from tasks.listing.filters import PERIOD_LENGTHS, Filters
from tasks.listing.forms import ANY
from tasks.listing.thread_list import ThreadList
from tasks.store.daemon import Daemon

_OF_FAILURES = ("error", "tool")  # the filters that select failures, not only their threads
END = "9999"  # a time after all others


@dataclass(frozen=True)
class Selection:
    threads: ThreadList

    @classmethod
    def of(cls, filters: Filters, daemon: Daemon) -> "Selection":
        return cls(ThreadList(replace(filters, sort="activity"), daemon))

    @property
    def filters(self) -> Filters:
        return self.threads.filters

    @property
    def now(self) -> datetime:
        return self.threads.daemon.now

    @cached_property
    def start(self) -> datetime | None:
        """The time since which the threads were active, if there is a limit."""
        starts = [self.filters.start] if self.filters.start else []
        if self.filters.period:
            starts.append(self.now - PERIOD_LENGTHS[self.filters.period])
        return max(starts, default=None)

    @property
    def end(self) -> datetime:
        return self.filters.end or self.now

    def without(self, *names: str) -> list[Condition]:
        return [c for name, c in self.threads.conditions.items() if name not in names]

    @property
    def failures(self) -> FailureQuerySet:
        """The failures of the threads; those of a tool or with an error if that is filtered by."""
        rows, others = Failure.objects.of_latest(), self.without(*_OF_FAILURES)
        if all(condition.is_plain for condition in others):
            for condition in others:
                rows = rows.filter(**condition.limits)
            if any(condition.equal for condition in others):
                rows = rows.filter(kind__among=[kind.pk for kind in kinds(others)])
        else:
            rows = rows.filter(Exists(select(others).filter(pk=OuterRef("pk") / PLACES)))
        if self.filters.error not in ("", ANY):
            rows = rows.filter(shape=self.filters.error)
        return rows.filter(tool=self.filters.tool) if self.filters.tool else rows

    @property
    def is_first(self) -> Q:
        """The condition for the failures that are counted if threads are to be counted."""
        return Q(rank__gte=1 if self.filters.tool else 2)


def kinds(conditions: list[Condition]) -> list[StatusCount]:
    """Return the kinds of threads that the conditions allow."""
    rows = StatusCount.objects.filter(n__gt=0)
    for condition in conditions:
        rows = rows.filter(**condition.equal)
    return list(rows)


def range_of(start: datetime | None, end: datetime | None) -> Range:
    """Return the range from one time to another, including both, as the list's filters do."""
    if end and end.microsecond:
        high = to_text(end + timedelta(microseconds=1))
    else:
        high = next_nanosecond(to_text(end)) if end else END
    return to_text(start) if start else "", high
