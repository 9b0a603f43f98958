"""What agents did: the tool calls of one thread, or of all, by what they act on."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, reduce
from heapq import merge
from itertools import islice
from operator import or_
from typing import Any

from django.db.models import Count, Q, Sum

from tasks.fields import parse_stored
from tasks.index.models import PLACES, IndexedCall, IndexedTask
from tasks.transcript.actions import KINDS

Cursor = tuple[str, int]  # the time and the id of an action


@dataclass(frozen=True)
class Action:
    call: IndexedCall
    task: IndexedTask

    @property
    def label(self) -> str:
        return KINDS[self.call.kind]

    @property
    def time(self) -> Any:
        return parse_stored(self.call.created_at)


@dataclass(frozen=True)
class Selected:
    """The calls that are asked for. Without a thread, they are those of all threads."""

    thread_id: str = ""
    kind: str = ""
    tool: str = ""
    only_failed: bool = False

    @cached_property
    def _tasks(self) -> list[IndexedTask]:
        return list(IndexedTask.objects.filter(thread_id=self.thread_id))

    def page(self, size: int, cursor: Cursor | None) -> tuple[list[Action], Cursor | None]:
        """Return the actions after the cursor, and the cursor of the next page if there is one.

        Those of a thread are in the order they were done; those of all threads, newest first.
        """
        if self.thread_id:
            calls = self._after(self._calls, cursor).order_by("created_at", "pk")[: size + 1]
        else:  # one query per kind, each of which has an index in this order
            kinds = [self.kind] if self.kind else [*KINDS]
            parts = (self._before(self._calls.filter(kind=kind), cursor) for kind in kinds)
            newest = (part.order_by("-created_at", "-pk")[: size + 1] for part in parts)
            calls = islice(_merged(newest), size + 1)
        found = list(calls)
        tasks = IndexedTask.objects.in_bulk({call.pk // PLACES for call in found})
        actions = [
            Action(c, tasks[c.pk // PLACES]) for c in found[:size] if c.pk // PLACES in tasks
        ]
        last = found[size - 1] if len(found) > size else None
        return actions, last and (last.created_at, last.pk)

    def by_tool(self) -> list[dict[str, Any]]:
        """Return how often each tool was called in the thread, failed, and how long it took."""
        rows = Selected(self.thread_id)._calls.values("tool").order_by()
        failed = Count("pk", filter=Q(success=False))
        figures = rows.annotate(n=Count("pk"), seconds=Sum("seconds"), failed=failed)
        return list(figures.order_by("-n", "tool"))

    def by_kind(self) -> dict[str, int]:
        """Return how many of the thread's calls are of each kind."""
        rows = Selected(self.thread_id)._calls.values_list("kind").order_by()
        counts = dict(rows.annotate(n=Count("pk")))
        return {kind: counts[kind] for kind in KINDS if kind in counts}

    @property
    def _calls(self) -> Any:
        rows = IndexedCall.objects.exclude(tool="")
        if self.thread_id:
            ranges = [Q(pk__gte=t.pk * PLACES, pk__lt=(t.pk + 1) * PLACES) for t in self._tasks]
            rows = rows.filter(reduce(or_, ranges)) if ranges else rows.none()
            rows = rows.filter(kind=self.kind) if self.kind else rows
        rows = rows.filter(tool=self.tool) if self.tool else rows
        return rows.filter(success=False) if self.only_failed else rows

    @staticmethod
    def _after(rows: Any, cursor: Cursor | None) -> Any:
        if cursor is None:
            return rows
        time, pk = cursor
        return rows.filter(Q(created_at__gt=time) | Q(created_at=time, pk__gt=pk))

    @staticmethod
    def _before(rows: Any, cursor: Cursor | None) -> Any:
        if cursor is None:
            return rows
        time, pk = cursor
        older = Q(created_at__lt=time) | Q(created_at=time, pk__lt=pk)
        return rows.filter(older, created_at__lte=time)  # lets SQLite seek


def _merged(parts: Iterable[Iterable[IndexedCall]]) -> Iterable[IndexedCall]:
    return merge(*parts, key=lambda call: (call.created_at, call.pk), reverse=True)
