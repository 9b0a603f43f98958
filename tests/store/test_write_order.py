"""Tests that write times follow the order of commits, whatever the system clock does."""

import threading
from collections.abc import Callable

import pytest
from django.db import connections
from django.db.models import Value

from gloamy_site import routers
from tasks import service
from tasks.fields import is_canonical, next_nanosecond
from tasks.models import TaskRecord, TaskStatus
from tasks.store import transactions
from tests.support.factories import loaded, only_sqlite, overwrite, rows, snapshot, task, update

pytestmark = pytest.mark.django_db(databases="__all__")

NOON = "2026-01-01T12:00:00+00:00"
EARLIER = "2026-01-01T11:00:00.123456789+00:00"
WRITES: list[Callable[[str, str], None]] = [
    lambda task_id, thread_id: service.record_checkpoint(
        update(task_id=task_id, thread_id=thread_id)
    ),
    lambda task_id, thread_id: service.save_snapshot(
        snapshot(task_id=task_id, thread_id=thread_id)
    ),
    lambda task_id, thread_id: service.save_snapshot(
        snapshot(task_id=task_id, thread_id=thread_id, status=TaskStatus.FAILED)
    ),
]
write = pytest.mark.parametrize("write", WRITES, ids=["record", "save running", "save failed"])


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    return lambda now: monkeypatch.setattr(transactions, "now_rfc3339", lambda: now)


def time_of(task_id: str) -> str:
    [task_row] = [
        row for row in rows(connections[routers.STORE], "task_records") if row["task_id"] == task_id
    ]
    assert is_canonical(task_row["updated_at"])
    return str(task_row["updated_at"])


@write
@pytest.mark.parametrize("then", [NOON, EARLIER], ids=["stands still", "goes back"])
def test_last_write_is_the_latest_of_its_thread_for_any_clock(store, set_clock, write, then):
    set_clock(NOON)
    write("z", "thread")  # this task would be the latest if only ids were compared
    set_clock(then)
    write("a", "thread")
    assert loaded("thread").task_id == "a"
    assert (time_of("z"), time_of("a")) == (NOON, next_nanosecond(NOON))


@write
def test_write_has_a_single_time(store, set_clock, write):
    set_clock(NOON)
    write("b", "thread")
    set_clock(EARLIER)
    write("a", "thread")
    stored = loaded("thread")
    times = {stored.created_at, stored.updated_at, *(c.created_at for c in stored.checkpoints)}
    assert times | {stored.completed_at or next_nanosecond(NOON)} == {next_nanosecond(NOON)}


@write
def test_writes_of_a_task_are_in_order_when_the_clock_goes_back(store, set_clock, write):
    times = []
    for now in (NOON, EARLIER, NOON, EARLIER):
        set_clock(now)
        write("task", "thread")
        times.append(time_of("task"))
    assert times == sorted(set(times))
    assert rows(store, "task_records")[0]["created_at"] == NOON


@write
def test_task_that_changes_its_thread_keeps_its_order(store, set_clock, write):
    set_clock(NOON)
    write("mover", "old")
    set_clock(EARLIER)
    write("other", "new")
    write("mover", "new")
    assert (time_of("other"), time_of("mover")) == (EARLIER, next_nanosecond(NOON))
    assert loaded("new").task_id == "mover"


@write
def test_clock_that_advances_is_used_unchanged(store, set_clock, write):
    set_clock(EARLIER)
    write("a", "thread")
    write("b", "other thread")
    set_clock(NOON)
    write("a", "thread")
    assert (time_of("a"), time_of("b")) == (NOON, EARLIER)


@write
@pytest.mark.parametrize("stored", ["", "soon", "2026-01-01 13:00:00", "9999"])
def test_stored_text_other_than_a_timestamp_is_ignored(store, set_clock, write, stored):
    task("a", thread_id="thread")
    overwrite(store, "task_records", "updated_at", stored)
    set_clock(NOON)
    write("a", "thread")
    assert time_of("a") == NOON


@write
def test_other_text_does_not_hide_a_timestamp(store, set_clock, write):
    set_clock(NOON)
    write("a", "thread")
    task("b", thread_id="thread")
    TaskRecord.objects.filter(task_id="b").update(updated_at=Value("2030-01-01T00:00:00Z"))
    set_clock(EARLIER)
    write("a", "thread")
    assert time_of("a") == next_nanosecond(NOON)


@only_sqlite
@write
@pytest.mark.parametrize("stored", ["x'ff'", "CAST(x'ff' AS TEXT)", "5"])
def test_stored_value_other_than_text_is_ignored(store, set_clock, write, stored):
    task("a", thread_id="thread")
    with store.cursor() as cursor:
        cursor.execute(f"UPDATE task_records SET updated_at = {stored}")
    set_clock(NOON)
    write("a", "thread")
    assert time_of("a") == NOON


@write
def test_maximum_time_is_repeated(store, set_clock, write):
    last = "9999-12-31T23:59:59.999999999+00:00"
    set_clock(last)
    write("a", "thread")
    set_clock(NOON)
    write("a", "thread")
    assert time_of("a") == last


def test_tasks_of_the_same_time_sort_by_id(store):
    for task_id in ("b", "c", "a"):
        task(task_id, thread_id="thread")
    overwrite(store, "task_records", "updated_at", NOON)
    assert loaded("thread").task_id == "c"


@pytest.mark.django_db(databases="__all__", transaction=True)
def test_writes_of_a_thread_commit_in_the_order_of_their_times(store, set_clock):
    """Concurrent tasks in one thread get distinct times even if the clock has stopped."""
    set_clock(NOON)

    def work(task_id: str) -> None:
        try:
            for step_index in range(15):
                service.record_checkpoint(
                    update(task_id=task_id, thread_id="thread", step_index=step_index)
                )
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work, args=(task_id,)) for task_id in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    times = [row["created_at"] for row in rows(store, "task_checkpoints")]
    assert len(set(times)) == len(times) == 45
    assert times == sorted(times)  # rows are sorted by id, which is assigned under the same lock
    assert times[-1] == loaded("thread").updated_at
