"""Finds the tasks whose texts contain the words that a person searches for.

Trigrams narrow a search down to the texts that may contain a word, and then the texts themselves
are compared, as a scan of all texts would do. If many texts may contain a word, it is only looked
for in the tasks that are to be listed.
"""

import json
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

from django.db import connections, router
from django.db.backends.utils import CursorWrapper

from masking import MASK
from tasks.index.models import PLACES, TEXT_FILTERS, IndexedTask, StatusCount
from tasks.index.texts import CALLS, MESSAGES, PLACE_OF, decompress, folded
from tasks.transcript.search import SNIPPET_AFTER, SNIPPET_BEFORE, Hit, Term

MANY_TEXTS = 10_000  # texts that are quickly compared
MANY_TASKS = 2_000
MESSAGE_ROLES = {"user": "user", "assistant": "assistant", "system": "system", "result": "tool"}
TEXT_FIELDS = (*PLACE_OF, *MESSAGE_ROLES, "message", "id")
CONDITION_FIELDS = ("status", *TEXT_FILTERS, "tool", "before", "after")

_WORD = re.compile(
    rf"(?:(?P<field>{'|'.join((*TEXT_FIELDS, *CONDITION_FIELDS))}):)?"
    r'(?:"(?P<phrase>[^"]+)"|(?P<word>\S+))'
)
# What JSON may escape: a search also finds a text where it is escaped, any number of times.
_ESCAPABLE = re.compile(r'["\\\x00-\x1f\x7f]+')
_TEXTS_WITH = """
    SELECT rowid FROM index_trigrams
    WHERE index_trigrams MATCH %s AND rowid BETWEEN %s AND %s LIMIT %s"""
_TEXTS = "SELECT id, role, number, body FROM task_index_indexedtext WHERE"
_IDS_WITH = """
    SELECT id, task.thread_id, task.task_id FROM index_ids
    JOIN task_index_indexedtask AS task ON task.id = index_ids.rowid
    WHERE index_ids MATCH %s LIMIT %s"""
_MASKED = "\ue000" * len(MASK)  # what a mask is searched as, so that nothing matches it


@dataclass(frozen=True)
class Word:
    """A word or a phrase in quotes that is searched for, perhaps in one kind of text only."""

    text: str
    field: str = ""

    def __str__(self) -> str:
        return self.text


def parse(query: str, scope: str = "") -> list[Word]:
    """Split a query into words and phrases. Those without a field of their own get the scope."""
    return [
        Word(match["phrase"] or match["word"], match["field"] or scope)
        for match in _WORD.finditer(query)
    ]


class Search:
    """The tasks that contain all of some words."""

    def __init__(self, words: Collection[Word]) -> None:
        self._words = {word: Term(word.text) for word in words}

    @cached_property
    def ids(self) -> set[int] | None:
        """The ids of all tasks that match, or None if too many texts would have to be compared."""
        ids_of = {word: self._ids_with(word) for word in self._words}
        known = [ids for ids in ids_of.values() if ids is not None]
        if not known:
            return None
        ids = set.intersection(*known)
        others = [word for word, ids in ids_of.items() if ids is None]
        if not others:
            return ids
        if len(ids) > MANY_TASKS:
            return None
        tasks = IndexedTask.objects.filter(id__among=ids)
        return {task.pk for task in tasks if all(self._has(task, word) for word in others)}

    def matches(self, task: IndexedTask) -> bool:
        return all(self._has(task, word) for word in self._words)

    def hits(self, task_id: int, most: int) -> list[Hit]:
        """Return the first match in each text of a task, but at most so many for each word.

        Tool calls are left out if a message matches, since messages usually repeat them.
        """
        hits: dict[int, Hit] = {}
        for word in self._words:
            for place, hit in islice(self._places(task_id, word), most):
                hits.setdefault(place, hit)
        messages = {place: hit for place, hit in hits.items() if place < CALLS}
        return [hit for _, hit in sorted((messages or hits).items())]

    def _ids_with(self, word: Word) -> set[int] | None:
        """Return the ids of the tasks that have the word, or None if there may be too many."""
        term, ids = self._words[word], set[int]()
        if word.field in ("", "id"):
            if (named := _tasks_named(word, term)) is None:
                return None
            ids |= named
        if word.field != "id":
            texts = _texts_with(term, 0, 2**63 - 1, MANY_TEXTS)
            if texts is None:
                return None
            for id_, _ in _compare(word, term, "id IN (SELECT value FROM json_each(%s))", [texts]):
                ids.add(id_ // PLACES)
        return ids

    def _has(self, task: IndexedTask, word: Word) -> bool:
        term = self._words[word]
        names = [task.thread_id, task.task_id]
        if not word.field:
            names += [getattr(task, name) for name in TEXT_FILTERS]
        if word.field in ("", "id") and any(name and term.is_in(name) for name in names):
            return True
        return word.field != "id" and next(self._places(task.pk, word), None) is not None

    def _places(self, task_id: int, word: Word) -> Iterator[tuple[int, Hit]]:
        term, first = self._words[word], task_id * PLACES
        texts = _texts_with(term, first, first + PLACES - 1, MANY_TEXTS)
        where = "id BETWEEN %s AND %s"
        values: list[Any] = [first, first + PLACES - 1]
        if texts is not None:
            where, values = "id IN (SELECT value FROM json_each(%s))", [texts]
        for id_, hit in _compare(word, term, where, values):
            yield id_ - first, hit


def _tasks_named(word: Word, term: Term) -> set[int] | None:
    """Return the tasks with the word in their ids, or with no field in the other names."""
    expression = _trigrams(term.text)
    if not expression:
        return None
    with _cursor() as cursor:
        cursor.execute(_IDS_WITH, [expression, MANY_TASKS + 1])
        rows = cursor.fetchall()
    if len(rows) > MANY_TASKS:
        return None
    ids = {pk for pk, *names in rows if any(name and term.is_in(name) for name in names)}
    for column in () if word.field else TEXT_FILTERS:
        values = [value for value in StatusCount.objects.values_of(column) if term.is_in(value)]
        if values and StatusCount.objects.total(**{f"{column}__in": values}) > MANY_TASKS:
            return None
        tasks = IndexedTask.objects.latest().filter(**{f"{column}__in": values})
        ids.update(tasks.values_list("pk", flat=True))
    return ids


def _texts_with(term: Term, first: int, last: int, most: int) -> str | None:
    """Return the ids of the texts that have the term's trigrams, as JSON, or None if too many."""
    expression = _trigrams(term.text)
    if not expression:
        return None
    with _cursor() as cursor:
        cursor.execute(_TEXTS_WITH, [expression, first, last, most + 1])
        ids = [id_ for (id_,) in cursor.fetchall()]
    return None if len(ids) > most else json.dumps(ids)


def _compare(word: Word, term: Term, where: str, values: list[Any]) -> Iterator[tuple[int, Hit]]:
    """Yield the id and the first match of each text that contains the word."""
    with _cursor() as cursor:
        cursor.execute(f"{_TEXTS} {where} ORDER BY id", values)
        for id_, role, number, compressed in cursor:
            if not _is_in_scope(word.field, id_ % PLACES, role):
                continue
            body = decompress(compressed)
            for start, end in term.spans(body.replace(MASK, _MASKED)):
                yield id_, _hit(role, number, body, start, end)
                break


def _is_in_scope(scope: str, place: int, role: str) -> bool:
    if scope in PLACE_OF:
        return place == PLACE_OF[scope]
    is_message = MESSAGES <= place < CALLS
    if scope == "message":
        return is_message
    return not scope or (is_message and role == MESSAGE_ROLES.get(scope))


def _hit(role: str, number: int, body: str, start: int, end: int) -> Hit:
    before, after = body[max(0, start - SNIPPET_BEFORE) : start], body[end : end + SNIPPET_AFTER]
    return Hit(
        number,
        role,
        f"…{before}" if start > SNIPPET_BEFORE else before,
        body[start:end],
        f"{after}…" if end + SNIPPET_AFTER < len(body) else after,
    )


def _trigrams(text: str) -> str:
    """Return the FTS5 expression for the texts that may contain the text, or "" for all texts."""
    pieces = _ESCAPABLE.split(text)
    literal = _all_of(map(folded, pieces))
    if text.isascii() or not literal:
        return literal
    escaped = _all_of(part for piece in pieces for part in _escaped(piece))  # as JSON may have it
    return f"({literal}) OR ({escaped})"


def _escaped(piece: str) -> list[str]:
    """Return what is between the backslashes if all characters but ASCII are escaped."""
    return json.dumps(piece)[1:-1].lower().split("\\")


def _all_of(pieces: Iterable[str]) -> str:
    trigrams = {piece[i : i + 3] for piece in pieces for i in range(len(piece) - 2)}
    return " AND ".join(f'"{trigram}"' for trigram in sorted(trigrams))


@contextmanager
def _cursor() -> Iterator[CursorWrapper]:
    with connections[router.db_for_read(IndexedTask)].cursor() as cursor:
        yield cursor
