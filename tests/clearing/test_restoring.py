"""Tests that restoring is byte-for-byte exact, and replaces newer data only on request."""

from datetime import timedelta

import pytest
from django.utils import timezone

from archive.models import ClearedThread, Clearing, Fate, Source, ThreadArchive
from tasks import service
from tasks.clearing import lifecycle, restoring, retention, summaries
from tasks.clearing.lifecycle import Actor
from tasks.models import TaskRecord, TaskStatus
from tasks.store import workspace
from tests.support import odd_rows
from tests.support.factories import checkpoint, loaded, snapshot, task, update

pytestmark = pytest.mark.django_db(databases="__all__")

BY = Actor(Source.COMMAND, name="maya")


def clear(*thread_ids: str) -> list[ClearedThread]:
    return list(lifecycle.clear(thread_ids, BY, with_running=True).threads.all())


def test_restore_preserves_every_byte_of_every_column(store):
    ids = odd_rows.fill(store)
    before = odd_rows.dump(store)

    rows = clear(*ids)
    assert odd_rows.thread_ids(store) == []
    for row in rows:
        restoring.restore(row, by=BY)

    assert odd_rows.dump(store) == before
    assert len(ids) == (8 if store.vendor == "sqlite" else 1)
    assert ThreadArchive.objects.count() == 0


def test_restored_checkpoints_keep_their_ids(store):
    service.record_checkpoint(update())
    service.record_checkpoint(update(step_index=2))
    before = odd_rows.dump(store)
    [row] = clear("telegram_42")
    service.record_checkpoint(update(task_id="other", thread_id="other"))
    service.delete_by_thread_id("other")

    restoring.restore(row, by=BY)
    assert odd_rows.dump(store) == before
    service.record_checkpoint(update(step_index=3))

    assert len(loaded().checkpoints) == 3


def test_recreated_thread_is_not_overwritten_by_default(store):
    service.save_snapshot(snapshot(final_response="old"))
    [row] = clear("telegram_42")
    service.save_snapshot(snapshot(final_response="new"))

    with pytest.raises(restoring.CameBackError):
        restoring.restore(row, by=BY)
    assert loaded().final_response == "new"

    with pytest.raises(restoring.CameBackError):  # the thread is running
        restoring.restore(row, by=BY, replace=True)
    assert loaded().final_response == "new"

    restoring.restore(row, by=BY, replace=True, with_running=True)
    assert loaded().final_response == "old"
    # the version that was replaced can be restored, too
    assert ClearedThread.objects.exclude(pk=row.pk).restorable().count() == 1


@pytest.mark.parametrize("is_unchanged", [True, False])
def test_recreated_thread_is_replaced_only_if_unchanged(store, is_unchanged):
    task("telegram_42", status="failed", final_response="old")
    [row] = clear("telegram_42")
    task("telegram_42", status="failed", final_response="new")
    fingerprint = summaries.read(["telegram_42"])["telegram_42"].fingerprint
    if not is_unchanged:
        service.save_snapshot(snapshot(status=TaskStatus.FAILED, final_response="newer"))
        with pytest.raises(restoring.CameBackError, match="has changed"):
            restoring.restore(row, by=BY, replace=True, expected=fingerprint)
        assert loaded().final_response == "newer"
        assert Clearing.objects.count() == 1  # the refused restore did not record a clearing
        return

    restoring.restore(row, by=BY, replace=True, expected=fingerprint)

    assert loaded().final_response == "old"


def test_restore_of_a_missing_thread_records_no_replacement(store):
    task("telegram_42", final_response="old")
    [row] = clear("telegram_42")

    restoring.restore(row, by=BY, replace=True, expected="another")

    assert loaded().final_response == "old"
    assert Clearing.objects.count() == 1


def test_task_id_reused_by_another_thread_is_not_overwritten(store):
    task("a", thread_id="mine")
    [row] = clear("mine")
    task("a", thread_id="other")

    with pytest.raises(restoring.RestoreError, match="IDs"):
        restoring.restore(row, by=BY, replace=True)

    assert TaskRecord.objects.get().thread_id == "other"
    assert ClearedThread.objects.restorable().count() == 1


def test_checkpoint_id_conflict_restores_nothing(store):
    first = checkpoint(task("a"))
    [row] = clear("a")
    checkpoint(task("b"), id=first.pk)

    with pytest.raises(restoring.RestoreError):
        restoring.restore(row, by=BY)

    assert [record.task_id for record in TaskRecord.objects.all()] == ["b"]


def test_interrupted_restore_can_be_repeated(store, monkeypatch):
    task("a")
    [row] = clear("a")
    with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):
        patched.setattr(ClearedThread, "save", lambda *args, **options: 1 / 0)
        restoring.restore(row, by=BY)

    restoring.restore(ClearedThread.objects.get(), by=BY)

    assert (ClearedThread.objects.get().fate, TaskRecord.objects.count()) == (Fate.RESTORED, 1)


def test_thread_is_restored_only_once(store):
    task("a")
    [row] = clear("a")
    restoring.restore(row, by=BY)

    with pytest.raises(restoring.RestoreError, match="not in the archive"):
        restoring.restore(ClearedThread.objects.get(), by=BY)


def test_thread_of_another_store_is_not_restored(store):
    task("a")
    [row] = clear("a")
    row.clearing.store = "/elsewhere/tasks.db"

    with pytest.raises(restoring.RestoreError, match=r"/elsewhere/tasks\.db"):
        restoring.restore(row, by=BY)
    assert not TaskRecord.objects.exists()


def restore_each(clearing: Clearing) -> list[tuple[str, str]]:
    threads = clearing.threads.restorable()
    return [(str(thread), why) for thread, why in restoring.restore_each(threads)]


def test_restore_each_records_why_a_thread_cannot_be_restored(store):
    for task_id in ("a", "b", "c"):
        task(task_id)
    clearing = clear("a", "b", "c")[0].clearing
    task("b", final_response="new")
    reason = "Thread 'b' exists again."

    assert restore_each(clearing) == [("a", ""), ("b", reason), ("c", "")]
    assert TaskRecord.objects.get(task_id="b").final_response == "new"
    assert [thread.why for thread in clearing.threads.order_by("pk")] == ["", reason, ""]

    service.delete_by_thread_id("b")
    assert restore_each(clearing) == [("b", "")]
    assert set(clearing.threads.values_list("fate", "why")) == {(Fate.RESTORED, "")}


def test_restore_each_skips_threads_that_another_process_restores(store):
    for task_id in ("a", "b", "c"):
        task(task_id)
    clearing = clear("a", "b", "c")[0].clearing

    threads = restoring.restore_each(clearing.threads.restorable())
    next(threads)
    assert restore_each(clearing) == [("b", ""), ("c", "")]

    assert list(threads) == []
    assert TaskRecord.objects.count() == 3


def test_expired_archives_are_deleted_but_records_remain(store, settings):
    task("a")
    [row] = clear("a")
    settings.ARCHIVE_RETENTION = timedelta(days=3)
    assert retention.empty_archive() == 0
    ClearedThread.objects.update(cleared_at=timezone.now() - timedelta(days=4))

    assert retention.empty_archive() == 1

    assert (ThreadArchive.objects.count(), Clearing.objects.get().cleared) == (0, 1)
    with pytest.raises(restoring.RestoreError, match="not in the archive"):
        restoring.restore(row, by=BY)


def test_clearing_deletes_expired_archives(store):
    task("a")
    clear("a")
    ClearedThread.objects.update(cleared_at=timezone.now() - timedelta(days=31))
    task("b")

    clear("b")

    assert [str(archive) for archive in ThreadArchive.objects.all()] == ["b"]


def test_store_identity_depends_on_the_database(store):
    assert workspace.identity().startswith("/" if store.vendor == "sqlite" else "postgresql://")
