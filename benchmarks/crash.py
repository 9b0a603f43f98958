"""`python -m benchmarks.crash` repeatedly kills a process while it writes to a store.

After each kill, the store must contain every acknowledged write and at most one more, the write in
progress. Otherwise, or if counts are wrong or the file is damaged, the program exits with status 1.

Django is set up once and each writer is forked from this process, so that writers start quickly.
"""

import argparse
import os
import random
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import NoReturn

import msgspec

from benchmarks import audit, workload
from benchmarks.audit import Store
from benchmarks.isolation import temporary_folder
from benchmarks.workload import Size
from gloamy_site import connect

KILLS = 500
LONGEST_LIFE = 0.04  # seconds
START_TIMEOUT = 10  # seconds that a writer may take to start
HISTORY = Size(40, 500)  # 20 KB
MAX_FAULTS_SHOWN = 20

# Writers repeat these steps. "keep" adds to the `kept` task; all others change the `run` task.
STEPS = ["clear", "record", "complete", "keep", "start", "record", "keep"]
KEPT_NOTES = "SELECT checkpoint_note FROM task_checkpoints WHERE task_id = 'kept' ORDER BY id"
RUN_TASK = """
    SELECT status, checkpoint_count, latest_checkpoint_note
    FROM task_records WHERE task_id = 'run'"""

Write = Callable[[str, str], None]
Run = tuple[str, int, str] | None  # the `run` task's status, checkpoint count and note
State = tuple[list[str], Run]


@dataclass
class Outcome:
    lives: int = 0
    acknowledged: int = 0
    unacknowledged: int = 0  # number of writes stored but not acknowledged before the kill
    faults: list[str] = field(default_factory=list)


def run(store: Store, kills: int, seed: int) -> Outcome:
    """Start and kill writers on a new SQLite store, one by one. Set up Django in this process."""
    connect(database_url=store.url)
    write, outcome, rng = _make_writer(), Outcome(), random.Random(seed)
    before = _state(store)
    for life in range(kills):
        acknowledged = _kill_a_writer(write, life, rng.uniform(0, LONGEST_LIFE))
        written = count_writes(store, life, before, acknowledged)
        if written is None:
            outcome.faults.append(f"life {life}: not as after {acknowledged} writes or one more")
        else:
            outcome.unacknowledged += written - acknowledged
        outcome.faults += [*audit.inconsistencies(store), *audit.damage(store)]
        outcome.lives += 1
        outcome.acknowledged += acknowledged
        before = _state(store)
    return outcome


def count_writes(store: Store, life: int, before: State, acknowledged: int) -> int | None:
    """Return how many of one writer's writes were stored, or None if the store's state is wrong.

    The store may contain the acknowledged writes and one more, which was in progress.
    """
    stored = _state(store)
    for writes in (acknowledged, acknowledged + 1):
        notes, task = expected(life, writes, before[1])
        if stored == (before[0] + notes, task):
            return writes
    return None


def expected(life: int, writes: int, task: Run) -> State:
    """Return the notes added by a writer's first `writes` writes, and the resulting `run` task."""
    notes: list[str] = []
    for number in range(writes):
        note, step = f"{life}:{number}", STEPS[number % len(STEPS)]
        checkpoints = task[1] if task else 0
        if step == "keep":
            notes.append(note)
        elif step == "record":
            task = ("running", checkpoints + 1, note)
        elif step == "complete":
            task = ("completed", checkpoints, note)
        elif step == "start":
            task = ("running", 0, note)
        else:
            task = None
    return notes, task


def _state(store: Store) -> State:
    return [note for (note,) in store.rows(KEPT_NOTES)], next(iter(store.rows(RUN_TASK)), None)


def _kill_a_writer(write: Write, life: int, seconds: float) -> int:
    """Start a writer, kill it after `seconds` and return how many writes it acknowledged.

    For every second writer, the countdown starts at the first write, as opening the file is slow.
    """
    read_end, write_end = os.pipe()
    writer = os.fork()
    if writer == 0:
        _write_until_killed(write, life, write_end)
    os.close(write_end)
    if life % 2:
        select.select([read_end], [], [], START_TIMEOUT)
    time.sleep(seconds)
    os.kill(writer, signal.SIGKILL)
    _, status = os.waitpid(writer, 0)
    with open(read_end, "rb") as acknowledgements:
        acknowledged = len(acknowledgements.read())
    if not os.WIFSIGNALED(status):
        raise RuntimeError(f"writer {life} ended by itself, after {acknowledged} writes")
    return acknowledged


def _write_until_killed(write: Write, life: int, pipe: int) -> NoReturn:
    """In the forked process, write until killed, and acknowledge each write through the pipe."""
    try:
        for number in count():
            write(STEPS[number % len(STEPS)], f"{life}:{number}")
            os.write(pipe, b".")
    except BaseException:
        traceback.print_exc()
    os._exit(1)


def _make_writer() -> Write:
    """Return a function that performs one step. Its first call opens the store."""
    from tasks import service

    messages = workload.history(HISTORY)
    fields = workload.update("", messages, 1, "")
    update = msgspec.convert(fields, service.TaskCheckpointUpdate)
    fields = workload.snapshot("", messages, "running", "")
    snapshot = msgspec.convert(fields, service.TaskSnapshot)
    replace = msgspec.structs.replace

    def write(step: str, note: str) -> None:
        task = {"task_id": "run", "thread_id": "run"}
        if step == "clear":
            service.delete_by_thread_id("run")
        elif step in ("record", "keep"):
            if step == "keep":
                task = {"task_id": "kept", "thread_id": "kept"}
            service.record_checkpoint(replace(update, **task, checkpoint_note=note))
        else:
            status = service.TaskStatus("completed" if step == "complete" else "running")
            service.save_snapshot(
                replace(snapshot, **task, latest_checkpoint_note=note, status=status)
            )

    return write


def report(outcome: Outcome, seconds: float) -> str:
    lines = [
        f"{outcome.lives} writers killed in {seconds:.0f} s",
        f"  acknowledged writes: {outcome.acknowledged:,}",
        f"  writes under way that were made: {outcome.unacknowledged}",
        f"  faults, of all kinds: {len(outcome.faults)}",
        *(f"    {fault}" for fault in outcome.faults[:MAX_FAULTS_SHOWN]),
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the moments")
    parser.add_argument("--folder", type=Path, help="where to put the store, on a disk")
    options = parser.parse_args()
    with temporary_folder(options.folder) as folder:
        start = time.monotonic()
        outcome = run(Store.on_sqlite(folder), options.kills, options.seed)
        print(report(outcome, time.monotonic() - start))
    sys.exit(bool(outcome.faults))


if __name__ == "__main__":
    main()
