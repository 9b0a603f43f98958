"""Fetches pages of the filtered and sorted thread list.

The index of the store gives the order, so all pages load equally fast. Only a search for what very
many texts may contain looks at one thread after the other: for a limited time, after which the next
request can continue.
"""

import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from functools import cached_property, partial

from django.db.models import Q, Value

from archive.models import cleared_ids, last_clearings
from tasks.fields import to_value
from tasks.index import entries, following
from tasks.index.conditions import Condition, count, select
from tasks.index.models import (
    TEXT_FILTERS,
    Finding,
    IndexedCall,
    IndexedTask,
    IndexedTaskQuerySet,
    StatusCount,
    text,
)
from tasks.index.search import Search
from tasks.listing.filters import PERIOD_LENGTHS, Cursor, Filters
from tasks.listing.forms import ANY, CHECKS, STATES
from tasks.listing.query import Query
from tasks.models import TaskRecord, TaskStatus
from tasks.store import workspace
from tasks.store.daemon import STALLED, Daemon, daemon
from tasks.transcript import time_zones
from tasks.transcript.search import Hit, Term

SEARCH_BATCH = 100  # tasks that are searched by one query
SCAN_SECONDS, NEIGHBOUR_SECONDS, COUNT_SECONDS = 1.5, 0.2, 0.3
MAX_HITS = 100  # per thread and word
MAX_CLEARED = 10_000  # threads that were cleared last, which may have come back
ATTEMPTS = 3  # to find a page that the agent does not change meanwhile


@dataclass
class Page:
    records: list[TaskRecord]
    has_more: bool = False
    stopped_at: Cursor | None = None  # where the search ran out of time, if it did
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
        self._query = Query.parse(filters.q, filters.where)
        self._search = self._make_search()
        self.conditions = self._make_conditions()

    def page(self, size: int, after: Cursor | None = None, before: Cursor | None = None) -> Page:
        """Return the page of threads that follows `after` or precedes `before` in the list."""
        position, forwards = before or after, before is None
        if self._search and self._search.ids is None:
            page = self._scan(self._search, size, position, forwards)
        else:
            page = Page(self._records(size + 1, position, forwards))
        page.has_more = len(page.records) > size
        page.records = page.records[:size]
        self._add_indexed(page)
        if before is not None:
            page.records.reverse()
        return page

    def neighbour(self, position: Cursor, *, forwards: bool) -> str | None:
        """Return the id of the thread next to a position, without reading the rest of its row."""
        if self._search and self._search.ids is None:
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

    def counts(self) -> tuple[dict[str, int], bool]:
        """Count the threads that match the other filters, by state; all of them by "".

        Also returns whether the counts are complete. There may be more if a search has to compare
        very many texts.
        """
        others = [value for name, value in self.conditions.items() if name != "status"]
        if self._search and self._search.ids is None:
            counts, is_complete = self._count_matches(self._search, others)
        else:
            counts, is_complete = self._count(others), True
        counts = dict.fromkeys(STATES, 0) | counts
        return counts | {"": sum(counts.values())}, is_complete

    def _count(self, others: list[Condition]) -> dict[str, int]:
        states = {state: Condition.state(state, self.daemon) for state in STATES}
        pairs = [pair for other in others for pair in other.equal.items()]
        equal = dict(pairs)
        if all(other.equal for other in others) and len(equal) == len(pairs):
            counts = StatusCount.objects.by_status(**equal)
            counts[STALLED] = count([*others, states[STALLED]])
            counts[TaskStatus.RUNNING] = counts.get(TaskStatus.RUNNING, 0) - counts[STALLED]
            return counts
        unknown = StatusCount.objects.by_status().keys() - states.keys()
        states |= {status: Condition.state(status, self.daemon) for status in unknown}
        return {state: count([*others, condition]) for state, condition in states.items()}

    def _count_matches(
        self, search: Search, others: list[Condition]
    ) -> tuple[dict[str, int], bool]:
        counts, deadline = Counter[str](), time.monotonic() + COUNT_SECONDS
        for entry in select(others, "updated_at").newest_first().iterator(SEARCH_BATCH):
            if search.matches(entry):
                counts[self.daemon.state_of(entry.status, entry.updated_at)] += 1
            if time.monotonic() > deadline:
                return counts, False
        return counts, True

    @property
    def reads_texts(self) -> bool:
        """Whether a filter is about what comes after the rest of the index: texts and calls."""
        filters = self.filters
        is_of_calls = self._query.asks_for_tools or filters.tool or filters.error or filters.check
        return bool(self._query.words or is_of_calls)

    @property
    def is_counted(self) -> bool:
        """Whether `conditions` select exactly these threads, whose texts need not be compared."""
        return self._search is None or self._search.ids is not None

    def unsearched(self) -> int:
        """Return how many threads cannot be searched yet, as their texts are not in the index."""
        return self.unread() if self.reads_texts else 0

    def unread(self) -> int:
        """Return how many threads' texts are not in the index yet."""
        return IndexedTask.objects.latest().filter(has_texts=False).count()

    def cut(self) -> int:
        """Return how many threads have texts that are too large to be searched."""
        return IndexedTask.objects.latest().filter(is_cut=True).count() if self._search else 0

    def _entries(self, position: Cursor | None, forwards: bool) -> IndexedTaskQuerySet:
        descending, column = self.filters.is_descending == forwards, self.filters.sort_column
        rows = self._rows.in_order(column, descending=descending)
        if position:
            lookup = "lt" if descending else "gt"
            rows = rows.compare(column, position.value, position.task_id, lookup)
        return rows

    @cached_property
    def _rows(self) -> IndexedTaskQuerySet:
        return select([*self.conditions.values()], self.filters.sort_column)

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

    def _scan(self, search: Search, size: int, position: Cursor | None, forwards: bool) -> Page:
        """Return the first rows that match a search, comparing one thread after the other."""
        page, deadline = Page([]), time.monotonic() + self.seconds
        # a whole id is found at once, and the thread comes first
        keys = [] if position or self.filters.where else self._keys_of_id(self.filters.q)
        while not page.stopped_at and len(keys) <= size:
            batch = list(self._entries(position, forwards)[:SEARCH_BATCH])
            for entry in batch:
                position = self._cursor(entry)
                if search.matches(entry) and entry.key not in keys:
                    keys.append(entry.key)
                if len(keys) > size:
                    break
                if time.monotonic() > deadline:
                    page.stopped_at = position
                    break
            if len(batch) < SEARCH_BATCH:
                break
        if len(batch) < SEARCH_BATCH and entry is batch[-1]:
            page.stopped_at = None
        stored = entries.records(keys)
        page.records = [stored[key] for key in keys if key in stored]
        return page

    def _keys_of_id(self, text: str) -> list[str]:
        ids = Q(thread_id=text) | Q(task_id=text)
        return list(self._rows.filter(ids).values_list("key", flat=True)[:1])

    def _add_indexed(self, page: Page) -> None:
        """Add what only the index has: each record's `size` and `milliseconds`, and the hits."""
        ids = [record.task_id for record in page.records]
        entry_of = {entry.task_id: entry for entry in IndexedTask.objects.filter(task_id__in=ids)}
        for record in page.records:
            entry = entry_of.get(record.task_id) or IndexedTask()
            record.__dict__ |= {name: getattr(entry, name) for name in ("size", "milliseconds")}
            if self._search and entry.pk:
                page.hits[record.task_id] = self._search.hits(entry.pk, MAX_HITS)

    def _cursor(self, entry: IndexedTask) -> Cursor:
        return Cursor.of_row(getattr(entry, self.filters.sort_column), str(entry.task_id))

    def _make_search(self) -> Search | None:
        """Return the search in texts, if there is any. The texts are brought up to date for it."""
        if self.reads_texts:
            following.catch_up_texts(following.BUILD_SECONDS)
        return Search(self._query.words) if self._query.words else None

    def _make_conditions(self) -> dict[str, Condition]:
        """Return the conditions of the filters that are set, by name."""
        filters = self.filters
        conditions = {
            name: Condition.equals(name, value)
            for name in TEXT_FILTERS
            if (value := getattr(filters, name))
        }
        if filters.status:
            conditions["status"] = Condition.state(filters.status, self.daemon)
        if filters.error:
            columns = {"tool": filters.tool, "shape": filters.error.removeprefix(ANY)}
            columns = {name: value for name, value in columns.items() if value}
            conditions["error"] = Condition.failures(**columns)
        elif filters.tool:
            conditions["tool"] = Condition.having(IndexedCall, tool=filters.tool)
        if filters.check:
            names = [*CHECKS] if filters.check == ANY else [filters.check]
            conditions["check"] = Condition.having(Finding, name__in=names)
        if filters.resume:
            conditions["resume"] = Condition.equals("can_resume", value=False)
        if filters.returned:
            conditions["returned"] = Condition.among(_returned())
        if times := self._times():
            conditions["times"] = Condition.times(**times)
        if filters.q and filters.where == "ids":
            conditions["ids"] = Condition.ids(Term(filters.q))
        zone = time_zones.find(filters.zone) or UTC
        conditions |= self._query.conditions(partial(Condition.state, daemon=self.daemon), zone)
        if self._search and self._search.ids is not None:
            conditions["search"] = Condition.among(self._search.ids)
        return conditions

    def _times(self) -> dict[str, Value]:
        """Return the limits of `updated_at`, by lookup."""
        filters = self.filters
        starts = [filters.start] if filters.start else []
        if filters.period:
            starts.append(self.daemon.now - PERIOD_LENGTHS[filters.period])
        limits = {"gte": max(starts, default=None), "lte": filters.end}
        if filters.end and filters.end.microsecond:  # the end includes all of its microsecond
            limits = {"gte": limits["gte"], "lt": filters.end + timedelta(microseconds=1)}
        return {lookup: to_value(limit) for lookup, limit in limits.items() if limit}


def _returned() -> set[int]:
    """Return the indexed tasks of threads that were cleared lately, and are there again."""
    store = workspace.identity()
    cleared = cleared_ids(store, MAX_CLEARED)
    tasks: dict[str | None, int] = {}
    for start in range(0, len(cleared), 500):
        rows = IndexedTask.objects.latest().filter(thread_id__in=cleared[start : start + 500])
        tasks |= dict(rows.values_list("thread_id", "pk"))
    return {tasks[thread_id] for thread_id in last_clearings(list(filter(None, tasks)), store)}


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
