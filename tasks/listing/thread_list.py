"""Fetches pages of the filtered and sorted thread list.

All pages of the list load equally fast. Filters that an index covers need only one query. Other
filters scan the list in batches for a limited time, and the next request can continue the scan.
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
from tasks.listing.filters import PERIOD_LENGTHS, TEXT_FILTERS, Cursor, Filters
from tasks.listing.forms import STALLED, STATES
from tasks.models import TaskRecord, TaskRecordQuerySet, TaskStatus
from tasks.store.daemon import Daemon, daemon
from tasks.transcript.search import ROLES, Hit, Term

BATCH, HEAVY_BATCH = 20_000, 100  # rows per query: the default, and with large columns
SCAN_SECONDS, NEIGHBOUR_SECONDS = 1.5, 0.2
SECONDS_PER_HISTORY = 3.0  # time limit for searching one history
MAX_COUNT = 1_000  # maximum number of threads counted per state
# Keeps SQLite from using the status index, whose rows it would then have to sort.
_UNINDEXED_STATUS = Concat("status", Value(""), output_field=TextField())


@dataclass
class Page:
    records: list[TaskRecord]
    has_more: bool = False
    stopped_at: Cursor | None = None  # where the scan ran out of time, if it did
    too_large: int = 0  # number of threads that were not fully searched
    hits: dict[str, list[Hit]] = field(default_factory=dict)  # by task id


class ThreadList:
    """The list of threads that match the filters at one point in time."""

    def __init__(
        self, filters: Filters, daemon_: Daemon | None = None, seconds: float | None = None
    ) -> None:
        self.filters = filters
        self.seconds = SCAN_SECONDS if seconds is None else seconds
        self.daemon = daemon_ or daemon()
        self._term = Term(filters.q) if filters.q else None

    def page(self, size: int, after: Cursor | None = None, before: Cursor | None = None) -> Page:
        """Return the page of threads that follows `after` or precedes `before` in the list."""
        page = self._scan(size, before or after, forwards=before is None)
        if before is not None:
            page.records.reverse()
        return page

    def counts(self) -> dict[str, int]:
        """For each state, count the threads that match the other filters, up to `MAX_COUNT` + 1.

        If a channel, provider or model is selected, only the newest `BATCH` tasks are counted.
        """
        rows = TaskRecord.objects.latest_per_thread().filter(self._equalities & self._times)
        newest = TaskRecord.objects.newest_first()
        if self._equalities and (end := self._batch_end(newest, "updated_at", BATCH)):
            rows = rows.filter(updated_at__gte=to_value(str(end.value)))
        by_state = {"": rows} | {state: rows.filter(self._state(state)) for state in STATES}
        return {
            state: matches.newest_first()[: MAX_COUNT + 1].count()
            for state, matches in by_state.items()
        }

    def _scan(self, size: int, position: Cursor | None, forwards: bool) -> Page:
        page, deadline = Page([]), time.monotonic() + self.seconds
        descending = self.filters.is_descending == forwards
        after, through = ("lt", "gte") if descending else ("gt", "lte")
        column = self.filters.sort_column
        while True:
            rows = self._ordered(descending)
            if position:
                rows = rows.compare(column, position.value, position.task_id, after)
            end = self._batch_end(rows, column, self._batch_size) if self._needs_scan else None
            if end:
                rows = rows.compare(column, end.value, end.task_id, through)
            self._add_matches(page, rows, size + 1 - len(page.records), deadline)
            if len(page.records) > size:
                page.records.pop()
                page.has_more = True
                return page
            if page.stopped_at or end is None:
                return page
            if time.monotonic() > deadline:
                page.stopped_at = end
                return page
            position = end

    @property
    def _needs_scan(self) -> bool:
        return bool(self._conditions or self._term or self.filters.resume)

    @property
    def _batch_size(self) -> int:
        return HEAVY_BATCH if self.filters.is_heavy else BATCH

    @staticmethod
    def _batch_end(rows: TaskRecordQuerySet, column: str, size: int) -> Cursor | None:
        """Return a cursor for the last row of the batch, or None if the batch is not full."""
        last = rows.values_list(column, "task_id")[size - 1 : size]
        return next((Cursor.of_row(*row) for row in last), None)

    def _add_matches(
        self, page: Page, rows: TaskRecordQuerySet, limit: int, deadline: float
    ) -> None:
        """Add the first rows that match the filters to the page, up to `limit` rows."""
        rows = rows.latest_per_thread().alias(unindexed_status=_UNINDEXED_STATUS)
        rows = rows.filter(self._conditions)
        if self.filters.resume:
            rows = rows.unresumable()
        if self._term and self.filters.where != "ids":
            ids = self._search(self._term, page, rows, limit, deadline)
            rows = rows.filter(task_id__in=ids)
        page.records += rows.for_list()[:limit]

    def _search(
        self, term: Term, page: Page, rows: TaskRecordQuerySet, limit: int, deadline: float
    ) -> list[str]:
        """Return the ids of the first rows that contain the term, reading one history at a time."""
        ids: list[str] = []
        rows = self._without_too_large(page, rows)
        for cursor, thread_id, history in self._candidates(term, rows):
            hits = term.hits(history, self._roles, time.monotonic() + SECONDS_PER_HISTORY)
            if term.timed_out:
                page.too_large, term.timed_out = page.too_large + 1, False
            if hits or (not self.filters.where and term.is_in(thread_id)):
                ids.append(cursor.task_id)
                page.hits[cursor.task_id] = hits
            if len(ids) == limit:
                break
            if time.monotonic() > deadline:
                page.stopped_at = cursor
                break
        return ids

    def _without_too_large(self, page: Page, rows: TaskRecordQuerySet) -> TaskRecordQuerySet:
        """Exclude and count the rows whose histories are too large to read."""
        large = large_values.larger_than(rows, "execution_history_json", settings.MAX_HISTORY_SIZE)
        page.too_large += len(large)
        return rows.exclude(pk__in=large) if large else rows

    def _candidates(
        self, term: Term, rows: TaskRecordQuerySet
    ) -> Iterator[tuple[Cursor, str, str]]:
        condition = term.in_histories()
        if not self.filters.where:
            condition |= term.in_ids()
        columns = (self.filters.sort_column, "task_id", "thread_id", "execution_history_json")
        for value, *texts in rows.filter(condition).values_list(*columns).iterator(chunk_size=1):
            task_id, thread_id, history = texts
            yield Cursor.of_row(value, task_id), thread_id, history

    @property
    def _roles(self) -> tuple[str, ...]:
        return (self.filters.where,) if self.filters.where in ROLES else ()

    def _ordered(self, descending: bool) -> TaskRecordQuerySet:
        """Return the rows in the list's order, applying only the filters that the index covers."""
        rows = TaskRecord.objects.in_order(self.filters.sort_column, descending=descending)
        if self.filters.sort_column == "updated_at":
            rows = rows.filter(self._state(self.filters.status) & self._times)
        return rows

    @cached_property
    def _conditions(self) -> Q:
        """The filters that are not covered by the index used to sort the list."""
        conditions = self._equalities
        if self._term and self.filters.where == "ids":
            conditions &= self._term.in_ids()
        if self.filters.sort_column != "updated_at":
            conditions &= self._state(self.filters.status, "unindexed_status") & self._times
        return conditions

    @cached_property
    def _equalities(self) -> Q:
        filters = {name: getattr(self.filters, name) for name in TEXT_FILTERS}
        return Q(**{name: value for name, value in filters.items() if value})

    @cached_property
    def _times(self) -> Q:
        times, filters = Q(), self.filters
        if filters.period:
            times &= Q(updated_at__gte=to_value(self.daemon.now - PERIOD_LENGTHS[filters.period]))
        if filters.start:
            times &= Q(updated_at__gte=to_value(filters.start))
        if filters.end:
            times &= Q(updated_at__lte=to_value(filters.end))
        return times

    def _state(self, state: str, column: str = "status") -> Q:
        """Return the condition for a state. Running tasks without recent updates are stalled."""
        if not state:
            return Q()
        stalled_before = to_value(self.daemon.stalled_before)
        if state == STALLED:
            return Q(**{column: TaskStatus.RUNNING}, updated_at__lt=stalled_before)
        if state == TaskStatus.RUNNING:
            return Q(**{column: state}, updated_at__gte=stalled_before)
        return Q(**{column: state})


def neighbours(filters: Filters, record: TaskRecord) -> tuple[str | None, str | None]:
    """Return the ids of the threads just before and just after the given one in the list.

    An id is None if there is no such thread or if it cannot be found quickly. The given thread
    does not have to match the filters; only its position in the sort order matters.
    """
    if record.task_id is None:  # a corrupt row has no position in the list
        return None, None
    threads, cursor = ThreadList(filters, seconds=NEIGHBOUR_SECONDS), filters.cursor(record)
    pages = (threads.page(1, before=cursor), threads.page(1, after=cursor))
    previous, following = (page.records[0].thread_id if page.records else None for page in pages)
    return previous, following
