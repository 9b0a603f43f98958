"""Fetches pages of the filtered and sorted thread list.

The index of the store gives the order, so all pages load equally fast. Only a search in messages
reads histories: for a limited time, after which the next request can continue.
"""

import time
from dataclasses import dataclass, field
from functools import cached_property

from django.conf import settings
from django.db.models import Q, Value

from tasks import large_values
from tasks.fields import to_value
from tasks.index import entries, following
from tasks.index.conditions import Condition, count, select
from tasks.index.models import (
    TEXT_FILTERS,
    IndexedTask,
    IndexedTaskQuerySet,
    StatusCount,
    text,
)
from tasks.listing.filters import PERIOD_LENGTHS, Cursor, Filters
from tasks.listing.forms import STALLED, STATES
from tasks.models import TaskRecord, TaskStatus
from tasks.store.daemon import Daemon, daemon
from tasks.transcript.search import ROLES, Hit, Term

SEARCH_BATCH = 100  # rows whose histories are searched by one query
SCAN_SECONDS, NEIGHBOUR_SECONDS = 1.5, 0.2
SECONDS_PER_HISTORY = 3.0  # time limit for searching one history
ATTEMPTS = 3  # to find a page that the agent does not change meanwhile


@dataclass
class Page:
    records: list[TaskRecord]
    has_more: bool = False
    stopped_at: Cursor | None = None  # where the search ran out of time, if it did
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
        self.index = following.catch_up()
        self._term = Term(filters.q) if filters.q else None
        self._conditions = self._make_conditions()

    def page(self, size: int, after: Cursor | None = None, before: Cursor | None = None) -> Page:
        """Return the page of threads that follows `after` or precedes `before` in the list."""
        position, forwards = before or after, before is None
        if self._term and self.filters.is_heavy:
            page = self._search(self._term, size, position, forwards)
        else:
            page = Page(self._records(size + 1, position, forwards))
        page.has_more = len(page.records) > size
        page.records = page.records[:size]
        if before is not None:
            page.records.reverse()
        return page

    def neighbour(self, position: Cursor, *, forwards: bool) -> str | None:
        """Return the id of the thread next to a position, without reading the rest of its row."""
        if self.filters.is_heavy:
            side = {"after" if forwards else "before": position}
            return next((str(r.thread_id) for r in self.page(1, **side).records), None)
        for _ in range(ATTEMPTS):
            entry = self._entries(position, forwards).first()
            if entry is None:
                return None
            stored = entries.rows([entry.key]).values_list("thread_id", flat=True)
            if text(stored.first()) == entry.thread_id:
                return str(entry.thread_id)
            following.refresh([entry.key])
        return None

    def counts(self) -> dict[str, int]:
        """Count the threads that match the other filters, by state; all of them by ""."""
        others = [value for name, value in self._conditions.items() if name != "status"]
        states = {state: self._state(state) for state in STATES}
        if all(condition.equal for condition in others):
            equal = {name: value for other in others for name, value in other.equal.items()}
            counts = StatusCount.objects.by_status(**equal)
            counts[STALLED] = count([*others, states[STALLED]])
            counts[TaskStatus.RUNNING] = counts.get(TaskStatus.RUNNING, 0) - counts[STALLED]
            return dict.fromkeys(STATES, 0) | counts | {"": sum(counts.values())}
        unknown = StatusCount.objects.by_status().keys() - states.keys()
        states |= {status: self._state(status) for status in unknown}
        counts = {state: count([*others, condition]) for state, condition in states.items()}
        return counts | {"": sum(counts.values())}

    def _entries(self, position: Cursor | None, forwards: bool) -> IndexedTaskQuerySet:
        descending, column = self.filters.is_descending == forwards, self.filters.sort_column
        rows = self._rows.in_order(column, descending=descending)
        if position:
            lookup = "lt" if descending else "gt"
            rows = rows.compare(column, position.value, position.task_id, lookup)
        return rows

    @cached_property
    def _rows(self) -> IndexedTaskQuerySet:
        return select([*self._conditions.values()], self.filters.sort_column)

    def _records(self, limit: int, position: Cursor | None, forwards: bool) -> list[TaskRecord]:
        """Return the first rows in the list. Rows that the index has wrong are indexed again."""
        records: list[TaskRecord] = []
        for _ in range(ATTEMPTS):
            indexed = list(self._entries(position, forwards)[:limit])
            stored = entries.records([entry.key for entry in indexed])
            records = [stored[entry.key] for entry in indexed if entry.key in stored]
            wrong = [e.key for e in indexed if not entries.is_right(e, stored.get(e.key))]
            if not wrong:
                break
            following.refresh(wrong)
        return records

    def _search(self, term: Term, size: int, position: Cursor | None, forwards: bool) -> Page:
        """Return the first rows that contain the term, reading one history at a time."""
        page, deadline = Page([]), time.monotonic() + self.seconds
        # a whole id is found at once, and the thread comes first
        keys = [] if position or self.filters.where else self._keys_of_id(term.text)
        while not page.stopped_at and len(keys) <= size:
            batch = list(self._entries(position, forwards)[:SEARCH_BATCH])
            candidates = self._candidates(term, page, [entry.key for entry in batch])
            for entry in batch:
                position = self._cursor(entry)
                is_hit = entry.key in candidates and self._has_hits(term, page, entry)
                if is_hit and entry.key not in keys:
                    keys.append(entry.key)
                if len(keys) > size:
                    break
                if entry.key in candidates and time.monotonic() > deadline:
                    page.stopped_at = position
                    break
            if len(batch) < SEARCH_BATCH:
                break
            if time.monotonic() > deadline and len(keys) <= size:
                page.stopped_at = position
        stored = entries.records(keys)
        page.records = [stored[key] for key in keys if key in stored]
        return page

    def _keys_of_id(self, text: str) -> list[str]:
        ids = Q(thread_id=text) | Q(task_id=text)
        return list(self._rows.filter(ids).values_list("key", flat=True)[:1])

    def _candidates(self, term: Term, page: Page, keys: list[str]) -> set[str]:
        """Return the keys of the rows that may contain the term; count those that are too large."""
        rows = entries.rows(keys)
        large = large_values.larger_than(rows, "execution_history_json", settings.MAX_HISTORY_SIZE)
        page.too_large += len(large)
        condition = term.in_histories()
        if not self.filters.where:
            condition |= term.in_ids()
        return entries.keys(rows.exclude(pk__in=large).filter(condition))

    def _has_hits(self, term: Term, page: Page, entry: IndexedTask) -> bool:
        """Search one history, and add its hits to the page."""
        columns = ("thread_id", "execution_history_json")
        row = entries.rows([entry.key]).values_list(*columns).first()
        if row is None:
            return False
        thread_id, history = row
        hits = term.hits(history, self._roles, time.monotonic() + SECONDS_PER_HISTORY)
        if term.timed_out:
            page.too_large, term.timed_out = page.too_large + 1, False
        if not hits and (self.filters.where or not term.is_in(thread_id)):
            return False
        page.hits[str(entry.task_id)] = hits
        return True

    @property
    def _roles(self) -> tuple[str, ...]:
        return (self.filters.where,) if self.filters.where in ROLES else ()

    def _cursor(self, entry: IndexedTask) -> Cursor:
        return Cursor.of_row(getattr(entry, self.filters.sort_column), str(entry.task_id))

    def _make_conditions(self) -> dict[str, Condition]:
        """Return the conditions of the filters that are set, by name."""
        filters, term = self.filters, self._term
        conditions = {
            name: Condition.equals(name, value)
            for name in TEXT_FILTERS
            if (value := getattr(filters, name))
        }
        if filters.status:
            conditions["status"] = self._state(filters.status)
        if filters.resume:
            conditions["resume"] = Condition.equals("can_resume", value=False)
        if times := self._times():
            conditions["times"] = Condition.times(**times)
        if term and filters.where == "ids":
            conditions["ids"] = Condition.ids(term)
        return conditions

    def _times(self) -> dict[str, Value]:
        """Return the limits of `updated_at`, by lookup."""
        filters = self.filters
        starts = [filters.start] if filters.start else []
        if filters.period:
            starts.append(self.daemon.now - PERIOD_LENGTHS[filters.period])
        limits = {"gte": max(starts, default=None), "lte": filters.end}
        return {lookup: to_value(limit) for lookup, limit in limits.items() if limit}

    def _state(self, state: str) -> Condition:
        """Return the condition for a state. Running tasks without recent updates are stalled."""
        stalled_before = to_value(self.daemon.stalled_before)
        if state == STALLED:
            running = Condition.equals("status", str(TaskStatus.RUNNING))
            return running & Condition.times(lt=stalled_before)
        stored = Condition.equals("status", state)
        if state == TaskStatus.RUNNING:
            stored &= Condition.times(gte=stalled_before)
        return stored


def neighbours(filters: Filters, record: TaskRecord) -> tuple[str | None, str | None]:
    """Return the ids of the threads just before and just after the given one in the list.

    An id is None if there is no such thread or if it cannot be found quickly. The given thread
    does not have to match the filters; only its position in the sort order matters.
    """
    if record.task_id is None:  # a corrupt row has no position in the list
        return None, None
    threads, cursor = ThreadList(filters, seconds=NEIGHBOUR_SECONDS), filters.cursor(record)
    previous = threads.neighbour(cursor, forwards=False)
    return previous, threads.neighbour(cursor, forwards=True)
