"""Tests that writes wait while another program holds the lock, and eventually give up."""

import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.db import connections
from django.test import Client

from tasks import service
from tasks.service import StoreBusyError
from tests.support.clearing_forms import clear_thread
from tests.support.factories import only_postgresql, only_sqlite, rows, snapshot, update
from tests.support.store_faults import contents, locked

pytestmark = pytest.mark.django_db(databases="__all__", transaction=True)

WRITES = {
    "save": lambda: service.save_snapshot(snapshot()),
    "record": lambda: service.record_checkpoint(update(step_index=2)),
    "delete": lambda: service.delete_by_thread_id("telegram_42"),
}


@only_sqlite
@pytest.mark.parametrize("verb", list(WRITES))
def test_write_gives_up_on_a_lock_and_works_when_it_is_free(store, store_file: Path, verb: str):
    service.record_checkpoint(update())
    before = contents(store_file)
    with store.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout = 50")

    with locked(store_file), pytest.raises(StoreBusyError, match="is locked by another program"):
        WRITES[verb]()

    assert contents(store_file) == before
    WRITES[verb]()
    assert (
        contents(store_file)
        == {
            "save": before,
            "record": [("telegram_42", 2, 2)],
            "delete": [],
        }[verb]
    )


@only_sqlite
def test_write_waits_for_a_lock_to_be_released(store, store_file: Path):
    service.record_checkpoint(update())
    with closing(sqlite3.connect(store_file, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        release = threading.Timer(0.3, other.rollback)
        release.start()
        start = time.monotonic()
        service.record_checkpoint(update(step_index=2))
        waited = time.monotonic() - start
        release.join()

    assert 0.2 < waited < 20
    assert contents(store_file) == [("telegram_42", 2, 2)]


@only_postgresql
@pytest.mark.parametrize("verb", list(WRITES))
def test_write_on_postgresql_gives_up_on_a_lock(store, verb: str):
    service.record_checkpoint(update())
    with store.cursor() as cursor:
        cursor.execute("SHOW lock_timeout")
        assert cursor.fetchone() == ("30s",)
        cursor.execute("SET lock_timeout = 50")
    other = store.copy()
    with other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("LOCK TABLE task_records IN EXCLUSIVE MODE")
    with pytest.raises(StoreBusyError, match="canceling statement due to lock timeout"):
        WRITES[verb]()
    other.close()

    WRITES[verb]()
    counts = [row["checkpoint_count"] for row in rows(store, "task_records")]
    assert counts == {"save": [1], "record": [2], "delete": []}[verb]


@only_sqlite
def test_clearing_a_locked_store_reports_it_and_clears_nothing(
    store, store_file: Path, operator: Client
):
    service.record_checkpoint(update())
    with store.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout = 50")

    with locked(store_file):
        page = clear_thread(operator)

    assert "Nothing was cleared: The store at" in page.content.decode()
    assert contents(store_file) == [("telegram_42", 1, 1)]
    assert clear_thread(operator).status_code == 302


def test_locked_site_database_is_distinguished_from_the_store(client: Client):
    get_user_model().objects.create_superuser("ops", password="correct horse")
    site = connections["default"]
    with site.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout = 20")

    with locked(Path(site.settings_dict["NAME"])):
        page = client.post("/sign-in/", {"username": "ops", "password": "correct horse"})
    site.close()

    assert page.status_code == 503
    assert "The database at" in page.content.decode()
    assert "is locked by another program" in page.content.decode()
