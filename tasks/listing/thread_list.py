"""A page of the list of threads: what its address asks is in `filters`.

A page costs the same wherever it is. What an index answers is asked for at once; for anything else
the list is walked in pieces from one end, for a bounded time, and can be walked further from there.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from django.conf import settings
from django.db.models import Q, TextField, Value
from django.db.models.functions import Concat

from tasks import large_values
from tasks.fields import to_value
from tasks.listing.filters import PERIOD_LENGTHS, Cursor, Filters, cursor_of
from tasks.listing.forms import STALLED, STATES
from tasks.models import TaskRecord, TaskRecordQuerySet, TaskStatus
from tasks.store.daemon import Daemon, daemon
from tasks.transcript.search import ROLES, Hit, Term

PIECE, HEAVY_PIECE = 20_000, 100  # rows looked at in one query, with and without large columns
WALK_SECONDS, NEIGHBOUR_SECONDS = 1.5, 0.2
SECONDS_OF_ONE = 3.0  # for searching one history
COUNTED = 1_000  # threads of a state
# as no index has it: SQLite would take that of the states, and sort all that it finds there
_STATUS = Concat("status", Value(""), output_field=TextField())


@dataclass
class Page:
    """Some threads in order, whether there are more, and where the walk was broken off if so."""

    records: list[TaskRecord]
    has_more: bool = False
    stopped: Cursor | None = None
    too_large: int = 0  # threads that were not searched whole
    hits: dict[str, list[Hit]] = field(default_factory=dict)


class ThreadList:
    """The threads that pass the filters, at a moment."""

    def __init__(
        self, filters: Filters, daemon_: Daemon | None = None, seconds: float | None = None
    ) -> None:
        self.filters = filters
        self.seconds = WALK_SECONDS if seconds is None else seconds
        self.daemon = daemon_ or daemon()
        self._term = Term(filters.q) if filters.q else None

    def page(self, size: int, after: Cursor | None = None, before: Cursor | None = None) -> Page:
        """The threads that follow one, or that precede one, in the list's order."""
        forwards = before is None
        page = self._walk(size, after if forwards else before, forwards)
        if not forwards:
            page.records.reverse()
        return page

    def neighbours(self, record: TaskRecord) -> tuple[str | None, str | None]:
        """The ids of the threads before and after this one."""
        if record.task_id is None:  # a spoilt row has no place in an order
            return None, None
        cursor = self.filters.cursor(record)
        previous = self._walk(1, cursor, forwards=False).records
        following = self._walk(1, cursor, forwards=True).records
        return (
            previous[0].thread_id if previous else None,
            following[0].thread_id if following else None,
        )

    def counts(self) -> dict[str, int]:
        """How many threads of each state pass the other filters; none are counted on over 1,000."""
        rows = TaskRecord.objects.latest_of_thread().filter(self._equalities & self._times)
        newest = TaskRecord.objects.newest_first()
        if self._equalities and (edge := self._edge(newest, "updated_at", PIECE)):
            rows = rows.filter(updated_at__gte=to_value(str(edge.value)))
        counted = {"": rows} | {state: rows.filter(self._state(state)) for state in STATES}
        return {
            state: found.newest_first()[: COUNTED + 1].count() for state, found in counted.items()
        }

    def _walk(self, size: int, position: Cursor | None, forwards: bool) -> Page:
        page, deadline = Page([]), time.monotonic() + self.seconds
        descending = self.filters.is_descending == forwards
        column = self.filters.column
        while True:
            rows = self._ordered(descending)
            if position:
                rows = rows.beyond(column, position.value, position.task_id, descending=descending)
            edge = self._edge(rows, column, self._piece) if self._is_walk else None
            if edge:
                rows = rows.up_to(column, edge.value, edge.task_id, descending=descending)
            self._take(page, rows, size + 1 - len(page.records), deadline)
            if len(page.records) > size:
                page.records.pop()
                page.has_more = True
                return page
            if page.stopped or edge is None:
                return page
            if time.monotonic() > deadline:
                page.stopped = edge
                return page
            position = edge

    @property
    def _is_walk(self) -> bool:
        return bool(self._conditions or self._term or self.filters.resume)

    @property
    def _piece(self) -> int:
        return HEAVY_PIECE if self.filters.is_heavy else PIECE

    @staticmethod
    def _edge(rows: TaskRecordQuerySet, column: str, count: int) -> Cursor | None:
        """The place of the last of so many rows, or None if there are fewer."""
        last = rows.values_list(column, "task_id")[count - 1 : count]
        return next((cursor_of(*row) for row in last), None)

    def _take(self, page: Page, rows: TaskRecordQuerySet, count: int, deadline: float) -> None:
        """Add the first of these rows that pass the filters to the page."""
        rows = rows.latest_of_thread().alias(status_itself=_STATUS)
        rows = rows.filter(self._conditions)
        if self.filters.resume:
            rows = rows.unresumable()
        if self._term and self.filters.where != "ids":
            found = self._search(self._term, page, rows, count, deadline)
            rows = rows.filter(task_id__in=found)
        page.records += rows.for_list()[:count]

    def _search(
        self, term: Term, page: Page, rows: TaskRecordQuerySet, count: int, deadline: float
    ) -> list[str]:
        """The first of these rows that hold the text. Histories are read one at a time."""
        found: list[str] = []
        rows = self._searchable(page, rows)
        for cursor, thread_id, history in self._candidates(term, rows):
            hits = term.hits(history, self._roles, time.monotonic() + SECONDS_OF_ONE)
            if term.was_stopped:
                page.too_large, term.was_stopped = page.too_large + 1, False
            if hits or (not self.filters.where and term.is_in(thread_id)):
                found.append(cursor.task_id)
                page.hits[cursor.task_id] = hits
            if len(found) == count:
                break
            if time.monotonic() > deadline:
                page.stopped = cursor
                break
        return found

    def _searchable(self, page: Page, rows: TaskRecordQuerySet) -> TaskRecordQuerySet:
        """Of these rows those whose history is not too large to be read; the others are counted."""
        large = large_values.larger_than(rows, "execution_history_json", settings.MAX_HISTORY_SIZE)
        page.too_large += len(large)
        return rows.exclude(pk__in=large) if large else rows

    def _candidates(
        self, term: Term, rows: TaskRecordQuerySet
    ) -> Iterator[tuple[Cursor, str, str]]:
        places = term.in_histories()
        if not self.filters.where:
            places |= term.in_ids()
        columns = (self.filters.column, "task_id", "thread_id", "execution_history_json")
        for value, *texts in rows.filter(places).values_list(*columns).iterator(chunk_size=1):
            task_id, thread_id, history = texts
            yield cursor_of(value, task_id), thread_id, history

    @property
    def _roles(self) -> tuple[str, ...]:
        return (self.filters.where,) if self.filters.where in ROLES else ()

    def _ordered(self, descending: bool) -> TaskRecordQuerySet:
        """All rows in the list's order, and of them those that an index in that order gives."""
        rows = TaskRecord.objects.in_order(self.filters.column, descending=descending)
        if self.filters.column == "updated_at":
            rows = rows.filter(self._state(self.filters.status) & self._times)
        return rows

    @cached_property
    def _conditions(self) -> Q:
        """What no index in the list's order answers."""
        conditions = self._equalities
        if self._term and self.filters.where == "ids":
            conditions &= self._term.in_ids()
        if self.filters.column != "updated_at":
            conditions &= self._state(self.filters.status, "status_itself") & self._times
        return conditions

    @cached_property
    def _equalities(self) -> Q:
        names = ("channel", "provider", "model")
        given = {name: value for name in names if (value := getattr(self.filters, name))}
        return Q(**given)

    @cached_property
    def _times(self) -> Q:
        times, asked = Q(), self.filters
        if asked.period:
            times &= Q(updated_at__gte=to_value(self.daemon.now - PERIOD_LENGTHS[asked.period]))
        if asked.start:
            times &= Q(updated_at__gte=to_value(asked.start))
        if asked.end:
            times &= Q(updated_at__lte=to_value(asked.end))
        return times

    def _state(self, state: str, column: str = "status") -> Q:
        """A stored status; running falls into two states, by when it was last heard of."""
        if not state:
            return Q()
        cut = to_value(self.daemon.stalled_before)
        if state == STALLED:
            return Q(**{column: TaskStatus.RUNNING}, updated_at__lt=cut)
        if state == TaskStatus.RUNNING:
            return Q(**{column: state}, updated_at__gte=cut)
        return Q(**{column: state})


def neighbours(filters: Filters, record: TaskRecord) -> tuple[str | None, str | None]:
    """The ids of the threads that stand before and after this one in the list, if any do.

    The thread itself need not pass the filters (any more): what counts is its place in the order.
    A neighbour too far away to be found in a moment is None too.
    """
    return ThreadList(filters, seconds=NEIGHBOUR_SECONDS).neighbours(record)
