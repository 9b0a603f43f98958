"""What each process of a stress run does, and the account that it keeps.

Three kinds of tasks: those that all writers share and nobody clears, in which every acknowledged
checkpoint must be at the end; one of each writer's own, whose last state only that writer makes;
and those that all start anew, move between threads and clear.
"""

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import original, workload
from benchmarks.audit import Store
from benchmarks.workload import Size

WRITERS = {"threads": 2, "coroutines": 4, "original": 1}  # in a process of each kind
HISTORY = Size(40, 500)  # 20 KB
KEPT, MOVING, MOVING_THREADS = 4, 4, 3
OWN_RUN = ["completed", "running", None, None, None]  # statuses to save, and checkpoints
PATIENCE = 120  # seconds for all processes to be ready


@dataclass
class Account:
    """What a writer was told has been written, what it was refused, and what it read."""

    writer: str
    writes: int = 0
    kept: list[tuple[str, str]] = field(default_factory=list)  # (task, note) of each checkpoint
    refused: list[tuple[str, str]] = field(default_factory=list)  # the same, where one failed
    own: tuple[str, int, str] | None = None  # status, count and note
    errors: Counter[str] = field(default_factory=Counter)
    loads: int = 0
    torn: list[str] = field(default_factory=list)
    longest: float = 0  # seconds that a write took


@dataclass(frozen=True)
class Step:
    """One call of a verb; `is_kept` marks a checkpoint that must be there in the end."""

    verb: str
    argument: Any
    task_id: str = ""
    note: str = ""
    is_kept: bool = False


class Writer:
    """Makes up what to write, and takes down what came of it."""

    def __init__(self, name: str, writes: int, new_update: Any, new_snapshot: Any) -> None:
        self.account = Account(name)
        self._chance = random.Random(name)
        self._writes = writes
        self._new_update, self._new_snapshot = new_update, new_snapshot
        self._own_steps, self._own_count = 0, 0

    def steps(self) -> Iterator[Step]:
        kinds = [self._on_kept, self._on_own, self._on_moving]
        for number in range(self._writes):
            note = f"{self.account.writer}:{number}"
            [step_of_kind] = self._chance.choices(kinds, (6, 2, 2))
            yield step_of_kind(note)
            if step_of_kind == self._on_moving:
                yield Step("load_by_thread_id", self._moving_thread())

    def done(self, step: Step, result: Any, seconds: float) -> None:
        account = self.account
        if step.verb == "load_by_thread_id":
            account.loads += 1
            if result is not None and result.checkpoint_count != len(result.checkpoints):
                account.torn.append(f"{result.task_id}: torn read, {step.argument}")
            return
        account.writes += 1
        account.longest = max(account.longest, seconds)
        if step.is_kept:
            account.kept.append((step.task_id, step.note))
        if step.task_id == account.writer:
            status = getattr(step.argument, "status", "running")
            account.own = (str(status), self._own_count, step.note)

    def failed(self, step: Step, error: Exception, seconds: float) -> None:
        cause = error.__cause__ or error
        self.account.errors[f"{step.verb}: {type(cause).__name__}: {cause}".strip()] += 1
        self.account.longest = max(self.account.longest, seconds)
        if step.is_kept:
            self.account.refused.append((step.task_id, step.note))

    def _on_kept(self, note: str) -> Step:
        task_id = f"kept-{self._chance.randrange(KEPT)}"
        if self._chance.random() < 0.7:
            return self._record(task_id, task_id, note, is_kept=True)
        return self._save(task_id, task_id, "running", note)

    def _on_own(self, note: str) -> Step:
        status = OWN_RUN[self._own_steps % len(OWN_RUN)]
        self._own_steps += 1
        own = self.account.writer
        if status:
            self._own_count = 0 if status == "running" else self._own_count
            return self._save(own, own, status, note)
        self._own_count += 1
        return self._record(own, own, note)

    def _on_moving(self, note: str) -> Step:
        task_id = f"moving-{self._chance.randrange(MOVING)}"
        choice = self._chance.randrange(8)
        if choice == 0:
            return Step("delete_by_thread_id", self._moving_thread())
        if choice < 3:
            status = ("running", "completed")[choice - 1]
            return self._save(task_id, self._moving_thread(), status, note)
        return self._record(task_id, self._moving_thread(), note)

    def _moving_thread(self) -> str:
        return f"thread-{self._chance.randrange(MOVING_THREADS)}"

    def _record(self, task_id: str, thread_id: str, note: str, is_kept: bool = False) -> Step:
        update = self._new_update(task_id=task_id, thread_id=thread_id, checkpoint_note=note)
        return Step("record_checkpoint", update, task_id, note, is_kept)

    def _save(self, task_id: str, thread_id: str, status: str, note: str) -> Step:
        snapshot = self._new_snapshot(
            task_id=task_id, thread_id=thread_id, status=status, latest_checkpoint_note=note
        )
        return Step("save_snapshot", snapshot, task_id, note)


def work(store: Store, kind: str, name: str, writes: int) -> list[Account]:
    """The accounts of a process; it begins when all are ready."""
    if kind == "original":
        return _as_the_original(store, name, writes)
    return _by_the_service(store, kind, name, writes)


_ready: Barrier  # set in each process of a run


def meet_at(barrier: Barrier) -> None:
    """Called in each process before its work."""
    global _ready
    _ready = barrier


def _as_the_original(store: Store, name: str, writes: int) -> list[Account]:
    """By its statements and its way of opening the file, without Django. It does not load."""
    fields = workload.update("", workload.history(HISTORY), 1, "")
    update = original.values(fields)
    snapshot = original.values(workload.snapshot("", workload.history(HISTORY), "running", ""))
    writer = Writer(name, writes, partial(_changed, update), partial(_changed, snapshot))
    verbs = original.on_sqlite(Path(store.address))
    _ready.wait(PATIENCE)
    for step in writer.steps():
        if step.verb != "load_by_thread_id":
            _make(writer, step, getattr(verbs, step.verb))
            if verbs.connection.in_transaction:  # after an error
                verbs.connection.execute("ROLLBACK")
    verbs.connection.close()
    return [writer.account]


def _changed(values: Any, **fields: Any) -> Any:
    return type(values)(**vars(values) | fields)


def _by_the_service(store: Store, kind: str, name: str, writes: int) -> list[Account]:
    from gloamy_site import connect

    connect(database_url=store.url)
    from tasks.service import TaskCheckpointUpdate, TaskSnapshot

    messages = workload.history(HISTORY)
    update = msgspec.convert(workload.update("", messages, 1, ""), TaskCheckpointUpdate)
    snapshot = msgspec.convert(workload.snapshot("", messages, "running", ""), TaskSnapshot)
    new = partial(msgspec.structs.replace, update), partial(msgspec.structs.replace, snapshot)
    several = WRITERS[kind]
    writers = [Writer(f"{name}-{i}", writes // several, *new) for i in range(several)]
    _ready.wait(PATIENCE)
    if kind == "threads":
        _in_threads(writers)
    else:
        asyncio.run(_in_coroutines(writers))
    return [writer.account for writer in writers]


def _in_threads(writers: list[Writer]) -> None:
    threads = [threading.Thread(target=_write, args=(writer,)) for writer in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _write(writer: Writer) -> None:
    from django.db import connections

    from tasks import service

    for step in writer.steps():
        _make(writer, step, getattr(service, step.verb))
    connections.close_all()


def _make(writer: Writer, step: Step, verb: Callable[[Any], Any]) -> None:
    start = time.monotonic()
    try:
        result = verb(step.argument)
    except Exception as error:
        writer.failed(step, error, time.monotonic() - start)
    else:
        writer.done(step, result, time.monotonic() - start)


async def _in_coroutines(writers: list[Writer]) -> None:
    from asgiref.sync import sync_to_async
    from django.db import connections

    await asyncio.gather(*map(_awrite, writers))
    await sync_to_async(connections.close_all)()


async def _awrite(writer: Writer) -> None:
    from tasks import service

    for step in writer.steps():
        verb = getattr(service, f"a{step.verb}")
        start = time.monotonic()
        try:
            result = await verb(step.argument)
        except Exception as error:
            writer.failed(step, error, time.monotonic() - start)
        else:
            writer.done(step, result, time.monotonic() - start)
