"""What is known of threads without a look at their histories: to confirm a clearing, and to check.

A summary's fingerprint changes with every write of an agent.
"""

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from types import SimpleNamespace
from typing import Any

import msgspec

from tasks.engines import storable
from tasks.models import TaskStatus
from tasks.store import thread_statements, transactions
from tasks.store.thread_rows import ThreadRows, display, exact_text
from tasks.transcript.titles import task_title

CHUNK = 500  # threads asked for in one statement
SIZED = 20  # threads whose sizes are asked for in one transaction
SIZING_SECONDS = 2.0

State = tuple[Any, ...]  # of a task: id, status, updated_at, number and last id of its checkpoints


@dataclass(frozen=True)
class Summary:
    """A thread at a moment; `status` and `active` are those of its latest task."""

    thread_id: str
    fingerprint: str
    status: str
    active: str
    tasks: int
    checkpoints: int
    is_running: bool


def of(thread_ids: Sequence[str]) -> dict[str, Summary]:
    """The summaries of those threads that are there."""
    found = {}
    for chunk in _chunks(thread_ids, CHUNK):
        for thread_id, states in groupby(_states(chunk), key=lambda row: row[0]):
            found[thread_id] = _summary(thread_id, [state[1:] for state in states])
    return found


def of_rows(thread_id: str, rows: ThreadRows) -> Summary:
    """The same of rows that have been read whole."""
    steps: dict[Any, list[int]] = {}
    for checkpoint in rows.checkpoints:
        steps.setdefault(_hashable(checkpoint.task_id), []).append(checkpoint.id)
    states = []
    for task in rows.tasks:
        own = steps.get(_hashable(task.task_id), [])
        states.append(
            (task.task_id, task.status, task.updated_at, len(own), max(own, default=None))
        )
    return _summary(thread_id, states)


def back_since(thread_ids: Sequence[str]) -> dict[str, str]:
    """Of threads that are there, when the oldest of their rows was made, as stored."""
    found: dict[str, str] = {}
    for chunk in _chunks(thread_ids, CHUNK):
        places = ", ".join(["%s"] * len(chunk))
        with transactions.reading() as cursor, exact_text(cursor):
            cursor.execute(thread_statements.OLDEST_TASKS.format(places), _stored(cursor, chunk))
            found |= {thread_id: display(oldest) for thread_id, oldest in cursor.fetchall()}
    return found


def sizes(thread_ids: Sequence[str]) -> tuple[dict[str, int], bool]:
    """The bytes of threads' texts, and whether all were measured: it ends after some seconds."""
    found: dict[str, int] = {}
    deadline = time.monotonic() + SIZING_SECONDS
    for chunk in _chunks(thread_ids, SIZED):
        if time.monotonic() > deadline:
            return found, False
        for thread_id, size in _sizes(chunk):
            found[thread_id] = found.get(thread_id, 0) + size
    return found, True


def _states(thread_ids: Sequence[str]) -> list[State]:
    places = ", ".join(["%s"] * len(thread_ids))
    with transactions.reading() as cursor, exact_text(cursor):
        cursor.execute(thread_statements.STATE_OF_TASKS.format(places), _stored(cursor, thread_ids))
        return list(cursor.fetchall())


def _sizes(thread_ids: Sequence[str]) -> list[tuple[str, int]]:
    with transactions.reading() as cursor:
        return list(thread_statements.text_sizes(cursor, _stored(cursor, thread_ids)))


def _stored(cursor: Any, thread_ids: Sequence[str]) -> list[str]:
    return [storable(thread_id, cursor.db) for thread_id in thread_ids]


def _summary(thread_id: str, states: list[State]) -> Summary:
    states = sorted(states, key=lambda state: (display(state[2]), display(state[0])))
    *_, (_, status, active, _, _) = states
    return Summary(
        thread_id=thread_id,
        fingerprint=fingerprint(states),
        status=display(status),
        active=display(active),
        tasks=len(states),
        checkpoints=sum(state[3] for state in states),
        is_running=any(not TaskStatus.read(display(state[1])).is_terminal for state in states),
    )


def fingerprint(parts: Any) -> str:
    return hashlib.blake2b(msgspec.msgpack.encode(parts), digest_size=16).hexdigest()


def _hashable(task_id: Any) -> Any:
    return msgspec.msgpack.encode(task_id)


def _chunks(thread_ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(thread_ids), size):
        yield thread_ids[start : start + size]


def title(rows: ThreadRows) -> str:
    """What a thread is about: the title of its latest task."""
    latest = max(rows.tasks, key=lambda task: display(task.updated_at), default=None)
    if latest is None:
        return ""
    starts = {
        "history_start": display(latest.execution_history_json),
        "resumable_start": display(latest.resumable_history_json),
    }
    return task_title(SimpleNamespace(**starts))  # type: ignore[arg-type]
