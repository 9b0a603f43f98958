"""Tests that short benchmark runs detect faults and that their table marks slow operations."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import agents, audit, crash, index_run, indexes, original, stress, table, workload
from benchmarks.audit import Store
from benchmarks.calls import VERBS
from benchmarks.isolation import in_new_process
from benchmarks.stress_work import Step, Writer
from benchmarks.workload import SIZES
from gloamy_site import connect
from tasks.index import following
from tasks.index.models import IndexedTask
from tasks.models import TaskRecord
from tests.support import postgres
from tests.support.factories import skip, task

PROCESSES = 3
WRITES = 240  # divides evenly among the processes, and among the writers in each process


@pytest.fixture(scope="module")
def stressed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, stress.Outcome]:
    store = Store.on_sqlite(tmp_path_factory.mktemp("stressed"))
    return store, stress.run(store, WRITES, PROCESSES)


def writes_by_kind(outcome: stress.Outcome) -> dict[str, int]:
    writes: dict[str, int] = {}
    for log in outcome.logs:
        kind = log.writer.split("-")[0]
        writes[kind] = writes.get(kind, 0) + log.writes
    return writes


def test_stress_run_with_the_original_on_sqlite_loses_no_write(stressed):
    _, outcome = stressed
    assert outcome.faults == []
    assert writes_by_kind(outcome) == {"original": 80, "threads": 80, "coroutines": 80}


def test_stress_run_with_moves_and_clears_on_postgresql_loses_no_write(tmp_path: Path):
    if reason := postgres.unavailable_reason():
        skip(reason)
    with postgres.running_postgres(tmp_path) as server:
        outcome = stress.run(Store.on_postgresql(server), WRITES, PROCESSES)
    assert outcome.faults == []
    assert writes_by_kind(outcome) == {"threads": 160, "coroutines": 80}
    assert sum(log.loads for log in outcome.logs) > 0


def test_simulated_agents_write_when_they_are_due(tmp_path: Path):
    if reason := postgres.unavailable_reason():
        skip(reason)
    with postgres.running_postgres(tmp_path) as server:
        store = Store.on_postgresql(server)
        in_new_process(connect, database_url=store.url)
        latencies = agents.measure(store, agents=40, pause=0.5, seconds=1)
        steps = store.rows(audit.CHECKPOINTS)
        assert list(audit.inconsistencies(store)) == []
    assert 0 < len(steps) <= len(latencies)
    assert min(latencies) > 0


@pytest.mark.parametrize(
    ("tampering", "message"),
    [
        ("DELETE FROM task_checkpoints WHERE task_id LIKE 'kept-%'", "lost"),
        ("UPDATE task_checkpoints SET checkpoint_note = 'nobody:1'", "nobody was told of nobody:1"),
        ("UPDATE task_records SET checkpoint_count = checkpoint_count + 1", "checkpoint_count is"),
        ("DELETE FROM task_records WHERE task_id LIKE 'kept-%'", "checkpoints without their task"),
        ("UPDATE task_records SET status = 'failed'", "in place of"),
        ("UPDATE task_checkpoints SET created_at = 9999999 - id", ", after "),
    ],
)
def test_stress_run_detects_tampering(stressed, tmp_path: Path, tampering: str, message: str):
    store, outcome = stressed
    shutil.copytree(Path(store.address).parent, tmp_path, dirs_exist_ok=True)
    with closing(sqlite3.connect(tmp_path / "tasks.db")) as connection, connection:
        connection.execute(tampering)
    faults = list(stress.faults(Store.on_sqlite(tmp_path), outcome.logs))
    assert [fault for fault in faults if message in fault] != []


def test_writer_detects_a_torn_read():
    writer = Writer("threads-0", 0, None, None)
    whole = SimpleNamespace(task_id="moving-0", checkpoint_count=1, checkpoints=["one"])
    torn = SimpleNamespace(task_id="moving-1", checkpoint_count=2, checkpoints=["one"])
    for result in (None, whole, torn):
        writer.done(Step("load_by_thread_id", "thread-0"), result, seconds=0)
    assert writer.log.loads == 3
    assert writer.log.torn == ["moving-1: torn read, thread-0"]


def test_crash_run_loses_no_acknowledged_write(tmp_path: Path):
    outcome = in_new_process(crash.run, Store.on_sqlite(tmp_path), kills=10, seed=1)
    assert outcome.faults == []
    assert outcome.lives == 10
    assert outcome.acknowledged >= 5  # every other writer is killed only after its first write


@pytest.mark.parametrize(("acknowledged", "count"), [(2, None), (3, 4), (4, 4), (5, None)])
def test_crash_run_counts_every_write(tmp_path: Path, acknowledged, count):
    store = Store.on_sqlite(tmp_path)
    verbs = original.on_sqlite(Path(store.address))
    changes = {
        "record": workload.update("run", [], 1, "7:1"),
        "complete": workload.snapshot("run", [], "completed", "7:2"),
        "keep": workload.update("kept", [], 1, "7:3"),
    }
    assert crash.STEPS[:4] == ["clear", *changes]
    verbs.delete_by_thread_id("run")
    verbs.record_checkpoint(original.values(changes["record"]))
    verbs.save_snapshot(original.values(changes["complete"]))
    verbs.record_checkpoint(original.values(changes["keep"]))
    verbs.connection.close()

    assert crash.count_writes(store, 7, ([], None), acknowledged) == count
    assert crash.count_writes(store, 7, (["6:3"], None), acknowledged) is None


def test_index_run_finds_no_difference(tmp_path: Path):
    store, site = Store.on_sqlite(tmp_path), tmp_path / "site.sqlite3"
    outcome = in_new_process(index_run.run, store, site, seconds=3, threads=30)
    assert outcome.faults == []
    assert outcome.rounds >= 1
    assert outcome.writes.keys() >= {"record", "complete"}


@pytest.mark.django_db(databases="__all__", transaction=True)
@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_index_run_detects_a_difference(store, store_file: Path):
    plain = Store("sqlite:", str(store_file))
    for name in ("one", "two"):
        task(name)
    following.catch_up(background=False)
    assert index_run.differences(plain) == []

    IndexedTask.objects.filter(task_id="one").update(channel="another")
    TaskRecord.objects.filter(task_id="two").delete()

    differences = sorted(text.partition(":")[0] for text in index_run.differences(plain))
    assert differences == ["one", "two"]


def test_table_marks_results_slower_than_their_bound():
    seconds = {"ours": 2.4e-5, "floor": 1e-5, "langgraph": 4.8e-5}
    medians = {(verb, str(size)): seconds for verb in VERBS for size in SIZES}

    rows = [row[1:] for row in table.rows("SQLite", medians)]

    two, twenty, thousand = (str(SIZES[i]) for i in (0, 1, -1))
    peers = ["48", "2.0", table.ABSENT, table.ABSENT]
    assert len(rows) == len(VERBS) * len(SIZES)
    assert rows[:2] == [
        ["record_checkpoint", two, "24", "10", "2.40", "≤ 2.5", "", *peers],
        ["record_checkpoint", twenty, "24", "10", "2.40", "≤ 2.2", table.MISSED, *peers],
    ]
    assert rows[-1] == ["delete_by_thread_id", thousand, "24", "10", "2.40", "", "", *peers]
    server = [row[6:8] for row in table.rows("PostgreSQL", medians)]
    assert server[:4] == [["≤ 1.5", table.MISSED], ["", ""], ["≤ 1.15", table.MISSED], ["", ""]]
    assert table.resume_ratio("SQLite", medians).endswith(f"(at least 10) {table.MISSED}")


def test_cost_of_indexes_is_measured_on_equal_stores(tmp_path: Path):
    verbs = indexes.on_sqlite(tmp_path, 20)
    indexes.add_indexes(verbs)
    times = indexes.measure(verbs, SIZES[0], 20, rounds=3)

    assert [(name, len(values)) for name, values in times.items()] == [
        ("none", 3),
        ("one", 3),
        ("four", 3),
    ]
    stores = [Store("sqlite:", str(tmp_path / f"{name}.db")) for name in verbs]
    tasks = [store.rows("SELECT task_id, checkpoint_count FROM task_records") for store in stores]
    assert sorted(tasks[0]) == sorted(tasks[1]) == sorted(tasks[2])
    count = "SELECT count(*) FROM sqlite_master WHERE name LIKE 'additional%'"
    assert [store.rows(count) for store in stores] == [[(0,)], [(1,)], [(4,)]]
