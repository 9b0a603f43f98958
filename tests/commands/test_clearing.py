"""Tests of the clearing commands: what they clear and print, and their exit statuses."""

import json
import os
import re
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DEFAULT_DB_ALIAS, OperationalError, connections
from django.utils import timezone

from archive.models import ClearedThread, Clearing, Source, ThreadArchive
from tasks import service
from tasks.clearing import clear_threads, lifecycle
from tasks.fields import to_text
from tasks.maintenance import disk_space
from tasks.models import TaskRecord
from tasks.store import daemon, thread_rows
from tests.support.factories import checkpoint, only_sqlite, task

pytestmark = pytest.mark.django_db(databases="__all__")


def run(*arguments: str, **options: Any) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out, stderr=out, **options)
    return out.getvalue()


def remaining_ids() -> list[str]:
    return sorted(record.task_id for record in TaskRecord.objects.all())


@pytest.fixture
def threads(store) -> None:
    old = to_text(timezone.now() - timedelta(days=40))
    checkpoint(task("old", status="completed", updated_at=old, channel="telegram", model="m"))
    task("failed", status="failed", channel="discord", provider="other")
    task("running", updated_at=old)
    task("odd", status="Paused", updated_at=old)  # the store reads this status as running


@pytest.mark.parametrize(
    ("arguments", "remaining"),
    [
        (["--all"], ["odd", "running"]),
        (["--all", "--running"], []),
        (["--status", "failed"], ["odd", "old", "running"]),
        (["--status", "running"], ["failed", "odd", "old", "running"]),
        (["--status", "running", "--running"], ["failed", "odd", "old"]),
        (["--older-than", "30d"], ["failed", "odd", "running"]),
        (["--older-than", "7w"], ["failed", "odd", "old", "running"]),
        (["--older-than", "1h", "--running"], ["failed"]),
        (["--channel", "discord"], ["odd", "old", "running"]),
        (["--provider", "other"], ["odd", "old", "running"]),
        (["--model", "m"], ["failed", "odd", "running"]),
        (["--thread", "old", "--thread", "failed"], ["odd", "running"]),
        (["--thread", "old", "--status", "failed"], ["failed", "odd", "old", "running"]),
        (["--older-than", "0d", "--running"], []),
        (["--stalled"], ["failed", "odd", "old"]),
        (["--cannot-resume"], ["odd", "running"]),
        (["--thread", "none"], ["failed", "odd", "old", "running"]),
    ],
)
def test_clear_threads_combines_filters(threads, arguments, remaining):
    run("clear_threads", "--yes", *arguments)

    assert remaining_ids() == remaining


def test_clear_threads_only_shows_counts_by_default(threads):
    output = run("clear_threads", "--all")

    assert len(remaining_ids()) == 4
    assert not Clearing.objects.exists()
    assert "2 threads would be cleared, none unfinished: 2 tasks, 1 step," in output
    assert re.search(r"bytes +completed +old\n", output)


def test_dry_run_overrides_yes(threads):
    run("clear_threads", "--all", "--yes", "--dry-run")

    assert len(remaining_ids()) == 4


def test_clear_threads_requires_a_filter(threads):
    with pytest.raises(CommandError, match="at least one filter"):
        run("clear_threads", "--yes")


@pytest.mark.parametrize("age", ["30", "d", "-1d", "1y", "٣d"])
def test_invalid_age_is_rejected(age: str):
    with pytest.raises(CommandError, match="older-than"):
        run("clear_threads", f"--older-than={age}")


def test_clear_threads_records_filters_and_reason(threads):
    output = run("clear_threads", "--yes", "--status", "failed", "--reason", "weekly")

    clearing = Clearing.objects.get()
    assert (clearing.filter, clearing.reason, clearing.source) == (
        "--status failed",
        "weekly",
        Source.COMMAND,
    )
    assert output.startswith("Cleared 1 thread: 1 task, 0 steps")
    assert ThreadArchive.objects.count() == 1


def test_recorded_filters_match_the_options(threads):
    run("clear_threads", "--yes", "--thread", "a_b", "--older-than", "0d", "--cannot-resume")

    filters = "--thread ['a_b'] --older-than 0:00:00 --cannot-resume"
    assert Clearing.objects.get().filter == filters


def test_clear_threads_erases_on_request(threads):
    output = run("clear_threads", "--yes", "--status", "failed", "--erase")

    assert output.startswith("Erased 1 thread")
    assert not ThreadArchive.objects.exists()


def test_clear_threads_reports_a_failure(threads, monkeypatch):
    def locked(thread_id: str, **options: object) -> None:
        raise OperationalError("database is locked")

    monkeypatch.setattr(service, "delete_by_thread_id", locked)

    with pytest.raises(CommandError, match="Interrupted after 0 threads: database is locked"):
        run("clear_threads", "--yes", "--all")
    assert len(remaining_ids()) == 4


def test_clear_threads_rejects_a_read_only_store(threads, settings):
    settings.TASKS_READ_ONLY = True

    with pytest.raises(CommandError, match="read-only"):
        run("clear_threads", "--yes", "--all")


@only_sqlite
def test_clear_threads_skips_ids_with_invalid_text(store):
    task("old", status="failed")
    with store.cursor() as cursor:
        cursor.execute("UPDATE task_records SET thread_id = CAST(x'ff' AS TEXT)")
    task("other", status="failed")

    run("clear_threads", "--yes", "--all", "--running")

    with store.cursor() as cursor:
        cursor.execute("SELECT hex(thread_id) FROM task_records")
        assert cursor.fetchall() == [("FF",)]


@pytest.mark.parametrize("command", ["flush --noinput", "sqlflush", "loaddata nothing.json"])
def test_commands_of_django_do_not_change_the_store(threads, store, command: str):
    with pytest.raises(CommandError, match="they could not be restored"):
        run(*command.split(), f"--database={store.alias}")

    assert len(remaining_ids()) == 4


def test_empty_archive_deletes_old_threads(threads):
    run("clear_threads", "--yes", "--all")
    assert run("empty_archive") == "Deleted 0 threads from the archive.\n"
    ClearedThread.objects.update(cleared_at=timezone.now() - timedelta(days=31))

    assert run("empty_archive") == "Deleted 2 threads from the archive.\n"
    assert Clearing.objects.get().cleared == 2


def test_empty_archive_of_one_clearing(threads):
    for thread_id in ("old", "failed"):
        lifecycle.clear([thread_id], lifecycle.Actor(Source.COMMAND))
    first = Clearing.objects.earliest("pk")

    run("empty_archive", "--older-than", "0d", "--clearing", str(first.pk))

    assert [str(archive) for archive in ThreadArchive.objects.all()] == ["failed"]


def test_restore_threads_restores_all_but_threads_that_came_back(threads):
    run("clear_threads", "--yes", "--all")
    clearing = str(Clearing.objects.get().pk)
    task("old", final_response="new")
    out = StringIO()

    with pytest.raises(CommandError, match=r"^1 could not be restored\.$") as failed:
        call_command("restore_threads", clearing, stdout=out, stderr=out)

    assert failed.value.returncode == 1
    assert out.getvalue() == ("Not restored: old: Thread 'old' exists again.\nRestored 1 thread.\n")
    assert remaining_ids() == ["failed", "odd", "old", "running"]
    assert TaskRecord.objects.get(task_id="old").final_response == "new"


def test_restore_threads_restores_the_given_threads_and_can_be_repeated(threads):
    run("clear_threads", "--yes", "--all")
    clearing = str(Clearing.objects.get().pk)

    assert run("restore_threads", clearing, "old") == "Restored 1 thread.\n"
    assert run("restore_threads", clearing, "old") == "Restored 0 threads.\n"

    assert remaining_ids() == ["odd", "old", "running"]


def test_restore_threads_rejects_ids_that_are_not_in_the_clearing(threads):
    run("clear_threads", "--yes", "--all")
    clearing = str(Clearing.objects.get().pk)

    with pytest.raises(CommandError, match=r"not in the clearing: running, a\\x1b\.$"):
        run("restore_threads", clearing, "old", "running", "a\x1b")
    with pytest.raises(CommandError, match="invalid utf8 value"):
        run("restore_threads", clearing, "\udcff")

    assert remaining_ids() == ["odd", "running"]


@pytest.mark.parametrize("number", ["0", "-1", "9" * 30])
def test_restore_threads_rejects_an_unknown_clearing(threads, number: str):
    with pytest.raises(CommandError, match="no such clearing"):
        run("restore_threads", "--", number)


def test_restore_threads_reports_threads_that_are_not_archived(threads):
    run("clear_threads", "--yes", "--all")
    run("empty_archive", "--older-than", "0d")

    with pytest.raises(CommandError, match="2 could not be restored"):
        run("restore_threads", str(Clearing.objects.get().pk))


def test_restore_threads_reports_a_failure(threads, monkeypatch):
    def locked(*args: object) -> None:
        raise OperationalError("database is locked")

    run("clear_threads", "--yes", "--all")
    monkeypatch.setattr(thread_rows, "insert", locked)

    with pytest.raises(CommandError, match="Interrupted after 0 threads: database is locked"):
        run("restore_threads", str(Clearing.objects.get().pk))


def test_restore_threads_rejects_a_read_only_store(threads, settings):
    run("clear_threads", "--yes", "--all")
    settings.TASKS_READ_ONLY = True

    with pytest.raises(CommandError, match="read-only"):
        run("restore_threads", str(Clearing.objects.get().pk))


def test_reclaim_space_reports_sizes(threads):
    assert re.search(r"\d+(\.\d+)? (bytes|KB|MB)", run("reclaim_space"))


@only_sqlite
@pytest.mark.django_db(databases="__all__", transaction=True)
def test_reclaim_space_shrinks_the_file_only_with_vacuum(store, tmp_path, monkeypatch):
    monkeypatch.setattr(daemon, "_heartbeat_file", lambda: tmp_path / "daemon_state.json")
    for number in range(20):
        task(f"t{number}", status="failed", execution_history_json="x" * 100_000)
    clear_threads(TaskRecord.objects.filter(status="failed"))
    with store.cursor() as cursor:
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = disk_space.measure(store)
    assert before.free > 1_900_000

    run("reclaim_space")
    assert disk_space.measure(store) == before
    assert "Reclaimed" in run("reclaim_space", "--vacuum")

    after = disk_space.measure(store)
    assert (after.free, after.log) == (0, 0)
    assert after.file < before.file - 1_900_000


@only_sqlite
@pytest.mark.django_db(databases="__all__", transaction=True)
def test_reclaim_space_rejects_vacuum_while_the_daemon_is_running(store, tmp_path, monkeypatch):
    file = tmp_path / "daemon_state.json"
    monkeypatch.setattr(daemon, "_heartbeat_file", lambda: file)
    file.write_text(json.dumps({"written_at": to_text(timezone.now())}))

    with pytest.raises(CommandError, match="daemon is running"):
        run("reclaim_space", "--vacuum")


@only_sqlite
@pytest.mark.django_db(databases="__all__", transaction=True)
@pytest.mark.parametrize("is_old", [True, False])
def test_file_of_the_site_shrinks_when_the_archive_is_emptied(store, is_old: bool):
    site = connections[DEFAULT_DB_ALIAS]
    if is_old:
        with site.cursor() as cursor:
            cursor.execute("PRAGMA auto_vacuum = NONE")
            cursor.execute("VACUUM")
        site.close()
    for number in range(20):
        noise = os.urandom(50_000).hex()  # cannot be compressed
        task(f"t{number}", status="failed", execution_history_json=noise)
    clear_threads(TaskRecord.objects.all())
    with site.cursor() as cursor:
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = disk_space.measure(site)

    run("empty_archive", "--older-than", "0d")
    with site.cursor() as cursor:
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shrunk = disk_space.measure(site).file < before.file - 900_000
    assert shrunk != is_old
    assert "Reclaimed" in run("reclaim_space", "--site", "--vacuum")

    after = disk_space.measure(site)
    assert (after.free, after.log) == (0, 0)
    assert after.file < before.file - 900_000
    with site.cursor() as cursor:
        assert cursor.execute("PRAGMA auto_vacuum").fetchone() == (1,)
