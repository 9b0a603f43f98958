"""`python -m benchmarks.index_run` compares the index with the store while both are in use.

A process as the original writes to the store: its clock jumps, its times are from before it waited,
it clears threads, and rows are replaced as by other programs. The site lists threads, clears some
and restores them. Every second, the writer pauses and the index is compared with a full scan.
"""

import argparse
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import psycopg

from benchmarks import original, workload
from benchmarks.audit import Store
from benchmarks.isolation import in_new_process, temporary_folder
from gloamy_site import connect
from tests.support.postgres import running_postgres

SMALL, LARGE = 300, 3_000  # threads; of so few, each look at the store compares all
ROUND = 0.8  # seconds in which the writer writes
STATUSES = ("running", "completed", "failed", "cancelled", "timed_out")
COLUMNS = (
    *("task_id", "thread_id", "channel", "provider", "model", "status"),
    *("created_at", "updated_at", "checkpoint_count"),
)
SCAN = f"SELECT {', '.join(COLUMNS)}, resumable_history_json FROM task_records"
HISTORY = [original.Message("user", "hello"), original.Message("assistant", "done")]

Rows = dict[str, tuple[Any, ...]]  # by task id


@dataclass
class Outcome:
    rounds: int = 0
    writes: Counter[str] = field(default_factory=Counter)
    unnoticed: int = 0  # rows that a look at what is newest cannot find, but a comparison does
    faults: list[str] = field(default_factory=list)


class Clock:
    """A clock that jumps, and is read some time before a write."""

    def __init__(self, rng: random.Random) -> None:
        self._rng, self._offset = rng, timedelta()

    def __call__(self) -> str:
        if self._rng.random() < 0.02:
            hours = self._rng.choice([0, 0, 0, -2, -0.1, 0.01, 1])
            self._offset = timedelta(hours=hours)
        now = datetime.now(UTC) + self._offset
        if self._rng.random() < 0.01:
            time.sleep(self._rng.uniform(0, 0.5))
        return now.isoformat()


class Writer:
    """Writes as the original does, with all that can happen to it."""

    def __init__(self, verbs: original.Original, threads: int, seed: int) -> None:
        self.verbs, self.threads, self.rng = verbs, threads, random.Random(seed)
        original._now = Clock(self.rng)

    def write(self) -> str:
        names = ["record", "complete", "delete", "move", "replace"]
        name = self.rng.choices(names, [50, 30, 4, 4, 4])[0]
        getattr(self, name)(self._thread())
        return name

    def _thread(self) -> str:
        return f"thread {self.rng.randrange(self.threads)}"

    def record(self, thread: str, task: str = "") -> None:
        update = workload.update(task or thread, [], self.rng.randrange(9), "a step")
        update |= {"thread_id": thread, "channel": self.rng.choice(["cli", "slack"])}
        self.verbs.record_checkpoint(original.values(update))

    def complete(self, thread: str) -> None:
        status = self.rng.choice(STATUSES)
        snapshot = workload.snapshot(thread, [], status, "a note")
        values = original.values(snapshot)
        values.resumable_history = self.rng.choice([[], HISTORY])
        self.verbs.save_snapshot(values)

    def delete(self, thread: str) -> None:
        self.verbs.delete_by_thread_id(thread)

    def move(self, thread: str) -> None:
        """Write a second task of another thread, or the thread's own task into another one."""
        self.record(self._thread(), task=self.rng.choice([thread, f"second task of {thread}"]))

    def replace(self, thread: str) -> None:
        """Delete a thread and write it again, so that its row may get the place of another."""
        self.delete(thread)
        self.complete(thread)


def write(store: Store, threads: int, seed: int, running: Event, idle: Event, counts: Any) -> None:
    """Write while `running` is set, until the parent ends this process."""
    if store.is_file:
        verbs = original.on_sqlite(Path(store.address), timeout=30)
    else:
        verbs = original.Original(psycopg.connect(store.address, autocommit=True), "%s")
    writer, writes = Writer(verbs, threads, seed), Counter[str]()
    for number in range(threads):
        writer.record(f"thread {number}")
    while True:
        if not running.is_set():
            counts.put(writes)
            writes = Counter()
            idle.set()
            running.wait()
            idle.clear()
        writes[writer.write()] += 1


def run(store: Store, site: Path, seconds: float, threads: int, seed: int = 0) -> Outcome:
    """Run the writer and the site beside each other. Call this in a process of its own."""
    _set_up(store, site)
    from tasks.index import following

    context, outcome, rng = get_context("spawn"), Outcome(), random.Random(seed)
    running, idle, counts = context.Event(), context.Event(), context.Queue()
    arguments = (store, threads, seed, running, idle, counts)
    process = context.Process(target=write, args=arguments, daemon=True)
    process.start()
    idle.wait()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline or not outcome.rounds:
        idle.wait()
        outcome.writes += counts.get()
        _check(store, outcome, is_last=time.monotonic() > deadline)
        running.set()
        _use_site(outcome, rng, time.monotonic() + ROUND)
        running.clear()
        outcome.rounds += 1
    idle.wait()
    following.compare_all()
    outcome.faults += [f"at the end: {text}" for text in differences(store)]
    process.kill()
    process.join()
    return outcome


def _set_up(store: Store, site: Path) -> None:
    import os

    os.environ["SITE_DATABASE_URL"] = f"sqlite:///{site}"
    connect(database_url=store.url)
    from django.core.management import call_command

    from tasks.store import workspace

    workspace.prepare()
    call_command("migrate", database="default", verbosity=0)


def _use_site(outcome: Outcome, rng: random.Random, until: float) -> None:
    """List threads, clear some and restore them, while the writer writes."""
    from archive.models import Source
    from tasks.clearing import lifecycle, restoring
    from tasks.listing.filters import Filters
    from tasks.listing.thread_list import ThreadList

    actor = lifecycle.Actor(Source.CODE)
    while time.monotonic() < until:
        page = ThreadList(Filters()).page(20)
        if page.records and rng.random() < 0.2:
            ids = [str(record.thread_id) for record in rng.sample(page.records, 3)]
            clearing = lifecycle.clear(ids, actor, with_running=True)
            outcome.writes["cleared by the site"] += 3
            time.sleep(rng.uniform(0, 0.3))
            for _, reason in restoring.restore_each(clearing.threads.all()):
                outcome.writes["restored by the site"] += not reason


def _check(store: Store, outcome: Outcome, *, is_last: bool) -> None:
    """Compare the index with the store, of which nothing is written now."""
    from tasks.index import following

    while not (state := following.catch_up()).is_complete:
        pass
    after_look = differences(store)
    if state.is_small:
        outcome.faults += after_look + _wrong_lists(store)
    outcome.unnoticed += len(after_look)
    if after_look and (is_last or outcome.rounds % 10 == 0):
        following.compare_all()
        outcome.faults += differences(store) + _wrong_lists(store)


def differences(store: Store) -> list[str]:
    """Compare all rows of the index with the store, read through a plain driver."""
    from tasks.index.models import IndexedTask

    names = (*COLUMNS, "can_resume", "is_latest")
    indexed = {row[0]: row for row in IndexedTask.objects.values_list(*names)}
    stored = scan(store)
    return [
        f"{id_}: {indexed.get(id_)} in place of {stored.get(id_)}"
        for id_ in indexed.keys() | stored.keys()
        if indexed.get(id_) != stored.get(id_)
    ]


def scan(store: Store) -> Rows:
    """Return what the index should contain."""
    rows = [(*row[:-1], '"role":"user"' in row[-1]) for row in store.rows(SCAN)]
    latest: dict[str, tuple[str, str]] = {}
    for row in rows:
        latest[row[1]] = max(latest.get(row[1], ("", "")), (row[7], row[0]))
    return {row[0]: (*row, latest[row[1]] == (row[7], row[0])) for row in rows}


def _wrong_lists(store: Store) -> list[str]:
    from tasks.listing.filters import Filters
    from tasks.listing.thread_list import ThreadList

    latest = [row for row in scan(store).values() if row[-1]]
    expected = sorted(((row[7], row[0]) for row in latest), reverse=True)
    threads = ThreadList(Filters())
    listed = [record.task_id for record in threads.page(50).records]
    wrong = [] if listed == [id_ for _, id_ in expected[:50]] else [f"the list is {listed}"]
    counts, _ = threads.counts()
    if (count := counts[""]) != len(latest):
        wrong.append(f"the list counts {count} threads in place of {len(latest)}")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.index_run", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="in all; half of it each size")
    parser.add_argument("--postgresql", action="store_true", help="instead of SQLite")
    parser.add_argument("--folder", type=Path, help="where to put the store, on a disk")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    has_faults = False
    for threads in (SMALL, LARGE):
        with temporary_folder(options.folder) as folder:
            outcome = _run(folder, options, threads)
        has_faults |= bool(outcome.faults)
        writes = ", ".join(f"{number:,} {name}" for name, number in outcome.writes.most_common())
        print(f"{threads:,} threads: {outcome.rounds} comparisons; {writes}.")
        print(f"  {outcome.unnoticed} rows were found by comparisons only.")
        print(f"  {len(outcome.faults)} differences.", *outcome.faults[:10], sep="\n  ")
    sys.exit(has_faults)


def _run(folder: Path, options: argparse.Namespace, threads: int) -> Outcome:
    site, seconds = folder / "site.sqlite3", options.minutes * 60 / 2
    if not options.postgresql:
        store = Store.on_sqlite(folder)
        return in_new_process(run, store, site, seconds, threads, options.seed)
    with running_postgres(folder) as server:
        store = Store.on_postgresql(server)
        return in_new_process(run, store, site, seconds, threads, options.seed)


if __name__ == "__main__":
    main()
