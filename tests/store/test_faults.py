"""Tests store verbs and pages with corrupt rows, an altered schema, or a killed writer."""

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from django.db import OperationalError, transaction
from django.test import Client

from tasks import service
from tasks.addresses import thread_url
from tasks.service import CorruptRecordError, StoreError, StoreMissingError
from tasks.store import workspace
from tests.support.factories import (
    TABLES,
    loaded,
    only_sqlite,
    overwrite,
    rows,
    snapshot,
    update,
)
from tests.support.store_faults import contents

pytestmark = pytest.mark.django_db(databases="__all__")

VERBS = {
    "save": lambda: service.save_snapshot(snapshot()),
    "record": lambda: service.record_checkpoint(update(step_index=2)),
    "delete": lambda: service.delete_by_thread_id("telegram_42"),
    "load": lambda: service.load_by_thread_id("telegram_42"),
    "resume": lambda: service.load_resumable_state("telegram_42"),
}
# All text columns except the ids that the store's verbs use to look up rows.
TEXTS = [
    ("task_records", column)
    for column in TABLES["task_records"]
    if column not in ("thread_id", "checkpoint_count")
] + [("task_checkpoints", column) for column in ("checkpoint_note", "items_json", "created_at")]
RESUMED = {"task_id", "resumable_history_json", "latest_checkpoint_note"}


def test_every_fault_raises_a_store_error():
    family = [name for name in service.__all__ if name.startswith("Store") and "Error" in name]

    assert len(family) == 9
    for name in (*family, "CorruptRecordError", "IdTooLongError"):
        assert issubclass(getattr(service, name), StoreError)
    assert issubclass(StoreError, OperationalError)


# Rows


@only_sqlite
@pytest.mark.parametrize("value", ["x'5b5d'", "CAST(x'5b22ff225d' AS TEXT)"], ids=["blob", "bytes"])
@pytest.mark.parametrize(("table", "column"), TEXTS)
def test_value_of_wrong_type_is_named_in_errors_and_displayed_on_pages(
    store, viewer: Client, monkeypatch: pytest.MonkeyPatch, table: str, column: str, value: str
):
    service.record_checkpoint(update())
    with store.cursor() as cursor:
        cursor.execute("PRAGMA defer_foreign_keys = ON")
        cursor.execute(f"UPDATE {table} SET {column} = {value}")

    with pytest.raises(CorruptRecordError, match=rf"^{table} \S+, {column}: a value of type bytes"):
        service.load_by_thread_id("telegram_42")
    if table == "task_records" and column in RESUMED:
        with pytest.raises(CorruptRecordError, match=rf"^{table} \S+, {column}: a value of type"):
            service.load_resumable_state("telegram_42")
    monkeypatch.setattr(store.connection, "text_factory", store.connection.text_factory)
    workspace.replace_invalid_utf8(sender=None, connection=store)
    assert viewer.get("/").status_code == 200
    for query in ({}, {"steps": 1}):
        assert viewer.get(thread_url("thread", "telegram_42", **query)).status_code == 200
    with store.cursor() as cursor:  # otherwise, the deferred foreign key check would fail
        cursor.execute("DELETE FROM task_checkpoints")


@pytest.mark.parametrize("value", ["", "{}", "[", "[{]", '[{"role":1,"content":""}]', "[1e999]"])
@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("task_records", "execution_history_json"),
        ("task_records", "resumable_history_json"),
        ("task_checkpoints", "items_json"),
    ],
)
def test_corrupt_json_is_named_in_errors_and_marked_on_pages(
    store, viewer: Client, table: str, column: str, value: str
):
    service.record_checkpoint(update())
    overwrite(store, table, column, value)

    with pytest.raises(CorruptRecordError, match=rf"^{table} \S+, {column}: "):
        service.load_by_thread_id("telegram_42")
    pages = [viewer.get(thread_url("thread", "telegram_42", **q)) for q in ({}, {"steps": 1})]
    assert [page.status_code for page in pages] == [200, 200]
    content = "".join(page.content.decode() for page in pages)
    assert "cannot be read" in content or "1 unreadable step<" in content


# The schema


@pytest.mark.parametrize("verb", ["record", "load"])
def test_missing_table_is_reported_without_a_partial_write(store, viewer: Client, verb: str):
    service.record_checkpoint(update())
    before = rows(store, "task_records")
    with transaction.atomic(using=store.alias):
        with store.cursor() as cursor:
            cursor.execute("ALTER TABLE task_checkpoints RENAME TO elsewhere")
        with pytest.raises(StoreMissingError, match="task_checkpoints"):
            VERBS[verb]()
        after = rows(store, "task_records")
        with transaction.atomic(using=store.alias):
            page = viewer.get(thread_url("thread", "telegram_42"))
            transaction.set_rollback(True, using=store.alias)
        transaction.set_rollback(True, using=store.alias)

    assert after == before
    assert page.status_code == 503
    assert workspace.location() in page.content.decode()
    VERBS[verb]()
    assert viewer.get(thread_url("thread", "telegram_42")).status_code == 200


@pytest.mark.parametrize(
    ("table", "column", "verb"),
    [
        ("task_records", "final_response", "save"),
        ("task_records", "resumable_history_json", "resume"),
        ("task_records", "latest_checkpoint_note", "record"),
        ("task_checkpoints", "items_json", "record"),
        ("task_checkpoints", "checkpoint_note", "load"),
    ],
)
def test_missing_column_is_named(store, table: str, column: str, verb: str):
    service.record_checkpoint(update())
    with store.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} DROP COLUMN {column}")

    with pytest.raises(StoreMissingError, match=column):
        VERBS[verb]()


def test_columns_of_a_later_version_change_nothing(store, viewer: Client):
    with store.cursor() as cursor:
        cursor.execute("ALTER TABLE task_records ADD COLUMN tags TEXT")
        cursor.execute("ALTER TABLE task_checkpoints ADD COLUMN cost INTEGER NOT NULL DEFAULT 0")

    service.record_checkpoint(update())
    service.save_snapshot(snapshot())

    assert (loaded().checkpoint_count, len(loaded().checkpoints)) == (1, 1)
    assert service.load_resumable_state("telegram_42") is not None
    assert viewer.get("/").status_code == 200
    assert viewer.get(thread_url("thread", "telegram_42")).status_code == 200


@only_sqlite
def test_trigger_that_aborts_is_reported_as_a_refusal(store):
    with store.cursor() as cursor:
        cursor.execute(
            "CREATE TRIGGER no BEFORE INSERT ON task_checkpoints"
            " BEGIN SELECT RAISE(ABORT, 'not on a Sunday'); END"
        )

    with pytest.raises(
        StoreError, match=r"^The store at .* rejected the operation: not on a Sunday$"
    ):
        service.record_checkpoint(update())
    assert rows(store, "task_records") == []


# Writers that are killed

WRITER = """
import sys
from gloamy_site import connect
connect(database_url="sqlite:///" + sys.argv[1])
from tasks.service import *
for step in range(1_000_000):
    record_checkpoint(TaskCheckpointUpdate(
        task_id="a", thread_id="a", channel="cli", provider="p", model="m", step_index=step,
        execution_history=[ChatMessage("user", "x" * 20_000)], items=[]))
    print(step, flush=True)
"""


def test_killed_writer_loses_no_acknowledged_write(tmp_path: Path):
    file = tmp_path / "tasks.db"
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, file], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            for _ in range(30):
                last = int(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
            rest = writer.stdout.read().split()
        acknowledged = int(rest[-1]) if rest else last
        with closing(sqlite3.connect(file)) as other:
            steps = [row[0] for row in other.execute("SELECT step_index FROM task_checkpoints")]
            other.execute("DELETE FROM task_records")
            other.execute("DELETE FROM task_checkpoints")
            other.commit()
        assert steps in (list(range(acknowledged + 1)), list(range(acknowledged + 2)))
        assert contents(file) == []
