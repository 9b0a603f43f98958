"""Selects threads in the index by conditions, such as a list's filters.

The index has a SQLite index for each condition and for each order, and SQLite can use one of them
at a time. Which one is fast depends on how many rows meet each condition, so it is chosen here.
"""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from django.db import connections
from django.db.models import Exists, F, OuterRef, Q

from tasks.fields import to_value
from tasks.index.models import (
    PLACES,
    TEXT_FILTERS,
    Failure,
    FailureQuerySet,
    Finding,
    IndexedCall,
    IndexedTask,
    IndexedTaskQuerySet,
    StatusCount,
    Unindexed,
)
from tasks.models import TaskStatus
from tasks.store.daemon import STALLED, Daemon
from tasks.transcript.search import Term

RUNNING = str(TaskStatus.RUNNING)
FEW = 2_000  # rows that are quickly sorted, or filtered one by one
_WITH_TRIGRAMS = """
    SELECT key FROM index_ids JOIN task_index_indexedtask AS task ON task.rowid = index_ids.rowid
    WHERE index_ids MATCH %s LIMIT %s"""
_COLUMNS = ("status", *TEXT_FILTERS, "can_resume", "updated_at")


@dataclass(frozen=True)
class Condition:
    """A condition on one or two columns of the index."""

    build: Callable[[str], Q]  # given a prefix for the columns' names, which may be ""
    equal: Mapping[str, Any] = field(default_factory=dict)  # the values it asks for, if counted
    limits: Mapping[str, Any] = field(default_factory=dict)  # lookups of `updated_at`
    known_size: float | None = None  # how many threads meet it, if that is known
    of_failures: Mapping[str, Any] = field(default_factory=dict)  # lookups, if it is about them

    @classmethod
    def equals(cls, column: str, value: Any) -> "Condition":
        equal = {column: value} if column in StatusCount.COLUMNS else {}
        return cls(lambda prefix: Q(**{prefix + column: value}), equal)

    @classmethod
    def state(cls, state: str, daemon: Daemon) -> "Condition":
        """One of the states that `Daemon.state_of` returns."""
        if state == STALLED:
            return cls.equals("status", RUNNING) & cls.times(lt=to_value(daemon.stalled_before))
        stored = cls.equals("status", state)
        if state == RUNNING:
            stored &= cls.times(gte=to_value(daemon.stalled_before))
        return stored

    @classmethod
    def times(cls, **limits: Any) -> "Condition":
        """A range of `updated_at`, given by lookups such as `gte`."""
        limits = {f"updated_at__{lookup}": limit for lookup, limit in limits.items()}
        return cls(
            lambda prefix: Q(**{prefix + lookup: limit for lookup, limit in limits.items()}),
            limits=limits,
        )

    @classmethod
    def ids(cls, term: Term) -> "Condition":
        """A term in the ids. If few ids have all of its trigrams, only those are compared."""
        keys = with_trigrams(term.text, FEW)
        if keys is None:
            return cls(lambda prefix: term.in_ids())
        return cls(lambda prefix: Q(key__in=keys) & term.in_ids())

    @classmethod
    def contains(cls, column: str, term: Term) -> "Condition":
        """A term in a column that has few different values."""
        values = [value for value in StatusCount.objects.values_of(column) if term.is_in(value)]
        if len(values) == 1:
            return cls.equals(column, values[0])
        return cls(lambda prefix: Q(**{f"{prefix}{column}__in": values}))

    @classmethod
    def tool(cls, term: Term) -> "Condition":
        """A term in the name of a tool that the task has called."""
        tools = [tool for tool in IndexedCall.objects.tools() if term.is_in(tool)]
        return cls.having(IndexedCall, tool__in=tools)

    @classmethod
    def failures(cls, **columns: Any) -> "Condition":
        """Failures with these values, of a tool if it is among them."""
        of = [name for name in ("shape", "tool") if name in columns]
        lookups = {**Failure.objects.first_of(*of), **columns}
        return replace(cls.having(Failure, **lookups), of_failures=lookups)

    @classmethod
    def having(cls, model: type[IndexedCall | Failure | Finding], **lookups: Any) -> "Condition":
        """Rows of another table, in which a task has the ids from `pk * PLACES` on."""
        ids = model.objects.filter(**lookups).values_list("pk", flat=True)[: FEW + 1]
        if len(ids) <= FEW:
            return cls.among({pk // PLACES for pk in ids})
        first = OuterRef("pk") * PLACES
        rows = model.objects.filter(pk__gte=first, pk__lt=first + PLACES)
        for lookup, value in lookups.items():  # the id is looked up, not these
            name = lookup.partition("__")[0]
            rows = rows.alias(**{f"unindexed_{name}": Unindexed(F(name))})
            rows = rows.filter(**{f"unindexed_{lookup}": value})
        return cls(lambda prefix: Q(Exists(rows)), known_size=math.inf)

    @classmethod
    def among(cls, ids: Collection[int]) -> "Condition":
        return cls(lambda prefix: Q(id__among=ids), known_size=len(ids))

    def __and__(self, other: "Condition") -> "Condition":
        return Condition(
            lambda prefix: self.build(prefix) & other.build(prefix),
            {**self.equal, **other.equal},
            {**self.limits, **other.limits},
        )

    @property
    def is_time(self) -> bool:
        return bool(self.limits) and not self.equal

    @property
    def is_plain(self) -> bool:
        """Whether it asks for nothing but values that are counted, and times."""
        return bool(self.equal or self.limits)

    @cached_property
    def size(self) -> float:
        """How many threads meet the condition: exactly if that is known, infinity if many."""
        if self.known_size is not None:
            return self.known_size
        if self.equal:
            return StatusCount.objects.total(**self.equal)
        rows = IndexedTask.objects.latest().filter(self.build(""))
        number = len(rows.values_list("pk")[: FEW + 1])
        return number if number <= FEW else math.inf


def with_trigrams(text: str, limit: int) -> list[str] | None:
    """Return the keys of the tasks whose ids have all trigrams of the text.

    Returns None if there are more than `limit`, if the text is too short to have any, or if it is
    not ASCII, since a comparison takes other characters for any character.
    """
    trigrams = {text[start : start + 3].replace('"', '""') for start in range(len(text) - 2)}
    if not trigrams or not text.isascii() or "\0" in text:
        return None
    query = " ".join(f'"{trigram}"' for trigram in sorted(trigrams))
    with connections[IndexedTask.objects.db].cursor() as cursor:
        cursor.execute(_WITH_TRIGRAMS, [query, limit + 1])
        keys = [key for (key,) in cursor.fetchall()]
    return keys if len(keys) <= limit else None


def select(
    conditions: list[Condition], sorted_by: str = "", *, earlier: bool = False
) -> IndexedTaskQuerySet:
    """Return the threads that meet all conditions, quickly if they are to be sorted by a column.

    With `earlier`, return not only the latest task of each thread.
    """
    rarest = min(conditions, key=lambda condition: condition.size, default=None)
    # an index of a condition also has the order of times, but would have to be sorted by others
    if rarest and sorted_by not in ("", "updated_at") and rarest.size > FEW:
        rarest = None
    columns = {f"unindexed_{name}": Unindexed(F(name)) for name in _COLUMNS}
    tasks = IndexedTask.objects
    rows = (tasks.all() if earlier else tasks.latest()).alias(**columns)
    for condition in conditions:
        is_second = condition.is_time and (rarest or sorted_by == "updated_at")
        is_looked_up = condition is rarest or is_second
        rows = rows.filter(condition.build("" if is_looked_up else "unindexed_"))
    return rows


def count(conditions: list[Condition]) -> int:
    others = [condition for condition in conditions if not condition.of_failures]
    if len(others) == len(conditions) - 1 and all(other.is_plain for other in others):
        [lookups] = (c.of_failures for c in conditions if c.of_failures)
        return failures(others).filter(**lookups).count()
    return select(conditions).count()


def failures(conditions: list[Condition]) -> FailureQuerySet:
    """Return the failures of the threads that meet all conditions."""
    rows = Failure.objects.of_latest()
    if not all(condition.is_plain for condition in conditions):
        return rows.filter(Exists(select(conditions).filter(pk=OuterRef("pk") / PLACES)))
    for condition in conditions:
        rows = rows.filter(**condition.limits)
    if not any(condition.equal for condition in conditions):
        return rows
    return rows.filter(kind__among=[kind.pk for kind in kinds(conditions)])


def kinds(conditions: list[Condition]) -> list[StatusCount]:
    """Return the kinds of threads that have the values that the conditions ask for."""
    rows = StatusCount.objects.filter(n__gt=0)
    for condition in conditions:
        rows = rows.filter(**condition.equal)
    return list(rows)
