"""The threads that a page of insights is about: those that the list shows with the same filters."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property

from django.db.models import Q

from tasks.fields import next_nanosecond, to_text
from tasks.index.conditions import Condition, failures
from tasks.index.models import Failure, FailureQuerySet
from tasks.listing.filters import PERIOD_LENGTHS, Filters
from tasks.listing.forms import ANY
from tasks.listing.thread_list import ThreadList
from tasks.store.daemon import Daemon

END = "\U0010ffff"  # after all times, and after all other texts


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

    @property
    def high(self) -> str:
        """The stored time before which the threads were active; those at `filters.end` count."""
        end = self.filters.end
        if end and end.microsecond:
            return to_text(end + timedelta(microseconds=1))
        return next_nanosecond(to_text(end)) if end else END

    def within(self, start: datetime | None, end: datetime | None) -> Filters:
        """Return the same filters for another time, which ends before `end`."""
        if end and end != self.filters.end:
            end -= timedelta(microseconds=1)
        return replace(self.filters, period="", start=start, end=end)

    def without(self, *names: str) -> list[Condition]:
        return [c for name, c in self.threads.conditions.items() if name not in names]

    @property
    def failures(self) -> FailureQuerySet:
        """The failures of the threads; those of a tool or with an error if that is filtered by."""
        rows = failures(self.without("error", "tool"))
        if self.filters.error not in ("", ANY):
            rows = rows.filter(shape=self.filters.error)
        return rows.filter(tool=self.filters.tool) if self.filters.tool else rows

    @property
    def is_first(self) -> Q:
        """The condition for the failures that are counted if threads are to be counted."""
        return Q(**Failure.objects.first_of("shape", *(["tool"] if self.filters.tool else [])))
