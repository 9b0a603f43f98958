"""Tests that no command and no page costs an agent a write, even one without a heartbeat."""

import io
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from archive.models import Clearing
from tasks.maintenance import disk_space
from tasks.messages import encode_history
from tasks.models import TaskRecord
from tasks.service import record_checkpoint
from tasks.store import daemon
from tests.commands.test_unusable_databases import BOTH, CREATING, SITE_ONLY, STORE_ONLY
from tests.store.test_locks import addresses
from tests.support import original_writer
from tests.support.factories import checkpoint, history, only_sqlite, task, update

pytestmark = pytest.mark.django_db(databases="__all__", transaction=True)


def run(command: str) -> None:
    call_command(*command.split(), stdout=io.StringIO(), stderr=io.StringIO())


@pytest.fixture
def threads(store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads of which a half is cleared; the workspace has no heartbeat."""
    monkeypatch.setattr(daemon, "_heartbeat_file", lambda: tmp_path / "none")
    for number in range(60):
        long = encode_history(history("x" * 50_000), "history")
        row = task(
            f"t{number}",
            status="failed",
            checkpoint_count=1,
            execution_history_json=long,
            resumable_history_json="[]",
        )
        checkpoint(row)
    TaskRecord.objects.filter(task_id__endswith="0").update(status="completed")
    run("clear_threads --status failed --yes")
    store.close()


@pytest.fixture
def contents(store_file: Path):
    """A function that returns all rows of the file, apart from those of the writers."""

    def read() -> list[Any]:
        with closing(sqlite3.connect(store_file)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            return [
                connection.execute(
                    f"SELECT * FROM {table} WHERE task_id NOT LIKE 'writer %' ORDER BY 1"
                ).fetchall()
                for table in ("task_records", "task_checkpoints")
            ]

    return read


@only_sqlite
def test_commands_lose_no_write(threads, other, store_file: Path, tmp_path: Path):
    file, copy = tmp_path / "threads.jsonl", tmp_path / "copy.db"
    commands = [
        "migrate",
        "check_store",
        "index",
        f"export_threads {file} --thread t0 --thread t10",
        f"import_threads {file} --replace",
        f"copy_store --to sqlite:///{copy}",
        "clear_threads --status completed",
        "clear_threads --status completed --yes",
        f"restore_threads {Clearing.objects.latest('pk').pk}",
        "clear_threads --status failed --yes --erase",
        "repair_clearings",
        "empty_archive --older-than 0d",
        "reclaim_space",
        "reclaim_space --site",
        "sign_in_link",
    ]
    names = {command.split()[0] for command in [*STORE_ONLY, *SITE_ONLY, *BOTH, *CREATING]}
    assert {command.split()[0] for command in commands} == names - {"serve"}

    with original_writer.writing(store_file):
        for command in commands:
            run(command)
        with pytest.raises(CommandError, match=r"Process \d+ has the store open\. Stop the agents"):
            run("reclaim_space --vacuum")


@only_sqlite
def test_pages_lose_no_write(threads, store_file: Path, admin_client: Client):
    record_checkpoint(update())
    paths = addresses().values()

    with original_writer.writing(store_file):
        statuses = {admin_client.get(path).status_code for path in paths}

    assert statuses <= {200, 302}


def test_server_loses_no_write_of_a_new_workspace(server):
    with closing(sqlite3.connect(server.store_file)) as connection:
        connection.executescript(
            (Path(__file__).parents[1] / "data" / "original.sql").read_text(encoding="utf-8")
        )
    with original_writer.writing(server.store_file):
        server.start()
        server.link()
        server.stop()


@only_sqlite
def test_vacuum_changes_no_row(threads, store, store_file: Path, contents):
    before, size = contents(), store_file.stat().st_size

    run("reclaim_space --vacuum")

    assert contents() == before
    assert store_file.stat().st_size < size / 2
    assert [path.name for path in store_file.parent.glob(".vacuum-*")] == []


@only_sqlite
def test_vacuum_gives_way_to_a_program_that_opens_the_store(
    threads, store_file: Path, contents, monkeypatch: pytest.MonkeyPatch
):
    before, size = contents(), store_file.stat().st_size
    writers: list[original_writer.Writer] = []

    def start_once(user) -> None:
        with closing(sqlite3.connect(store_file, timeout=0)) as connection:
            is_locked = False
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                is_locked = True
        if is_locked and not writers:
            writers.append(original_writer.start(store_file, wait=False))
            while not user():
                pass
        require_alone(user)

    require_alone = disk_space._require_alone
    monkeypatch.setattr(disk_space, "_require_alone", start_once)

    with pytest.raises(CommandError, match=r"^Nothing was changed: Process \d+ has the store open"):
        run("reclaim_space --vacuum")

    [writer] = writers
    writer.end()
    assert (writer.errors, original_writer.stored(store_file)) == ([], writer.recorded)
    assert contents() == before
    assert store_file.stat().st_size >= size


@only_sqlite
def test_vacuum_keeps_what_was_written_since_it_copied_the_store(
    threads, store_file: Path, monkeypatch: pytest.MonkeyPatch
):
    def write_first(*args) -> None:
        writer = original_writer.start(store_file)
        writer.end()
        recorded.append(writer.recorded)
        write_over(*args)

    recorded: list[int] = []
    write_over = disk_space._write_over
    monkeypatch.setattr(disk_space, "_write_over", write_first)

    with pytest.raises(CommandError, match=r"^Nothing was changed: Another program has written"):
        run("reclaim_space --vacuum")

    assert recorded == [original_writer.stored(store_file)]
