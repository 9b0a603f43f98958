"""The writers in a stress test, and the logs that they keep.

Writers use three kinds of tasks. "Kept" tasks are shared and never cleared, so the store must
contain every acknowledged checkpoint at the end. Each "own" task belongs to one writer, so its
final state is known. "Moving" tasks are restarted, moved between threads and cleared by any writer.
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

WRITERS = {"threads": 2, "coroutines": 4, "original": 1}  # per process
HISTORY = Size(40, 500)  # 20 KB
KEPT, MOVING, MOVING_THREADS = 4, 4, 3  # numbers of kept tasks, moving tasks and their threads
OWN_STEPS = ["completed", "running", None, None, None]  # statuses to set; None adds a checkpoint
START_TIMEOUT = 120  # seconds to wait until all processes are ready


@dataclass
class WriterLog:
    """The log of one writer: its acknowledged writes, errors and reads."""

    writer: str
    writes: int = 0
    kept: list[tuple[str, str]] = field(default_factory=list)  # (task id, note) of each checkpoint
    failed: list[tuple[str, str]] = field(default_factory=list)  # (task id, note) per failed write
    own: tuple[str, int, str] | None = None  # the "own" task's status, checkpoint count and note
    errors: Counter[str] = field(default_factory=Counter)
    loads: int = 0
    torn: list[str] = field(default_factory=list)
    longest: float = 0  # duration of the slowest write in seconds


@dataclass(frozen=True)
class Step:
    """One call to a store verb. `is_kept` means that it records a "kept" task's checkpoint."""

    verb: str
    argument: Any
    task_id: str = ""
    note: str = ""
    is_kept: bool = False


class Writer:
    """Generates a writer's random steps and logs their results."""

    def __init__(self, name: str, writes: int, new_update: Any, new_snapshot: Any) -> None:
        self.log = WriterLog(name)
        self._rng = random.Random(name)
        self._writes = writes
        self._new_update, self._new_snapshot = new_update, new_snapshot
        self._own_steps, self._own_checkpoints = 0, 0

    def steps(self) -> Iterator[Step]:
        kinds = [self._kept_step, self._own_step, self._moving_step]
        for number in range(self._writes):
            note = f"{self.log.writer}:{number}"
            [new_step] = self._rng.choices(kinds, (6, 2, 2))
            yield new_step(note)
            if new_step == self._moving_step:
                yield Step("load_by_thread_id", self._moving_thread())

    def done(self, step: Step, result: Any, seconds: float) -> None:
        log = self.log
        if step.verb == "load_by_thread_id":
            log.loads += 1
            if result is not None and result.checkpoint_count != len(result.checkpoints):
                log.torn.append(f"{result.task_id}: torn read, {step.argument}")
            return
        log.writes += 1
        log.longest = max(log.longest, seconds)
        if step.is_kept:
            log.kept.append((step.task_id, step.note))
        if step.task_id == log.writer:
            status = getattr(step.argument, "status", "running")
            log.own = (str(status), self._own_checkpoints, step.note)

    def failed(self, step: Step, error: Exception, seconds: float) -> None:
        cause = error.__cause__ or error
        self.log.errors[f"{step.verb}: {type(cause).__name__}: {cause}".strip()] += 1
        self.log.longest = max(self.log.longest, seconds)
        if step.is_kept:
            self.log.failed.append((step.task_id, step.note))

    def _kept_step(self, note: str) -> Step:
        task_id = f"kept-{self._rng.randrange(KEPT)}"
        if self._rng.random() < 0.7:
            return self._record(task_id, task_id, note, is_kept=True)
        return self._save(task_id, task_id, "running", note)

    def _own_step(self, note: str) -> Step:
        status = OWN_STEPS[self._own_steps % len(OWN_STEPS)]
        self._own_steps += 1
        own = self.log.writer
        if status:
            self._own_checkpoints = 0 if status == "running" else self._own_checkpoints
            return self._save(own, own, status, note)
        self._own_checkpoints += 1
        return self._record(own, own, note)

    def _moving_step(self, note: str) -> Step:
        task_id = f"moving-{self._rng.randrange(MOVING)}"
        choice = self._rng.randrange(8)
        if choice == 0:
            return Step("delete_by_thread_id", self._moving_thread())
        if choice < 3:
            status = ("running", "completed")[choice - 1]
            return self._save(task_id, self._moving_thread(), status, note)
        return self._record(task_id, self._moving_thread(), note)

    def _moving_thread(self) -> str:
        return f"thread-{self._rng.randrange(MOVING_THREADS)}"

    def _record(self, task_id: str, thread_id: str, note: str, is_kept: bool = False) -> Step:
        update = self._new_update(task_id=task_id, thread_id=thread_id, checkpoint_note=note)
        return Step("record_checkpoint", update, task_id, note, is_kept)

    def _save(self, task_id: str, thread_id: str, status: str, note: str) -> Step:
        snapshot = self._new_snapshot(
            task_id=task_id, thread_id=thread_id, status=status, latest_checkpoint_note=note
        )
        return Step("save_snapshot", snapshot, task_id, note)


def work(store: Store, kind: str, name: str, writes: int) -> list[WriterLog]:
    """Wait until all processes are ready, run this process's writers and return their logs."""
    if kind == "original":
        return _use_original(store, name, writes)
    return _use_service(store, kind, name, writes)


_barrier: Barrier


def set_barrier(barrier: Barrier) -> None:
    """Set the barrier at which this process waits for the others before writing."""
    global _barrier
    _barrier = barrier


def wait_for_others() -> None:
    _barrier.wait(START_TIMEOUT)


def _use_original(store: Store, name: str, writes: int) -> list[WriterLog]:
    """Run one writer on the original store's SQL, without Django. Skip steps that load threads."""
    fields = workload.update("", workload.history(HISTORY), 1, "")
    update = original.values(fields)
    snapshot = original.values(workload.snapshot("", workload.history(HISTORY), "running", ""))
    writer = Writer(name, writes, partial(_replace, update), partial(_replace, snapshot))
    verbs = original.on_sqlite(Path(store.address))
    wait_for_others()
    for step in writer.steps():
        if step.verb != "load_by_thread_id":
            _perform(writer, step, getattr(verbs, step.verb))
            if verbs.connection.in_transaction:  # an error left the transaction open
                verbs.connection.execute("ROLLBACK")
    verbs.connection.close()
    return [writer.log]


def _replace(values: Any, **fields: Any) -> Any:
    return type(values)(**vars(values) | fields)


def _use_service(store: Store, kind: str, name: str, writes: int) -> list[WriterLog]:
    from gloamy_site import connect

    connect(database_url=store.url)
    from tasks.service import TaskCheckpointUpdate, TaskSnapshot

    messages = workload.history(HISTORY)
    update = msgspec.convert(workload.update("", messages, 1, ""), TaskCheckpointUpdate)
    snapshot = msgspec.convert(workload.snapshot("", messages, "running", ""), TaskSnapshot)
    new = partial(msgspec.structs.replace, update), partial(msgspec.structs.replace, snapshot)
    count = WRITERS[kind]
    writers = [Writer(f"{name}-{i}", writes // count, *new) for i in range(count)]
    wait_for_others()
    if kind == "threads":
        _run_threads(writers)
    else:
        asyncio.run(_run_coroutines(writers))
    return [writer.log for writer in writers]


def _run_threads(writers: list[Writer]) -> None:
    threads = [threading.Thread(target=_write, args=(writer,)) for writer in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _write(writer: Writer) -> None:
    from django.db import connections

    from tasks import service

    for step in writer.steps():
        _perform(writer, step, getattr(service, step.verb))
    connections.close_all()


def _perform(writer: Writer, step: Step, verb: Callable[[Any], Any]) -> None:
    start = time.monotonic()
    try:
        result = verb(step.argument)
    except Exception as error:
        writer.failed(step, error, time.monotonic() - start)
    else:
        writer.done(step, result, time.monotonic() - start)


async def _run_coroutines(writers: list[Writer]) -> None:
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
