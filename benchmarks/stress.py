"""`python -m benchmarks.stress`: many processes write to one store at once; nothing may be lost.

Every writer keeps account of the writes that were acknowledged, and the accounts are compared with
what the store holds in the end. Exit status 1 if anything is amiss.
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
from benchmarks.apart import in_new_process, working_folder
from benchmarks.audit import Store
from benchmarks.stress_work import Account, meet_at, work
from gloamy_site import connect
from tests.support.postgres import running_postgres, unavailable_reason

PROCESSES, WRITES = 8, 100_000  # the writes of all together
FAULTS_SHOWN = 20


@dataclass(frozen=True)
class Outcome:
    """The accounts of all writers, what is wrong, and how many seconds it took."""

    accounts: list[Account]
    faults: list[str]
    seconds: float


def run(store: Store, writes: int, processes: int = PROCESSES) -> Outcome:
    """Stress a store, which must be new; on SQLite the original is one of the writers."""
    in_new_process(connect, database_url=store.url)  # makes the tables
    first = ["original"] if store.is_file else []
    kinds = [*first, *islice(cycle(["threads", "coroutines"]), processes - len(first))]
    spawning = multiprocessing.get_context("spawn")
    barrier = (spawning.Barrier(processes + 1),)
    with ProcessPoolExecutor(processes, spawning, meet_at, barrier) as executor:
        futures = [
            executor.submit(work, store, kind, f"{kind}-{i}", writes // processes)
            for i, kind in enumerate(kinds)
        ]
        barrier[0].wait()
        start = time.monotonic()
        accounts = [account for future in futures for account in future.result()]
        seconds = time.monotonic() - start
    return Outcome(accounts, list(faults(store, accounts)), seconds)


def faults(store: Store, accounts: list[Account]) -> Iterator[str]:
    """All that is wrong, each in a line."""
    for account in accounts:
        for error, times in account.errors.items():
            yield f"{account.writer}: {times} × {error}"
        yield from account.torn
    yield from audit.drift(store)
    yield from _lost(store, accounts)
    yield from _own(store, accounts)
    yield from _out_of_order(store)
    yield from audit.damage(store) if store.is_file else audit.deadlocks(store)


def _lost(store: Store, accounts: list[Account]) -> Iterator[str]:
    """Checkpoints of the kept tasks: acknowledged and not there, or there and unknown or twice."""
    stored = Counter(
        (task_id, note)
        for task_id, note, _ in store.rows(audit.CHECKPOINTS)
        if task_id.startswith("kept-")
    )
    acknowledged = Counter(chain.from_iterable(account.kept for account in accounts))
    refused = Counter(chain.from_iterable(account.refused for account in accounts))
    for task_id, note in acknowledged - stored:
        yield f"{task_id}: lost {note}"
    for task_id, note in stored - acknowledged - refused:
        yield f"{task_id}: nobody was told of {note}"


def _own(store: Store, accounts: list[Account]) -> Iterator[str]:
    """A writer's own task must be as the writer left it."""
    stored = {task_id: tuple(rest) for task_id, *rest in store.rows(audit.TASKS)}
    for account in accounts:
        if account.own and stored.get(account.writer) != account.own:
            yield f"{account.writer}: {stored.get(account.writer)} in place of {account.own}"


def _out_of_order(store: Store) -> Iterator[str]:
    """Checkpoints of a kept task whose time is before that of an earlier one.

    The original takes the time before it waits for the lock, so its own are left out.
    """
    latest: dict[str, str] = {}
    for task_id, note, created_at in store.rows(audit.CHECKPOINTS):
        if task_id.startswith("kept-") and not note.startswith("original"):
            if created_at < latest.get(task_id, ""):
                yield f"{task_id}: {note} at {created_at}, after {latest[task_id]}"
            latest[task_id] = created_at


def report(name: str, outcome: Outcome) -> str:
    accounts = outcome.accounts
    writes = sum(account.writes for account in accounts)
    lines = [
        f"{name}: {writes:,} writes of 20 KB by {len(accounts)} writers in {outcome.seconds:.0f} s,"
        f" {writes / outcome.seconds:,.0f} a second",
        f"  errors: {sum(account.errors.total() for account in accounts)}",
        f"  loads: {sum(account.loads for account in accounts):,},"
        f" torn: {sum(len(account.torn) for account in accounts)}",
        f"  checkpoints that must be there: {sum(len(account.kept) for account in accounts):,}",
        f"  longest write: {max(account.longest for account in accounts):.2f} s",
    ]
    for account in accounts:
        if account.writer.startswith("original"):
            lines.append(
                f"  the original-style writer: {account.writes:,} writes,"
                f" {account.errors.total()} lost, the longest {account.longest:.2f} s"
            )
    lines.append(f"  faults, of all kinds: {len(outcome.faults)}")
    lines += [f"    {fault}" for fault in outcome.faults[:FAULTS_SHOWN]]
    return "\n".join(lines)


def main() -> None:
    options = _options()
    outcomes = {}
    with working_folder(options.folder) as folder:
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
