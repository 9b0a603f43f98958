"""`python -m benchmarks.crash`: a writing process is killed with SIGKILL, again and again.

After each kill every acknowledged write must be there, and of the others at most the one that was
under way; counts agree with rows, and the file is whole. Exit status 1 if anything is amiss.

This process sets Django up once and forks the writers, so that a kill costs no start of Python.
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
from benchmarks.apart import working_folder
from benchmarks.audit import Store
from benchmarks.workload import Size
from gloamy_site import connect

KILLS = 500
LONGEST_LIFE = 0.04  # seconds
PATIENCE = 10  # seconds for a writer to begin
HISTORY = Size(40, 500)  # 20 KB
FAULTS_SHOWN = 20

# What a writer does, over and over, to a task that only grows and to one that starts anew.
STEPS = ["clear", "record", "complete", "keep", "start", "record", "keep"]
KEPT = "SELECT checkpoint_note FROM task_checkpoints WHERE task_id = 'kept' ORDER BY id"
RUN = """
    SELECT status, checkpoint_count, latest_checkpoint_note
    FROM task_records WHERE task_id = 'run'"""

Write = Callable[[str, str], None]
Run = tuple[str, int, str] | None  # status, count and note of the task that starts anew


@dataclass
class Outcome:
    lives: int = 0
    acknowledged: int = 0
    unacknowledged: int = 0  # written: the kill came between the commit and the word of it
    faults: list[str] = field(default_factory=list)


def run(store: Store, kills: int, seed: int) -> Outcome:
    """Kill so many writers of a new store on SQLite. Sets Django up in this process."""
    connect(database_url=store.url)
    write, outcome, chance = _writing(), Outcome(), random.Random(seed)
    before = _held(store)
    for life in range(kills):
        acknowledged = _kill_a_writer(write, life, chance.uniform(0, LONGEST_LIFE))
        written = found(store, life, before, acknowledged)
        if written is None:
            outcome.faults.append(f"life {life}: not as after {acknowledged} writes or one more")
        else:
            outcome.unacknowledged += written - acknowledged
        outcome.faults += [*audit.drift(store), *audit.damage(store)]
        outcome.lives += 1
        outcome.acknowledged += acknowledged
        before = _held(store)
    return outcome


def found(store: Store, life: int, before: tuple[list[str], Run], acknowledged: int) -> int | None:
    """How many writes of this life the store holds, or None where it holds anything else.

    They can only be those that were acknowledged, and the one after them.
    """
    stored = _held(store)
    for writes in (acknowledged, acknowledged + 1):
        notes, task = expected(life, writes, before[1])
        if stored == (before[0] + notes, task):
            return writes
    return None


def expected(life: int, writes: int, task: Run) -> tuple[list[str], Run]:
    """What so many writes of a life leave: the notes that it adds, and the other task."""
    notes: list[str] = []
    for number in range(writes):
        note, step = f"{life}:{number}", STEPS[number % len(STEPS)]
        held = task[1] if task else 0
        if step == "keep":
            notes.append(note)
        elif step == "record":
            task = ("running", held + 1, note)
        elif step == "complete":
            task = ("completed", held, note)
        elif step == "start":
            task = ("running", 0, note)
        else:
            task = None
    return notes, task


def _held(store: Store) -> tuple[list[str], Run]:
    return [note for (note,) in store.rows(KEPT)], next(iter(store.rows(RUN)), None)


def _kill_a_writer(write: Write, life: int, seconds: float) -> int:
    """Let a writer live for so long; how many writes it was told have been made.

    In every second life the time runs from its first write on: opening the file takes time too.
    """
    told, tell = os.pipe()
    writer = os.fork()
    if writer == 0:
        _write_until_killed(write, life, tell)
    os.close(tell)
    if life % 2:
        select.select([told], [], [], PATIENCE)
    time.sleep(seconds)
    os.kill(writer, signal.SIGKILL)
    _, status = os.waitpid(writer, 0)
    with open(told, "rb") as acknowledgements:
        acknowledged = len(acknowledgements.read())
    if not os.WIFSIGNALED(status):
        raise RuntimeError(f"writer {life} ended by itself, after {acknowledged} writes")
    return acknowledged


def _write_until_killed(write: Write, life: int, tell: int) -> NoReturn:
    """In the forked process: write until killed, and tell each write when its verb returns."""
    try:
        for number in count():
            write(STEPS[number % len(STEPS)], f"{life}:{number}")
            os.write(tell, b".")
    except BaseException:
        traceback.print_exc()
    os._exit(1)


def _writing() -> Write:
    """A function that makes a step, with a note; it opens the store when first called."""
    from tasks import service

    messages = workload.history(HISTORY)
    fields = workload.update("", messages, 1, "")
    update = msgspec.convert(fields, service.TaskCheckpointUpdate)
    fields = workload.snapshot("", messages, "running", "")
    snapshot = msgspec.convert(fields, service.TaskSnapshot)
    changed = msgspec.structs.replace

    def write(step: str, note: str) -> None:
        task = {"task_id": "run", "thread_id": "run"}
        if step == "clear":
            service.delete_by_thread_id("run")
        elif step in ("record", "keep"):
            if step == "keep":
                task = {"task_id": "kept", "thread_id": "kept"}
            service.record_checkpoint(changed(update, **task, checkpoint_note=note))
        else:
            status = service.TaskStatus("completed" if step == "complete" else "running")
            service.save_snapshot(
                changed(snapshot, **task, latest_checkpoint_note=note, status=status)
            )

    return write


def report(outcome: Outcome, seconds: float) -> str:
    lines = [
        f"{outcome.lives} writers killed in {seconds:.0f} s",
        f"  acknowledged writes: {outcome.acknowledged:,}",
        f"  writes under way that were made: {outcome.unacknowledged}",
        f"  faults, of all kinds: {len(outcome.faults)}",
        *(f"    {fault}" for fault in outcome.faults[:FAULTS_SHOWN]),
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the moments")
    parser.add_argument("--folder", type=Path, help="where to put the store, on a disk")
    options = parser.parse_args()
    with working_folder(options.folder) as folder:
        start = time.monotonic()
        outcome = run(Store.on_sqlite(folder), options.kills, options.seed)
        print(report(outcome, time.monotonic() - start))
    sys.exit(bool(outcome.faults))


if __name__ == "__main__":
    main()
