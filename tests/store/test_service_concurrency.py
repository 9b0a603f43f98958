"""Tests with programs that write concurrently; on SQLite, one may be the original program."""

import sqlite3
import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
from django.db import Error, connections, transaction

from tasks import service
from tasks.fields import now_rfc3339
from tasks.models import TaskStatus
from tasks.store import statements, transactions, workspace
from tasks.store.workspace import REQUIRED_PRAGMAS
from tests.support.factories import (
    TASK,
    loaded,
    only_postgresql,
    only_sqlite,
    rows,
    snapshot,
    update,
)

pytestmark = pytest.mark.django_db(databases="__all__")


ORIGINAL_CHECKPOINT = """
    INSERT INTO task_records (task_id, thread_id, channel, provider, model, status,
        execution_history_json, resumable_history_json, latest_checkpoint_note, checkpoint_count,
        created_at, updated_at)
    VALUES (:task_id, :thread_id, :channel, :provider, :model, 'running', '[]', COALESCE(
        (SELECT resumable_history_json FROM task_records WHERE task_id = :task_id), '[]'),
        NULL, 1, :now, :now)
    ON CONFLICT(task_id) DO UPDATE SET
        thread_id = excluded.thread_id,
        channel = excluded.channel,
        provider = excluded.provider,
        model = excluded.model,
        status = excluded.status,
        execution_history_json = excluded.execution_history_json,
        latest_checkpoint_note = excluded.latest_checkpoint_note,
        checkpoint_count = task_records.checkpoint_count + 1,
        updated_at = excluded.updated_at"""
ORIGINAL_STEP = """
    INSERT INTO task_checkpoints (task_id, step_index, checkpoint_note, items_json, created_at)
    VALUES (:task_id, :step_index, NULL, '[]', :now)"""


def open_as_the_original(file: Path, timeout: float = 5) -> sqlite3.Connection:
    connection = sqlite3.connect(file, timeout=timeout, isolation_level=None)
    connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")
    return connection


def checkpoint_as_the_original(connection: sqlite3.Connection, step_index: int) -> None:
    values = {**TASK, "step_index": step_index, "now": now_rfc3339()}
    connection.execute("BEGIN")
    connection.execute(ORIGINAL_CHECKPOINT, values)
    connection.execute(ORIGINAL_STEP, values)
    connection.execute("COMMIT")


def in_threads(*calls: Callable[[], None]) -> list[Exception]:
    """Run all calls concurrently in threads and return the exceptions that they raise."""
    errors: list[Exception] = []

    def run(call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


@only_sqlite
@pytest.mark.django_db(databases="__all__", transaction=True)
def test_connection_has_the_required_pragmas(store):
    with store.cursor() as cursor:
        answers = {
            name: cursor.execute(f"PRAGMA {name}").fetchone()[0] for name in REQUIRED_PRAGMAS
        }
    assert answers == {
        "journal_mode": "wal",
        "synchronous": 1,
        "busy_timeout": 30_000,
        "foreign_keys": 1,
    }


@only_sqlite
@pytest.mark.django_db(databases="__all__", transaction=True)
def test_writing_verbs_do_not_wait_for_a_reader(store, store_file):
    service.save_snapshot(snapshot())
    reader = open_as_the_original(store_file)
    reader.execute("BEGIN")
    assert reader.execute("SELECT status FROM task_records").fetchall() == [("running",)]
    service.record_checkpoint(update())
    service.save_snapshot(snapshot(status=TaskStatus.COMPLETED))
    service.delete_by_thread_id("other")
    assert reader.execute("SELECT status FROM task_records").fetchall() == [("running",)]
    reader.execute("COMMIT")
    assert reader.execute("SELECT status FROM task_records").fetchall() == [("completed",)]
    reader.close()


@only_sqlite
@pytest.mark.django_db(databases="__all__", transaction=True)
@pytest.mark.parametrize("verb", [service.load_by_thread_id, service.load_resumable_state])
def test_reading_verbs_take_no_lock_and_see_one_state(store, store_file, verb):
    service.record_checkpoint(update())
    service.save_snapshot(snapshot())
    before = verb("telegram_42")
    agent = open_as_the_original(store_file, timeout=0)
    writes: list[str] = []

    def write_after(execute, sql, *arguments):
        result = execute(sql, *arguments)
        if sql.lstrip().startswith("SELECT"):  # the verb has just read the store
            checkpoint_as_the_original(agent, len(writes))
            writes.append(sql)
        return result

    with store.execute_wrapper(write_after):
        assert verb("telegram_42") == before
    agent.close()
    assert len(writes) == {"load_by_thread_id": 2, "load_resumable_state": 1}[verb.__name__]
    assert loaded().checkpoint_count == 1 + len(writes)


@only_sqlite
@pytest.mark.django_db(databases="__all__", transaction=True)
@pytest.mark.parametrize(
    "call",
    [
        lambda: service.save_snapshot(snapshot()),
        lambda: service.record_checkpoint(update()),
        lambda: service.delete_by_thread_id("telegram_42"),
    ],
    ids=["save", "record", "delete"],
)
def test_writing_verbs_take_the_lock_with_their_first_statement(store, store_file, call):
    agent = open_as_the_original(store_file, timeout=0)
    locked = []

    def try_to_write_after(execute, sql, *arguments):
        result = execute(sql, *arguments)
        if sql == "BEGIN":  # BEGIN does not take a lock yet
            return result
        try:
            agent.executescript("BEGIN IMMEDIATE; ROLLBACK")
            locked.append(False)
        except sqlite3.OperationalError as error:
            locked.append(str(error) == "database is locked")
        return result

    with store.execute_wrapper(try_to_write_after):
        call()
    assert set(locked) == {True}
    agent.executescript("BEGIN IMMEDIATE; ROLLBACK")
    agent.close()


@only_sqlite
@pytest.mark.django_db(databases="__all__", transaction=True)
def test_verbs_and_the_original_lose_no_write_to_each_other(store, store_file):
    def write() -> None:
        for step_index in range(50):
            service.record_checkpoint(update(step_index=step_index))

    def write_as_the_original() -> None:
        agent = open_as_the_original(store_file)
        for step_index in range(50):
            checkpoint_as_the_original(agent, step_index)
        agent.close()

    assert in_threads(write, write, write_as_the_original) == []
    stored = loaded()
    assert (stored.checkpoint_count, len(stored.checkpoints)) == (150, 150)


@pytest.mark.django_db(databases="__all__", transaction=True)
def test_concurrent_starts_and_ends_leave_correct_counts(store):
    def work() -> None:
        for step_index in range(20):
            service.record_checkpoint(update(step_index=step_index))
            service.save_snapshot(snapshot(status=TaskStatus.COMPLETED))
            service.save_snapshot(snapshot(status=TaskStatus.RUNNING))

    assert in_threads(work, work) == []
    stored = loaded()
    assert stored.checkpoint_count == len(stored.checkpoints)


@pytest.mark.django_db(databases="__all__", transaction=True)
@pytest.mark.parametrize("is_new", [False, True], ids=["known task", "new task"])
def test_writes_commit_in_the_order_of_their_times(store, monkeypatch, is_new):
    if not is_new:
        service.record_checkpoint(update())
    other = threading.Thread(target=in_threads, args=(lambda: service.record_checkpoint(update()),))

    def slow_clock() -> str:
        now = now_rfc3339()
        if threading.current_thread() is threading.main_thread():
            other.start()
            other.join(timeout=0.3)  # enough for the other write to commit unless it is blocked
        return now

    monkeypatch.setattr(transactions, "now_rfc3339", slow_clock)
    service.record_checkpoint(update())
    other.join()
    times = [row["created_at"] for row in rows(store, "task_checkpoints")]
    assert times == sorted(times)
    assert rows(store, "task_records")[0]["updated_at"] == times[-1]


@only_postgresql
@pytest.mark.django_db(databases="__all__", transaction=True)
@pytest.mark.parametrize("within", [nullcontext, transaction.atomic], ids=["alone", "within"])
def test_load_on_postgresql_sees_one_state(store, within):
    service.record_checkpoint(update())
    before = loaded()
    reads = []

    def write_elsewhere_after(execute, sql, *arguments):
        result = execute(sql, *arguments)
        if sql.lstrip().startswith("SELECT"):
            reads.append(sql)
            assert in_threads(lambda: service.record_checkpoint(update())) == []
        return result

    with within(store.alias), store.execute_wrapper(write_elsewhere_after):
        assert loaded() == before
    assert len(reads) == 1
    assert loaded().checkpoint_count == 2


def test_load_works_inside_a_transaction_of_the_caller(store):
    with transaction.atomic(using=store.alias):
        service.save_snapshot(snapshot())
        assert loaded().thread_id == "telegram_42"


@only_postgresql
@pytest.mark.django_db(databases="__all__", transaction=True)
def test_write_on_a_lost_connection_is_repeated(store):
    service.record_checkpoint(update())
    backends = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s"
    with store.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        [pid] = cursor.fetchone()
    other = store.copy()
    with other.cursor() as cursor:
        cursor.execute(backends, (pid,))
    other.close()

    service.record_checkpoint(update(step_index=2))
    assert loaded().checkpoint_count == 2

    assert [step.step_index for step in loaded().checkpoints] == [1, 2]


@pytest.mark.django_db(databases="__all__", transaction=True)
@pytest.mark.parametrize("error", [KeyboardInterrupt, Error])
def test_write_that_fails_halfway_stores_nothing_and_leaves_no_lock(store, monkeypatch, error):
    def interrupt() -> str:
        raise KeyboardInterrupt

    service.record_checkpoint(update())
    before = rows(store, "task_records")
    with monkeypatch.context() as patch, pytest.raises(error):
        if error is KeyboardInterrupt:
            patch.setattr(transactions, "now_rfc3339", interrupt)
        else:
            patch.setattr(statements, "ADD_CHECKPOINT", "SELECT %(absent)s")
        service.record_checkpoint(update())
    assert rows(store, "task_records") == before
    assert in_threads(lambda: service.record_checkpoint(update())) == []
    assert loaded().checkpoint_count == 2


@only_postgresql
@pytest.mark.django_db(databases="__all__", transaction=True)
def test_statements_of_the_verbs_are_prepared(store):
    for step_index in range(workspace.PREPARE_THRESHOLD + 1):
        service.record_checkpoint(update(step_index=step_index))
    with store.connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%INSERT%'"
        )
        assert cursor.fetchone() == (2,)
    assert store.connection.prepare_threshold is None  # or it would keep all that Django executes
