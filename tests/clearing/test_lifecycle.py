"""Tests of what a clearing deletes, keeps and records, on both databases."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.db import OperationalError, connections

from archive.models import (
    ClearedThread,
    Clearing,
    Fate,
    Source,
    Stage,
    ThreadArchive,
    last_clearings,
)
from tasks import service
from tasks.clearing import batches, clear_threads, lifecycle, restoring, summaries
from tasks.clearing.lifecycle import Actor
from tasks.models import TaskCheckpoint, TaskRecord
from tasks.store import thread_rows, workspace
from tests.support import odd_rows
from tests.support.factories import checkpoint, history, only_sqlite, snapshot, task, update

pytestmark = pytest.mark.django_db(databases="__all__")

BY = Actor(Source.COMMAND, name="maya", address="host")


def fates() -> dict[str, str]:
    return {row.thread_id: row.fate for row in ClearedThread.objects.all()}


def completed_task(task_id: str, **fields) -> TaskRecord:
    return task(task_id, status="completed", **fields)


def test_clear_deletes_whole_threads_and_no_others(store):
    for name, thread_id in (("a", "mine"), ("b", "mine"), ("c", "other")):
        checkpoint(completed_task(name, thread_id=thread_id))

    clearing = lifecycle.clear(["mine"], BY)

    assert [record.task_id for record in TaskRecord.objects.all()] == ["c"]
    assert [step.task_id for step in TaskCheckpoint.objects.all()] == ["c"]
    assert (clearing.planned, clearing.cleared, clearing.kept) == (1, 1, 0)
    assert (clearing.tasks, clearing.checkpoints, clearing.stage) == (2, 2, Stage.DONE)


def test_clear_records_user_reason_and_counts(store):
    user = get_user_model().objects.create_user("maya")
    service.record_checkpoint(update())
    service.save_snapshot(snapshot(status="completed"))
    size = thread_rows.read("telegram_42").size

    lifecycle.clear(["telegram_42"], Actor(Source.LIST, user, address="::1"), reason="too old")

    clearing = Clearing.objects.get()
    assert (clearing.user, clearing.user_name, clearing.source, clearing.address) == (
        user,
        "maya",
        "list",
        "::1",
    )
    assert (clearing.reason, clearing.size, str(clearing)) == ("too old", size, "Cleared 1 thread")
    assert clearing.finished_at is not None
    row = clearing.threads.get()
    assert (row.thread_id, row.title, row.status) == ("telegram_42", "hello", "completed")
    entry = LogEntry.objects.get()
    assert (entry.user, entry.object_repr, entry.change_message) == (user, str(clearing), "too old")
    user.delete()
    assert Clearing.objects.get().user_name == "maya"


def test_running_thread_is_kept_by_default(store):
    task("at work")
    completed_task("over")

    first = lifecycle.clear(["at work", "over"], BY)
    assert (first.cleared, first.kept) == (1, 1)
    assert first.threads.get(fate=Fate.KEPT).why == batches.RUNNING
    assert TaskRecord.objects.get().task_id == "at work"

    assert lifecycle.clear(["at work"], BY, with_running=True).cleared == 1
    assert not TaskRecord.objects.exists()


def test_thread_that_changed_or_disappeared_after_confirmation_is_kept(store):
    for task_id in ("changed", "gone", "same"):
        completed_task(task_id)
    clearing = lifecycle.draft(lifecycle.plan(["changed", "gone", "same", "never there"]), BY)
    lifecycle.confirm(clearing)
    service.record_checkpoint(update(task_id="changed", thread_id="changed"))
    service.delete_by_thread_id("gone")

    lifecycle.run(clearing, 10)

    reasons = {row.thread_id: row.why for row in clearing.threads.all()}
    assert reasons == {"changed": batches.CHANGED, "gone": batches.GONE, "same": ""}
    assert TaskRecord.objects.get().task_id == "changed"


def test_thread_that_changes_between_archive_and_deletion_is_kept(store, monkeypatch):
    """The thread is kept even if the program that changes it leaves `updated_at` unchanged."""
    completed_task("telegram_42")
    pack = thread_rows.pack

    def pack_late(rows):
        TaskRecord.objects.update(last_error="new")
        return pack(rows)

    monkeypatch.setattr(thread_rows, "pack", pack_late)
    clearing = lifecycle.draft(lifecycle.plan(["telegram_42"]), BY)
    lifecycle.confirm(clearing)

    lifecycle.run(clearing, 10)

    assert TaskRecord.objects.get().last_error == "new"
    assert (fates(), ThreadArchive.objects.count()) == ({"telegram_42": Fate.KEPT}, 0)


def test_running_thread_that_continues_is_archived_as_deleted(store, monkeypatch):
    service.record_checkpoint(update())
    pack, steps = thread_rows.pack, iter((2, 3))

    def pack_late(rows):
        packed = pack(rows)
        if step := next(steps, None):
            service.record_checkpoint(update(step_index=step))
        return packed

    monkeypatch.setattr(thread_rows, "pack", pack_late)

    clearing = lifecycle.clear(["telegram_42"], BY, with_running=True)

    assert (clearing.cleared, clearing.checkpoints) == (1, 3)
    restoring.restore(clearing.threads.get(), by=BY)
    assert TaskCheckpoint.objects.count() == 3


def test_fingerprint_changes_with_each_write(store):
    service.record_checkpoint(update())
    states = [summaries.read(["telegram_42"])["telegram_42"]]
    service.record_checkpoint(update())
    states += summaries.read(["telegram_42"]).values()
    service.save_snapshot(snapshot(status="completed"))
    states += summaries.read(["telegram_42"]).values()
    service.record_checkpoint(update(task_id="second"))
    states += summaries.read(["telegram_42"]).values()

    assert len({summary.fingerprint for summary in states}) == 4
    assert [s.was_running for s in states] == [True, True, False, True]
    assert [s.checkpoints for s in states] == [1, 2, 2, 3]


def test_summary_of_rows_equals_summary_of_their_thread(store):
    for thread_id in odd_rows.fill(store):
        rows = thread_rows.read(thread_id)
        assert summaries.read([thread_id]) == {thread_id: summaries.summarize(rows)}
        assert summaries.measure([thread_id]) == {thread_id: rows.size}


def test_batches_are_bounded(store, monkeypatch):
    monkeypatch.setattr(batches, "BATCH_THREADS", 2)
    for number in range(5):
        completed_task(f"thread {number}")
    clearing = lifecycle.draft(lifecycle.plan([f"thread {number}" for number in range(5)]), BY)
    lifecycle.confirm(clearing)

    assert [c.cleared for c in lifecycle.run_batches(clearing)] == [2, 4, 5]


def test_cancelled_clearing_keeps_remaining_threads(store, monkeypatch):
    monkeypatch.setattr(batches, "BATCH_THREADS", 2)
    for number in range(5):
        completed_task(f"thread {number}")
    clearing = lifecycle.draft(lifecycle.plan([f"thread {number}" for number in range(5)]), BY)
    lifecycle.confirm(clearing)

    for _ in lifecycle.run_batches(clearing):
        lifecycle.cancel(Clearing.objects.get())

    assert (clearing.stage, clearing.cleared, clearing.remaining) == (Stage.CANCELLED, 2, 3)
    assert TaskRecord.objects.count() == 3


def test_only_one_process_runs_a_clearing(store):
    completed_task("a")
    clearing = lifecycle.draft(lifecycle.plan(["a"]), BY)
    lifecycle.confirm(clearing)
    running = lifecycle.run_batches(clearing)
    next(running)

    with pytest.raises(lifecycle.BusyError):
        lifecycle.run(Clearing.objects.get(), 1)
    running.close()
    lifecycle.run(Clearing.objects.get(), 1)

    assert Clearing.objects.get().stage == Stage.DONE


def test_clearing_is_confirmed_once(store):
    clearing = lifecycle.draft(lifecycle.plan([]), BY)
    lifecycle.confirm(clearing)

    with pytest.raises(lifecycle.BusyError):
        lifecycle.confirm(clearing)


def test_store_error_is_recorded_and_the_clearing_can_continue(store, monkeypatch):
    for task_id in ("a", "b", "c"):
        completed_task(task_id)
    delete, calls = service.delete_by_thread_id, []

    def fails_once(thread_id, **options):
        calls.append(thread_id)
        if len(calls) == 2:
            raise OperationalError("database is locked")
        delete(thread_id, **options)

    monkeypatch.setattr(service, "delete_by_thread_id", fails_once)
    clearing = lifecycle.draft(lifecycle.plan(["a", "b", "c"]), BY)
    lifecycle.confirm(clearing)

    with pytest.raises(OperationalError):
        lifecycle.run(clearing, 10)
    clearing.refresh_from_db()
    assert (clearing.stage, clearing.error) == (Stage.FAILED, "database is locked")

    lifecycle.run(clearing, 10)
    assert (clearing.stage, clearing.cleared, TaskRecord.objects.count()) == (Stage.DONE, 3, 0)
    assert ThreadArchive.objects.count() == 3


def test_erasing_leaves_no_archive(store):
    completed_task("telegram_42")

    clearing = lifecycle.clear(["telegram_42"], BY, is_erasing=True)

    assert (clearing.cleared, str(clearing)) == (1, "Erased 1 thread")
    assert (ThreadArchive.objects.count(), fates()) == (0, {"telegram_42": Fate.CLEARED})


@pytest.mark.parametrize("is_erasing", [True, False])
def test_record_of_an_erased_thread_contains_none_of_its_text(store, is_erasing):
    service.save_snapshot(snapshot(execution_history=history("my secret wish")))

    clearing = lifecycle.clear(["telegram_42"], BY, is_erasing=is_erasing, with_running=True)

    assert clearing.cleared == 1
    assert clearing.threads.get().title == ("" if is_erasing else "my secret wish")
    record = repr((site_rows("archive_clearing"), site_rows("archive_clearedthread")))
    assert ("secret wish" in record) is not is_erasing


def site_rows(table: str) -> list[Any]:
    """Return all rows of a table in the site's database."""
    with connections["default"].cursor() as cursor:
        cursor.execute(f"SELECT * FROM {table}")
        return list(cursor.fetchall())


@only_sqlite
@pytest.mark.django_db(databases="__all__", transaction=True)
@pytest.mark.parametrize("is_erasing", [True, False])
def test_erased_text_is_overwritten_in_the_file(store, store_file, is_erasing):
    secret = "a secret that nobody shall find" * 500
    completed_task("telegram_42", last_error=secret, execution_history_json=secret)
    with store.cursor() as cursor:
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert secret[:31].encode() in store_file.read_bytes()

    lifecycle.clear(["telegram_42"], BY, is_erasing=is_erasing)

    with store.cursor() as cursor:
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        cursor.execute("PRAGMA secure_delete")
        assert cursor.fetchone() != (2,)
    assert (secret[:31].encode() in store_file.read_bytes()) is not is_erasing


def test_clear_threads_accepts_a_queryset(store):
    for name, thread_id in (("a", "mine"), ("b", "mine"), ("c", "other")):
        completed_task(name, thread_id=thread_id)

    clearing = clear_threads(TaskRecord.objects.filter(task_id="a"), by="an agent", reason="over")

    assert (clearing.cleared, clearing.tasks, clearing.source) == (1, 2, Source.CODE)
    assert (clearing.user_name, clearing.reason) == ("an agent", "over")
    assert [record.task_id for record in TaskRecord.objects.all()] == ["c"]


def test_last_clearing_of_a_thread_that_came_back(store):
    store_name = workspace.identity()
    completed_task("telegram_42")
    assert last_clearings(["telegram_42"], store_name) == {}

    clearing = lifecycle.clear(["telegram_42"], BY)
    service.save_snapshot(snapshot())

    row = clearing.threads.get()
    assert last_clearings(["telegram_42", "x"], store_name) == {
        "telegram_42": (clearing.pk, row.cleared_at)
    }
    assert last_clearings(["telegram_42"], "another store") == {}
    restoring.restore(row, by=BY, replace=True, with_running=True)
    assert last_clearings(["telegram_42"], store_name) == {}


@pytest.mark.parametrize("count", [1, 3])
def test_last_clearings_take_one_query(count, django_assert_num_queries):
    for number in range(count):
        completed_task(f"thread {number}")
    ids = [f"thread {number}" for number in range(count)]
    lifecycle.clear(ids, BY)

    with django_assert_num_queries(1):
        assert len(last_clearings(ids, workspace.identity())) == count


def test_drafts_are_deleted_after_a_day(store):
    old = lifecycle.draft(lifecycle.plan([]), BY)
    Clearing.objects.update(created_at=old.created_at - timedelta(days=2))

    new = lifecycle.draft(lifecycle.plan([]), BY)

    assert Clearing.objects.get() == new
