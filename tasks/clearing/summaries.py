"""Summaries of threads, computed without reading their histories.

A summary's fingerprint changes whenever the agent writes to the thread.
"""

import hashlib
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import groupby
from types import SimpleNamespace
from typing import Any, NamedTuple

from msgspec import msgpack

from tasks.engines import storable
from tasks.models import END_LENGTH, PREFIX_LENGTH, TaskStatus
from tasks.store import thread_statements, transactions
from tasks.store.thread_rows import ThreadRows, display, exact_text
from tasks.transcript.titles import task_title

THREADS_PER_QUERY = 500
MEASURED_PER_QUERY = 20
MEASURING_SECONDS = 2.0
LONGEST_TEXT = 500  # maximum number of characters of a stored value to record


class _State(NamedTuple):
    """A task's state, with its number of checkpoints and the id of the last checkpoint."""

    task_id: Any
    status: Any
    updated_at: Any
    checkpoints: int
    last_checkpoint: int | None


class Summary(NamedTuple):
    """The state of a thread at one moment, with fields named as in ClearedThread.

    `status`, `active` and `was_running` come from the thread's latest task.
    """

    fingerprint: str
    status: str
    active: str
    tasks: int
    checkpoints: int
    was_running: bool


def read(thread_ids: Sequence[str]) -> dict[str, Summary]:
    """Return the summaries of the given threads that exist, keyed by thread id."""
    summaries = {}
    for chunk in _chunks(thread_ids, THREADS_PER_QUERY):
        rows = _select(thread_statements.STATE_OF_TASKS, chunk)
        for thread_id, states in groupby(rows, key=lambda row: row[0]):
            summaries[thread_id] = _summarize([_State(*state[1:]) for state in states])
    return summaries


def summarize(rows: ThreadRows) -> Summary:
    """Compute the summary of a thread from its rows."""
    ids = defaultdict(list)
    for checkpoint in rows.checkpoints:
        ids[msgpack.encode(checkpoint.task_id)].append(checkpoint.id)
    states = []
    for task in rows.tasks:
        own = ids[msgpack.encode(task.task_id)]
        last = max(own, default=None)
        states.append(_State(task.task_id, task.status, task.updated_at, len(own), last))
    return _summarize(states)


def _summarize(states: list[_State]) -> Summary:
    states = sorted(states, key=lambda s: (display(s.updated_at), display(s.task_id)))
    return Summary(
        fingerprint=fingerprint(states),
        status=_recordable(display(states[-1].status)),
        active=_recordable(display(states[-1].updated_at)),
        tasks=len(states),
        checkpoints=sum(state.checkpoints for state in states),
        was_running=not TaskStatus.read(display(states[-1].status)).is_terminal,
    )


def fingerprint(parts: Any) -> str:
    return hashlib.blake2b(msgpack.encode(parts), digest_size=16).hexdigest()


def title(rows: ThreadRows) -> str:
    """Return the title of a thread's latest task."""
    latest = max(rows.tasks, key=lambda task: display(task.updated_at), default=None)
    if latest is None:
        return ""
    history = display(latest.execution_history_json)
    resumable = display(latest.resumable_history_json)
    record = SimpleNamespace(
        status=display(latest.status),
        history_start=history[:PREFIX_LENGTH],
        history_end=history[-END_LENGTH:],
        resumable_start=resumable[:PREFIX_LENGTH],
        resumable_length=len(resumable.encode()),
    )
    return _recordable(task_title(record))  # type: ignore[arg-type]


def first_created(thread_ids: Sequence[str]) -> dict[str, str]:
    """Return the oldest `created_at` of each given thread that exists, keyed by thread id."""
    oldest: dict[str, str] = {}
    for chunk in _chunks(thread_ids, THREADS_PER_QUERY):
        rows = _select(thread_statements.OLDEST_TASKS, chunk)
        oldest |= {thread_id: display(created_at) for thread_id, created_at in rows}
    return oldest


def measure(thread_ids: Sequence[str]) -> dict[str, int]:
    """Return the text size in bytes of each thread that could be measured within two seconds."""
    sizes: dict[str, int] = {}
    deadline = time.monotonic() + MEASURING_SECONDS
    for chunk in _chunks(thread_ids, MEASURED_PER_QUERY):
        if time.monotonic() > deadline:
            break
        with transactions.reading() as cursor:
            texts = list(thread_statements.text_sizes(cursor, _stored(cursor, chunk)))
        for thread_id, size in texts:
            sizes[thread_id] = sizes.get(thread_id, 0) + size
    return sizes


def _select(statement: str, thread_ids: Sequence[str]) -> list[tuple[Any, ...]]:
    placeholders = ", ".join(["%s"] * len(thread_ids))
    with transactions.reading() as cursor, exact_text(cursor):
        cursor.execute(statement.format(placeholders), _stored(cursor, thread_ids))
        return list(cursor.fetchall())


def _stored(cursor: Any, thread_ids: Sequence[str]) -> list[str]:
    return [storable(thread_id, cursor.db) for thread_id in thread_ids]


def _recordable(value: str) -> str:
    """Truncate a value for the record, and replace NULs, which PostgreSQL rejects."""
    return value[:LONGEST_TEXT].replace("\0", "\ufffd")


def _chunks(thread_ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(thread_ids), size):
        yield thread_ids[start : start + size]
