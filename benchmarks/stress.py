"""`python -m benchmarks.stress` checks that no writes are lost when many processes use one store.

Every writer logs its acknowledged writes, and at the end the logs are compared with the store. The
program exits with status 1 if anything is wrong.
"""

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import chain, cycle, islice
from pathlib import Path

from benchmarks import audit
from benchmarks.audit import Store
from benchmarks.isolation import in_new_process, temporary_folder
from benchmarks.stress_work import WriterLog, set_barrier, work
from gloamy_site import connect
from tests.support.postgres import running_postgres, unavailable_reason

PROCESSES, WRITES = 8, 100_000  # WRITES is the total for all processes
MAX_FAULTS_SHOWN = 20


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run: all writers' logs, the faults found, and the duration in seconds."""

    logs: list[WriterLog]
    faults: list[str]
    seconds: float


def run(store: Store, writes: int, processes: int = PROCESSES) -> Outcome:
    """Run the stress test on a new store. On SQLite, one writer uses the original store's SQL."""
    in_new_process(connect, database_url=store.url)  # creates the store's tables
    originals = ["original"] if store.is_file else []
    kinds = [*originals, *islice(cycle(["threads", "coroutines"]), processes - len(originals))]
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(processes + 1)
    with ProcessPoolExecutor(processes, spawn, set_barrier, (barrier,)) as executor:
        futures = [
            executor.submit(work, store, kind, f"{kind}-{i}", writes // processes)
            for i, kind in enumerate(kinds)
        ]
        barrier.wait()
        start = time.monotonic()
        logs = [log for future in futures for log in future.result()]
        seconds = time.monotonic() - start
    return Outcome(logs, list(faults(store, logs)), seconds)


def faults(store: Store, logs: list[WriterLog]) -> Iterator[str]:
    """Yield a line of text for each fault found in the logs or the store."""
    for log in logs:
        for error, times in log.errors.items():
            yield f"{log.writer}: {times} × {error}"
        yield from log.torn
    yield from audit.inconsistencies(store)
    yield from _lost_checkpoints(store, logs)
    yield from _wrong_own_tasks(store, logs)
    yield from _out_of_order(store)
    yield from audit.damage(store) if store.is_file else audit.deadlocks(store)


def _lost_checkpoints(store: Store, logs: list[WriterLog]) -> Iterator[str]:
    """Report checkpoints of "kept" tasks that are missing, duplicated or in no writer's log."""
    stored = Counter(
        (task_id, note)
        for task_id, note, _ in store.rows(audit.CHECKPOINTS)
        if task_id.startswith("kept-")
    )
    acknowledged = Counter(chain.from_iterable(log.kept for log in logs))
    failed = Counter(chain.from_iterable(log.failed for log in logs))
    for task_id, note in acknowledged - stored:
        yield f"{task_id}: lost {note}"
    for task_id, note in stored - acknowledged - failed:
        yield f"{task_id}: nobody was told of {note}"


def _wrong_own_tasks(store: Store, logs: list[WriterLog]) -> Iterator[str]:
    """Report writers whose own task is not in the state they left it in."""
    stored = {task_id: tuple(rest) for task_id, *rest in store.rows(audit.TASKS)}
    for log in logs:
        if log.own and stored.get(log.writer) != log.own:
            yield f"{log.writer}: {stored.get(log.writer)} in place of {log.own}"


def _out_of_order(store: Store) -> Iterator[str]:
    """Report checkpoints of "kept" tasks with an earlier timestamp than the previous checkpoint.

    Ignores the original-style writer, because it reads the clock before waiting for the lock.
    """
    latest: dict[str, str] = {}
    for task_id, note, created_at in store.rows(audit.CHECKPOINTS):
        if task_id.startswith("kept-") and not note.startswith("original"):
            if created_at < latest.get(task_id, ""):
                yield f"{task_id}: {note} at {created_at}, after {latest[task_id]}"
            latest[task_id] = created_at


def report(name: str, outcome: Outcome) -> str:
    logs = outcome.logs
    writes = sum(log.writes for log in logs)
    lines = [
        f"{name}: {writes:,} writes of 20 KB by {len(logs)} writers in {outcome.seconds:.0f} s,"
        f" {writes / outcome.seconds:,.0f} a second",
        f"  errors: {sum(log.errors.total() for log in logs)}",
        f"  loads: {sum(log.loads for log in logs):,}, torn: {sum(len(log.torn) for log in logs)}",
        f"  checkpoints that must be there: {sum(len(log.kept) for log in logs):,}",
        f"  longest write: {max(log.longest for log in logs):.2f} s",
    ]
    for log in logs:
        if log.writer.startswith("original"):
            lines.append(
                f"  the original-style writer: {log.writes:,} writes,"
                f" {log.errors.total()} lost, the longest {log.longest:.2f} s"
            )
    lines.append(f"  faults, of all kinds: {len(outcome.faults)}")
    lines += [f"    {fault}" for fault in outcome.faults[:MAX_FAULTS_SHOWN]]
    return "\n".join(lines)


def main() -> None:
    options = _options()
    outcomes = {}
    with temporary_folder(options.folder) as folder:
        if options.only != "postgresql":
            outcomes["SQLite"] = run(Store.on_sqlite(folder), options.writes, options.processes)
            print(report("SQLite", outcomes["SQLite"]), flush=True)
        if options.only != "sqlite":
            if reason := unavailable_reason():
                sys.exit(reason)
            with running_postgres(folder) as server:
                store = Store.on_postgresql(server)
                outcomes["PostgreSQL"] = run(store, options.writes, options.processes)
            print(report("PostgreSQL", outcomes["PostgreSQL"]))
    sys.exit(any(outcome.faults for outcome in outcomes.values()))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stress", description=__doc__)
    parser.add_argument("--writes", type=int, default=WRITES, help="of all processes together")
    parser.add_argument("--processes", type=int, default=PROCESSES)
    parser.add_argument("--only", choices=["sqlite", "postgresql"], help="one database")
    parser.add_argument("--folder", type=Path, help="where to put the store, on a disk")
    return parser.parse_args()


if __name__ == "__main__":
    main()
