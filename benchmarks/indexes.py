"""Measures what additional indexes in the agent's store cost the original's writes.

python -m benchmarks.indexes [--tasks 1000000] [--rounds 2000] [--only sqlite|postgresql]
    [--folder FOLDER]
"""

import argparse
import random
import shutil
import statistics
import time
from pathlib import Path

import psycopg

from benchmarks import generated, original, workload
from benchmarks.audit import Store
from benchmarks.isolation import temporary_folder
from benchmarks.workload import SIZES, Size
from tests.support.postgres import running_postgres

UPDATED = "updated_at DESC, task_id DESC"
VARIANTS = {
    "none": (),
    "one": (UPDATED,),  # ours
    "four": (  # those of earlier versions
        UPDATED,
        f"status, {UPDATED}",
        "created_at DESC, task_id DESC",
        "checkpoint_count DESC, task_id DESC",
    ),
}
TASK_SIZE = 1_000  # bytes in each history
ACTIVE = 50  # tasks that are written in turn
WARM_UP_ROUNDS = 200  # in which each of them is read into memory

Verbs = dict[str, original.Original]  # by variant


def on_sqlite(folder: Path, tasks: int) -> Verbs:
    store = Store.on_sqlite(folder)
    original.on_sqlite(Path(store.address)).connection.close()
    generated.fill(store, tasks, TASK_SIZE)
    verbs = {}
    for name in VARIANTS:
        file = folder / f"{name}.db"
        shutil.copy(store.address, file)
        verbs[name] = original.on_sqlite(file)
    return verbs


def on_postgresql(server: dict[str, str], tasks: int) -> Verbs:
    tables = original.TABLES.replace(original.SQLITE_KEY, original.POSTGRESQL_KEY)
    with psycopg.connect(Store.on_postgresql(server).address, autocommit=True) as connection:
        connection.execute("CREATE DATABASE none")
        store = Store.on_postgresql(server | {"NAME": "none"})
        with psycopg.connect(store.address) as none:
            none.execute(tables.encode())
        generated.fill(store, tasks, TASK_SIZE)
        connection.execute("CREATE DATABASE one TEMPLATE none")
        connection.execute("CREATE DATABASE four TEMPLATE none")
    stores = {name: Store.on_postgresql(server | {"NAME": name}) for name in VARIANTS}
    return {
        name: original.Original(psycopg.connect(store.address, autocommit=True), "%s")
        for name, store in stores.items()
    }


def add_indexes(verbs: Verbs) -> None:
    for name, indexes in VARIANTS.items():
        execute = verbs[name].connection.execute
        for number, columns in enumerate(indexes):
            execute(f"CREATE INDEX additional_{number} ON task_records ({columns})")


def measure(verbs: Verbs, size: Size, tasks: int, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each write; in each round, each variant makes the same write."""
    messages, rng, order = workload.history(size), random.Random(0), list(verbs)
    ids = [generated.Tasks.id(rng.randrange(tasks)) for _ in range(ACTIVE)]
    times: dict[str, list[float]] = {name: [] for name in verbs}
    for step in range(-WARM_UP_ROUNDS, rounds):
        update = original.values(
            workload.update(rng.choice(ids), messages, step + WARM_UP_ROUNDS, "a step is done")
        )
        rng.shuffle(order)
        for name in order:
            start = time.perf_counter()
            verbs[name].record_checkpoint(update)
            if step >= 0:
                times[name].append(time.perf_counter() - start)
    return times


def report(database: str, verbs: Verbs, tasks: int, rounds: int) -> None:
    add_indexes(verbs)
    for size in SIZES[:3]:
        times = measure(verbs, size, tasks, rounds)
        medians = {name: statistics.median(values) * 1e6 for name, values in times.items()}
        cells = (f"{median:.0f} µs" for median in medians.values())
        more = [f"{medians[name] / medians['none'] - 1:+.0%}" for name in ("one", "four")]
        print(f"| {database}, {size} | {' | '.join(cells)} | {' | '.join(more)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=2_000)
    parser.add_argument("--only", choices=["sqlite", "postgresql"])
    parser.add_argument("--folder", type=Path, help="where to create the stores")
    options = parser.parse_args()
    print("| `record_checkpoint` | none | one | four | one | four |\n|---|--:|--:|--:|--:|--:|")
    if options.only != "postgresql":
        with temporary_folder(options.folder) as folder:
            verbs = on_sqlite(folder, options.tasks)
            report("SQLite", verbs, options.tasks, options.rounds)
    if options.only != "sqlite":
        with temporary_folder(options.folder) as folder, running_postgres(folder) as settings:
            verbs = on_postgresql(settings, options.tasks)
            report("PostgreSQL", verbs, options.tasks, options.rounds)


if __name__ == "__main__":
    main()
