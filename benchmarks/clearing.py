"""A clear of many threads while the daemon's stand-in writes: how long that waits, what it loses.

python -m benchmarks.clearing [--threads 10000] [--megabytes 1000] [--folder FOLDER]
"""

import argparse
import os
import statistics
import sys
import time
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from benchmarks import original
from benchmarks.apart import working_folder

WRITER = "telegram_live"
PAUSE = 0.02  # seconds between two writes of the stand-in
TEXT = 20_000  # bytes that it writes each time
LIMIT = 0.5  # seconds that it may wait


@dataclass
class Update:
    """What the stand-in writes at each step."""

    step_index: int
    execution_history: Any
    items: Any
    task_id: str = WRITER
    thread_id: str = WRITER
    channel: str = "telegram"
    provider: str = "p"
    model: str = "m"
    checkpoint_note: str | None = None


def write(file: Path, stop: Event, answers: Any) -> None:
    """Write steps as the daemon does, which gives up after 5 seconds, until told to stop."""
    store = original.on_sqlite(file)
    history = [original.Message("user", "x" * TEXT)]
    waits: list[float] = []
    lost = 0
    while not stop.is_set():
        began = time.monotonic()
        try:
            store.record_checkpoint(Update(len(waits) + lost, history, []))
            waits.append(time.monotonic() - began)
        except Exception:
            store.connection.rollback()
            lost += 1
        time.sleep(PAUSE)
    answers.put((waits, lost))


def fill(file: Path, threads: int, size: int) -> None:
    """Threads that have ended, of one size in all, half of it in the histories."""
    store = original.on_sqlite(file)
    each = size // threads
    texts = [f"{number} " + os.urandom(each // 8).hex() for number in range(16)]
    when = "2026-01-01T00:00:00+00:00"
    store.connection.execute("BEGIN")
    for number in range(threads):
        text, id_ = texts[number % 16] * 2, f"thread {number}"
        values = (id_, id_, "c", "p", "m", "completed", text, "[]", None, 2, None, None, when, when)
        store.connection.execute(
            "INSERT INTO task_records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)",
            values,
        )
        for step in range(2):
            store.connection.execute(
                original.STATEMENTS["add_checkpoint"], (id_, step, None, texts[number % 16], when)
            )
    store.connection.execute("COMMIT")
    store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.connection.close()


def set_up(file: Path, site: Path) -> None:
    """Make the tables of the site, and the store's indexes, while nobody waits for its lock."""
    os.environ["SITE_DATABASE_URL"] = f"sqlite:///{site}"
    from gloamy_site import connect

    connect(database_url=f"sqlite:///{file}")
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def clear() -> tuple[Any, float]:
    """Clear all that has ended; the act, and how long it took."""
    from archive.models import Source
    from tasks.clearing import lifecycle
    from tasks.models import TaskRecord

    ended = TaskRecord.objects.filter(status="completed")
    began = time.monotonic()
    ids = list(ended.values_list("thread_id", flat=True))
    act = lifecycle.clear(ids, lifecycle.Actor(Source.COMMAND, name="benchmark"))
    return act, time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--threads", type=int, default=10_000)
    parser.add_argument("--megabytes", type=int, default=1_000)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with working_folder(options.folder) as folder:
        file = folder / "tasks.db"
        fill(file, options.threads, options.megabytes * 10**6)
        set_up(file, folder / "site.sqlite3")
        sys.exit(measure(file))


def measure(file: Path) -> int:
    """Print what was measured; 1 where the stand-in lost something or waited for too long."""
    spawning = get_context("spawn")
    stop, answers = spawning.Event(), spawning.Queue()
    writer = spawning.Process(target=write, args=(file, stop, answers))
    writer.start()
    time.sleep(2)  # it writes alone at first
    act, took = clear()
    stop.set()
    waits, lost = answers.get()
    writer.join()
    longest = max(waits)
    print(f"{act} ({act.size / 1e6:.0f} MB, {act.kept} kept) in {took:.1f} s.")
    print(
        f"The writer wrote {len(waits)} times and lost {lost}; it waited {longest * 1e3:.0f} ms at"
        f" most, {statistics.median(waits) * 1e3:.1f} ms in the median."
    )
    return int(bool(lost) or longest > LIMIT)


if __name__ == "__main__":
    main()
