"""Measures how long the daemon's writes wait, and how many are lost, while threads are cleared.

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
from benchmarks.isolation import temporary_folder

WRITER = "telegram_live"
PAUSE = 0.02  # seconds between writes
TEXT_SIZE = 20_000  # bytes per write
MAX_WAIT = 0.5  # seconds


@dataclass
class Update:
    """A checkpoint that the benchmark's writer saves in place of the daemon."""

    step_index: int
    execution_history: Any
    items: Any
    task_id: str = WRITER
    thread_id: str = WRITER
    channel: str = "telegram"
    provider: str = "p"
    model: str = "m"
    checkpoint_note: str | None = None


def write(file: Path, stop: Event, results: Any) -> None:
    """Keep writing until `stop` is set. Like the daemon, give up on a write after 5 seconds."""
    store = original.on_sqlite(file)
    history = [original.Message("user", "x" * TEXT_SIZE)]
    waits: list[float] = []
    lost = 0
    while not stop.is_set():
        start = time.monotonic()
        try:
            store.record_checkpoint(Update(len(waits) + lost, history, []))
            waits.append(time.monotonic() - start)
        except Exception:
            store.connection.rollback()
            lost += 1
        time.sleep(PAUSE)
    results.put((waits, lost))


def fill(file: Path, threads: int, size: int) -> None:
    """Create completed threads with `size` bytes of text in total, half of it in histories."""
    store = original.on_sqlite(file)
    thread_size = size // threads
    texts = [f"{number} " + os.urandom(thread_size // 8).hex() for number in range(16)]
    now = "2026-01-01T00:00:00+00:00"
    store.connection.execute("BEGIN")
    for number in range(threads):
        text, id_ = texts[number % 16] * 2, f"thread {number}"
        values = (id_, id_, "c", "p", "m", "completed", text, "[]", None, 2, None, None, now, now)
        store.connection.execute(
            "INSERT INTO task_records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)",
            values,
        )
        for step in range(2):
            store.connection.execute(
                original.STATEMENTS["add_checkpoint"], (id_, step, None, texts[number % 16], now)
            )
    store.connection.execute("COMMIT")
    store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.connection.close()


def set_up(file: Path, site: Path) -> None:
    """Create the site's tables and the store's indexes before the benchmark's writer starts."""
    os.environ["SITE_DATABASE_URL"] = f"sqlite:///{site}"
    from gloamy_site import connect

    connect(database_url=f"sqlite:///{file}")
    from django.core.management import call_command

    from tasks.store import workspace

    workspace.prepare()
    call_command("migrate", verbosity=0)


def clear() -> tuple[Any, float]:
    """Clear all completed threads; return the clearing and the seconds it took."""
    from archive.models import Source
    from tasks.clearing import lifecycle
    from tasks.models import TaskRecord

    completed = TaskRecord.objects.filter(status="completed")
    start = time.monotonic()
    ids = list(completed.values_list("thread_id", flat=True))
    clearing = lifecycle.clear(ids, lifecycle.Actor(Source.COMMAND, name="benchmark"))
    return clearing, time.monotonic() - start


def restore(clearing: Any) -> float:
    """Restore all threads of the clearing; return the seconds it took."""
    from tasks.clearing import restoring

    start = time.monotonic()
    for _ in restoring.restore_each(clearing.threads.all()):
        pass
    return time.monotonic() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--threads", type=int, default=10_000)
    parser.add_argument("--megabytes", type=int, default=1_000)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with temporary_folder(options.folder) as folder:
        file = folder / "tasks.db"
        fill(file, options.threads, options.megabytes * 10**6)
        set_up(file, folder / "site.sqlite3")
        sys.exit(measure(file, folder / "site.sqlite3"))


def measure(file: Path, site: Path) -> int:
    """Clear threads during writes and print the results. Return 1 if writes were lost or slow."""
    spawn = get_context("spawn")
    stop, results = spawn.Event(), spawn.Queue()
    writer = spawn.Process(target=write, args=(file, stop, results))
    writer.start()
    time.sleep(2)  # let the writer run alone at first
    clearing, seconds = clear()
    stop.set()
    waits, lost = results.get()
    writer.join()
    longest = max(waits)
    print(f"{clearing} ({clearing.size / 1e6:.0f} MB, {clearing.kept} kept) in {seconds:.1f} s.")
    print(
        f"The writer wrote {len(waits)} times and lost {lost}; it waited {longest * 1e3:.0f} ms at"
        f" most, {statistics.median(waits) * 1e3:.1f} ms in the median."
    )
    archived = site.stat().st_size
    seconds = restore(clearing)
    print(
        f"All were restored in {seconds:.1f} s. The site's database had {archived / 1e6:.0f} MB"
        f" before that, and has {site.stat().st_size / 1e6:.0f} MB now."
    )
    return int(bool(lost) or longest > MAX_WAIT)


if __name__ == "__main__":
    main()
