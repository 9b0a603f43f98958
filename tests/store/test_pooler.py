"""Tests with a real connection pooler in transaction mode between the store and PostgreSQL."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections, transaction
from django.test import Client

from tasks import service
from tasks.models import TaskStatus
from tasks.store import statements, transactions, workspace
from tests.support.factories import loaded, only_postgresql, rows, skip, snapshot, update
from tests.support.pooler import SESSIONS, missing_reason, running_pooler

pytestmark = [pytest.mark.django_db(databases="__all__", transaction=True), only_postgresql]

TIMEOUT = "SELECT current_setting('lock_timeout')"


@pytest.fixture
def pooled(store) -> Iterator[Any]:
    """The store's connection, through a pooler that has fewer sessions than we have threads."""
    if reason := missing_reason():
        skip(reason)
    direct = {name: store.settings_dict[name] for name in ("HOST", "PORT")}
    with running_pooler(direct) as address:
        store.close()
        store.settings_dict.update(address)
        try:
            yield store
        finally:
            store.close()
            store.settings_dict.update(direct)


def test_verbs_work_through_a_pooler(pooled):
    errors = []

    def work(task_id: str) -> None:
        try:
            connections[pooled.alias].settings_dict.update(pooled.settings_dict)
            for step_index in range(20):
                service.record_checkpoint(update(task_id=task_id, step_index=step_index))
                assert loaded().checkpoints
            service.save_snapshot(snapshot(task_id=task_id, status=TaskStatus.COMPLETED))
            service.load_resumable_state("telegram_42")
        except Exception as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work, args=(str(n % 3),)) for n in range(3 * SESSIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    counts = {row["task_id"]: row["checkpoint_count"] for row in rows(pooled, "task_records")}
    assert counts == {"0": 40, "1": 40, "2": 40}
    times = [row["created_at"] for row in rows(pooled, "task_checkpoints")]
    assert times == sorted(set(times))
    service.delete_by_thread_id("telegram_42")
    assert rows(pooled, "task_checkpoints") == []


def test_session_of_a_pooler_is_left_as_it_was(pooled):
    service.record_checkpoint(update())
    assert workspace.is_pooled(pooled)
    with pooled.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_prepared_statements")
        assert cursor.fetchone() == (0,)
        cursor.execute(TIMEOUT)
        assert cursor.fetchone() == ("0",)


def test_write_through_a_pooler_has_the_lock_timeout(pooled, monkeypatch):
    with transactions.writing() as cursor:
        cursor.execute(TIMEOUT)
        assert cursor.fetchone() == ("30s",)
    monkeypatch.setattr(workspace, "LOCK_TIMEOUT", "lock_timeout = 50")
    service.record_checkpoint(update())
    with transaction.atomic(pooled.alias), pooled.cursor() as cursor:
        cursor.execute(statements.LOCK_TASKS, {"thread_id": "telegram_42"})
        failures = []

        def write() -> None:
            try:
                connections[pooled.alias].settings_dict.update(pooled.settings_dict)
                service.record_checkpoint(update())
            except service.StoreBusyError as error:
                failures.append(str(error))
            finally:
                connections.close_all()

        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
    assert len(failures) == 1


def test_pages_work_through_a_pooler(pooled, viewer: Client):
    service.record_checkpoint(update())
    assert "telegram_42" in viewer.get("/").content.decode()
    assert viewer.get("/thread/", {"id": "telegram_42"}).status_code == 200
