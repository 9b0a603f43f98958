"""Keeps the texts and tool calls in the index up to date with its tasks, for search.

Texts take much longer than the rest of the index, so they are made after it: newest tasks first, in
the background and before each search. Texts that have not changed stay as they are.
"""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from operator import or_
from typing import Any

from django.db import connections, router, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import F, Q
from django.db.models.functions import Mod

from tasks.index import checks, error_shapes, texts
from tasks.index.models import (
    MAX_TEXT,
    MERGED,
    MERGING,
    PLACES,
    UNMERGED,
    ErrorShape,
    Failure,
    Finding,
    IndexedCall,
    IndexedTask,
    IndexedTaskQuerySet,
    IndexedText,
    IndexState,
    RemovedTask,
)
from tasks.index.texts import (
    CALLS,
    CALLS_PER_STEP,
    PLACE_OF,
    STEP,
    Items,
    ReadableItem,
    Step,
    StoredTexts,
)
from tasks.models import TaskStatus
from tasks.transcript import actions

TASKS_PER_READ, TASKS_PER_PURGE = 25, 100
MIN_SECONDS = 0.05  # spent on calls after each reading of tasks, so that there is progress
WRITE_SIZE = 300_000  # characters per transaction, so that pages do not wait long for it
# the statuses of tasks that went wrong, and their errors if none is stored
FAILED = {
    str(TaskStatus.FAILED): "failed without an error message",
    str(TaskStatus.TIMED_OUT): "timed out without an error message",
}
WRITING = threading.Lock()  # held while writing, since an index in memory cannot wait for others
MERGE_PAGES = 200  # of trigrams, per transaction

ERROR = PLACE_OF["error"]
# for each task, so the ORM's own time would be a fifth of all
_TEXTS = "SELECT id, digest FROM task_index_indexedtext WHERE id >= %s AND id < %s"
_STEPS = """
    SELECT DISTINCT checkpoint, step_index, attempt FROM task_index_indexedcall
    WHERE id >= %s AND id < %s"""
_ADD_TRIGRAMS = "INSERT INTO index_trigrams (rowid, body) VALUES (%s, %s)"
_DELETE_TRIGRAMS = (
    "INSERT INTO index_trigrams (index_trigrams, rowid, body) VALUES ('delete', %s, %s)"
)
_MERGE_TRIGRAMS = "INSERT INTO index_trigrams (index_trigrams, rank) VALUES ('merge', %s)"
_EMPTY_TRIGRAMS = "INSERT INTO index_trigrams (index_trigrams) VALUES ('delete-all')"
_SET_SECONDS = """
    UPDATE task_index_indexedcall AS call SET seconds = round(86400 * (
        julianday(created_at) - julianday((
            SELECT created_at FROM task_index_indexedcall AS other
            WHERE other.id BETWEEN %(first)s AND call.id - 1 AND other.attempt = call.attempt
            AND other.checkpoint < call.checkpoint ORDER BY other.id DESC LIMIT 1))), 3)
    WHERE id BETWEEN %(first)s AND %(last)s AND seconds IS NULL"""
_FINISH = """
    WITH call AS MATERIALIZED (
        SELECT * FROM task_index_indexedcall WHERE id BETWEEN %(first)s AND %(last)s),
    attempt AS (SELECT * FROM call WHERE attempt = (SELECT max(attempt) FROM call))
    UPDATE task_index_indexedtask SET has_texts = 1, is_cut = %(is_cut)s,
        size = %(size)s + (SELECT coalesce(sum(size), 0) FROM call),
        failed_calls = (SELECT count(*) FROM call WHERE NOT success),
        last_tool = coalesce((SELECT tool FROM call ORDER BY id DESC LIMIT 1), ''),
        milliseconds = coalesce(CAST(86400000 * (
            max(
                (SELECT julianday(created_at) FROM attempt ORDER BY id DESC LIMIT 1),
                coalesce(julianday(%(completed_at)s), 0))
            - (SELECT julianday(created_at) FROM attempt ORDER BY id LIMIT 1)) AS INTEGER), -1)
    WHERE id = %(id)s AND updated_at = %(updated_at)s AND task_id IS %(task_id)s"""
_RANK_FAILURES = """
    WITH ranked AS (
        SELECT id,
            (row_number() OVER (ORDER BY id) = 1)
            + 2 * (row_number() OVER (PARTITION BY shape ORDER BY id) = 1)
            + 4 * (row_number() OVER (PARTITION BY tool ORDER BY id) = 1)
            + 8 * (row_number() OVER (PARTITION BY shape, tool ORDER BY id) = 1) AS firsts
        FROM task_index_failure WHERE id BETWEEN %(start)s AND %(last)s)
    UPDATE task_index_failure AS failure SET firsts = ranked.firsts,
        updated_at = CASE WHEN is_latest THEN task.updated_at END,
        kind = (
            SELECT id FROM task_index_statuscount AS kind WHERE kind.channel = task.channel
            AND kind.provider = task.provider AND kind.model = task.model
            AND kind.status = task.status)
    FROM ranked JOIN task_index_indexedtask AS task ON task.id = %(id)s
    WHERE ranked.id = failure.id"""


def is_behind(part: int = 0, parts: int = 1) -> bool:
    """Return whether the texts of some task are not up to date."""
    return _behind(part, parts).exists()


def _behind(part: int, parts: int) -> IndexedTaskQuerySet:
    behind = IndexedTask.objects.filter(has_texts=False)
    return behind.alias(part=Mod(F("pk"), parts)).filter(part=part) if parts > 1 else behind


def catch_up(
    seconds: float, part: int = 0, parts: int = 1, write_size: int = WRITE_SIZE
) -> list[str]:
    """Bring texts up to date for about so many seconds, those of the newest tasks first.

    Stops early, and returns the keys, if it meets rows that the index has wrong. With `parts`, it
    leaves out the tasks of the other parts, for which there are other processes.
    """
    deadline, batch = time.monotonic() + seconds, _Batch(write_size)
    behind = _behind(part, parts).order_by("-updated_at")
    while not batch.wrong and time.monotonic() <= deadline and (tasks := behind[:TASKS_PER_READ]):
        by_key = {task.key: task for task in tasks}
        for group in texts.read(list(by_key)):
            batch.add([(by_key[key], stored) for key, stored in group.items()], deadline)
            if time.monotonic() > deadline:
                break
        batch.write()
    return batch.wrong


def has_removed() -> bool:
    """Return whether something is left of tasks that are gone."""
    return RemovedTask.objects.exists() or IndexState.objects.exclude(merging=MERGED).exists()


def purge(seconds: float) -> None:
    """Delete what is left of tasks that are gone, for about so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() <= deadline and has_removed():
        with _writing() as cursor:
            removed = list(RemovedTask.objects.values_list("pk", flat=True)[:TASKS_PER_PURGE])
            if not removed:
                _merge(cursor, IndexState.objects.first())
            elif not _delete_texts(cursor, _of_tasks(IndexedText, removed)):
                _of_tasks(IndexedCall, removed).delete()
                _of_tasks(Failure, removed).delete()
                _of_tasks(Finding, removed).delete()
                RemovedTask.objects.filter(pk__in=removed).delete()


def _of_tasks(model: Any, pks: list[int]) -> Any:
    ranges = [Q(pk__gte=pk * PLACES, pk__lt=(pk + 1) * PLACES) for pk in pks]
    return model.objects.filter(reduce(or_, ranges))


def _delete_texts(cursor: CursorWrapper, rows: Any) -> int:
    """Delete texts, about as many as can be written at a time. Returns how many."""
    ids, trigrams, size = [], [], 0
    for id_, body in rows.values_list("pk", "body").iterator(chunk_size=1):
        body = texts.decompress(bytes(body))
        ids.append(id_)
        trigrams.append((id_, texts.folded(body)))
        size += len(body)
        if size > WRITE_SIZE:
            break
    cursor.executemany(_DELETE_TRIGRAMS, trigrams)
    IndexedText.objects.filter(pk__in=ids).delete()
    return len(ids)


def _merge(cursor: CursorWrapper, state: IndexState | None) -> None:
    """Rewrite part of the trigrams without those that were deleted."""
    if state is None:  # another process has emptied the index
        return
    before = cursor.db.connection.total_changes
    # a negative number makes it begin with all trigrams
    pages = -MERGE_PAGES if state.merging == UNMERGED else MERGE_PAGES
    cursor.execute(_MERGE_TRIGRAMS, [pages])
    is_done = state.merging == MERGING and cursor.db.connection.total_changes - before < 2
    IndexState.objects.update(merging=MERGED if is_done else MERGING)


def empty() -> None:
    """Remove all texts and tool calls. Call this in a transaction."""
    with connections[_alias()].cursor() as cursor:
        cursor.execute(_EMPTY_TRIGRAMS)
    for model in (IndexedText, IndexedCall, Failure, ErrorShape, Finding, RemovedTask):
        model.objects.all().delete()


class _Batch:
    """Changes that are written to the index together."""

    def __init__(self, write_size: int) -> None:
        self._write_size = write_size
        self.wrong: list[str] = []  # keys of tasks that are not as indexed
        self._clear()

    def _clear(self) -> None:
        self._texts: list[IndexedText] = []
        self._trigrams: list[tuple[int, str]] = []
        self._calls: list[IndexedCall] = []
        self._shapes: dict[int, str] = {}
        self._failures: list[Failure] = []
        self._removed: list[tuple[int, int]] = []  # ranges of ids, without their ends
        self._replaced: set[int] = set()
        self._finished: list[tuple[IndexedTask, StoredTexts]] = []
        self._size = 0

    def add(self, tasks: list[tuple[IndexedTask, StoredTexts | None]], deadline: float) -> None:
        """Add what has changed in the texts of these tasks.

        If there are several, this stops soon after the deadline; another call goes on from there.
        Two processes can do this at once, since what they write depends on the store alone.
        """
        read: dict[int, tuple[IndexedTask, StoredTexts]] = {}
        task_of: dict[Step, int] = {}  # the place of its first text, for each new step
        for task, stored in tasks:
            if read and time.monotonic() > deadline:
                break
            if stored is None or stored.version != (task.updated_at, task.task_id):
                self.wrong.append(task.key)
                continue
            first = task.pk * PLACES
            read[first] = task, stored
            self._add_sources(first, stored)
            task_of |= dict.fromkeys(self._new_steps(first, stored), first)
        unfinished = self._add_steps(task_of, deadline if len(tasks) > 1 else math.inf)
        for first, (task, stored) in read.items():
            if first not in unfinished:
                self._finished.append((task, stored))
                if task.status in FAILED:
                    self._add_failure(
                        first + ERROR, FAILED[task.status], stored.error, stored.ended_at
                    )

    def _add_steps(self, task_of: dict[Step, int], deadline: float) -> set[int]:
        """Add the calls of steps, and return the tasks of which some are left."""
        deadline = max(deadline, time.monotonic() + MIN_SECONDS)
        left = dict(task_of)
        for items in texts.read_items(list(task_of)):
            self._add_items(left.pop(items.step), items)
            if time.monotonic() > deadline:
                return set(left.values())
        return set()

    def _add_sources(self, first: int, stored: StoredTexts) -> None:
        digests = {pk - first: digest for pk, digest in _fetch(_TEXTS, first, first + CALLS)}
        for source in stored.sources:
            before = digests.pop(source.place, None)
            if before != source.digest:
                if before is not None:
                    self._replaced.add(first + source.place)
                body = texts.readable(source.role, source.text)
                pk = first + source.place
                self._add_text(pk, source.role, source.number, source.digest, body)
        self._removed += [(first + place, first + place + 1) for place in digests]

    def _new_steps(self, first: int, stored: StoredTexts) -> list[Step]:
        """Return the steps that are not in the index, and remove those that are gone from it."""
        indexed = set(_fetch(_STEPS, first + CALLS, first + PLACES))
        for checkpoint, *_ in indexed - set(stored.steps):
            start = first + CALLS + checkpoint * CALLS_PER_STEP
            self._removed.append((start, start + CALLS_PER_STEP))
        return [step for step in stored.steps if step not in indexed]

    def _add_items(self, first: int, items: Items) -> None:
        """Add a checkpoint's calls. Those beyond the limit share the last place."""
        place = first + CALLS + items.step.id * CALLS_PER_STEP
        calls = list(map(texts.readable_item, items.calls))
        rendered = [f"{call.call}\n{call.output}" for call in calls] or [items.unreadable]
        last = CALLS_PER_STEP - 1
        rendered[last:] = ["\n".join(rendered[last:])] if len(rendered) > last else []
        for number, body in enumerate(rendered):
            indexed = IndexedCall(
                pk=place + number,
                checkpoint=items.step.id,
                step_index=items.step.step_index,
                attempt=items.step.attempt,
                created_at=items.created_at,
                size=len(body),
            )
            if calls:
                _describe(indexed, calls[number], items.calls[number].success)
            self._calls.append(indexed)
            if indexed.success is False:
                tool, output = indexed.tool, calls[number].output
                self._add_failure(indexed.pk, f"{tool}: no output", output, items.created_at, tool)
            if body:
                self._add_text(place + number, STEP, items.step.id, b"", body)

    def _add_failure(
        self, pk: int, without_text: str, masked: str, created_at: str, tool: str = ""
    ) -> None:
        line = error_shapes.error_line(masked)
        shape = error_shapes.shape_of(line) or without_text
        number = error_shapes.shape_id(shape)
        self._shapes[number] = shape
        self._failures.append(
            Failure(pk=pk, shape=number, line=line, tool=tool, created_at=created_at)
        )

    def _add_text(self, pk: int, role: str, number: int, digest: bytes, body: str) -> None:
        compressed = texts.compress(body)
        self._texts.append(
            IndexedText(pk=pk, role=role, number=number, digest=digest, body=compressed)
        )
        self._trigrams.append((pk, texts.folded(body)))
        self._size += len(body)
        if self._size > self._write_size:
            self.write()

    def write(self) -> None:
        with _writing() as cursor:
            for start, end in self._removed:
                while _delete_texts(cursor, _between(IndexedText, start, end)):
                    pass
                _between(IndexedCall, start, end).delete()
                _between(Failure, start, end).delete()
            for pk in self._replaced:
                _delete_texts(cursor, _between(IndexedText, pk, pk + 1))
            _replace(IndexedText, self._texts)
            cursor.executemany(_ADD_TRIGRAMS, self._trigrams)
            _replace(IndexedCall, self._calls)
            own = [task.pk * PLACES + ERROR for task, _ in self._finished]
            Failure.objects.filter(pk__in=own).delete()
            _replace(Failure, self._failures)
            _replace(
                ErrorShape, [ErrorShape(pk=pk, text=text) for pk, text in self._shapes.items()]
            )
            for task, stored in self._finished:
                _finish(cursor, task, stored)
        self._clear()


def _describe(indexed: IndexedCall, call: ReadableItem, success: bool) -> None:
    indexed.tool, indexed.success = call.tool[:MAX_TEXT], success
    indexed.kind = actions.kind_of(call.tool, call.arguments)
    indexed.target = actions.target_of(call.tool, call.arguments)
    indexed.arguments = error_shapes.shape_id(call.call)
    indexed.outcome = error_shapes.shape_id(f"{success} {call.output}")


@contextmanager
def _writing() -> Iterator[CursorWrapper]:
    with WRITING, transaction.atomic(_alias()), connections[_alias()].cursor() as cursor:
        yield cursor


def _fetch(statement: str, start: int, end: int) -> list[tuple[Any, ...]]:
    with connections[_alias()].cursor() as cursor:
        cursor.execute(statement, [start, end])
        return list(cursor.fetchall())


def _between(model: Any, start: int, end: int) -> Any:
    return model.objects.filter(pk__gte=start, pk__lt=end)


def _replace(model: Any, rows: list[Any]) -> None:
    """Write the rows, which another process may have written already."""
    columns = [field.name for field in model._meta.concrete_fields if not field.primary_key]
    model.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["id"], update_fields=columns
    )


def _finish(cursor: CursorWrapper, task: IndexedTask, stored: StoredTexts) -> None:
    updated_at, task_id = stored.version
    first = task.pk * PLACES
    values: dict[str, Any] = {
        "id": task.pk,
        "updated_at": updated_at,
        "task_id": task_id,
        "completed_at": stored.completed_at,
        "size": stored.size,
        "is_cut": stored.is_cut,
        "start": first,
        "first": first + CALLS,
        "last": first + PLACES - 1,
    }
    cursor.execute(_SET_SECONDS, values)
    cursor.execute(_RANK_FAILURES, values)
    cursor.execute(_FINISH, values)
    is_unanswered = task.status == TaskStatus.COMPLETED and not stored.has_response
    checks.find(
        cursor,
        start=first,
        first=values["first"],
        last=values["last"],
        is_unanswered=is_unanswered,
    )


def _alias() -> str:
    return router.db_for_write(IndexedTask)
