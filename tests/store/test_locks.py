"""Tests that showing a page never takes the write lock that the agent needs."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
from django.contrib import admin
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from archive.models import Source
from tasks import service, urls
from tasks.addresses import id_to_path, thread_url
from tasks.clearing import lifecycle
from tasks.clearing.lifecycle import Actor
from tasks.models import TaskCheckpoint, TaskRecord
from tests.support.factories import only_sqlite, update

pytestmark = pytest.mark.django_db(databases="__all__", transaction=True)


def addresses() -> dict[str, str]:
    """Return one URL for each page that reads the store, keyed by the name of its view."""
    task = [id_to_path("telegram_42")]
    clearing = lifecycle.draft(lifecycle.plan(["telegram_42"]), Actor(Source.COMMAND))
    step = [TaskCheckpoint.objects.get(task_id="telegram_42").pk]
    return {
        "threads": "/",
        "thread": thread_url("thread", "telegram_42"),
        "thread-live": thread_url("thread-live", "telegram_42"),
        "step": f"/thread/step/?checkpoint={step[0]}",
        "raw": thread_url("raw", "telegram_42"),
        "export": thread_url("export", "telegram_42", format="json"),
        "message": thread_url("message", "telegram_42", message=1),
        "checkpoint": f"/thread/checkpoint/?checkpoint={step[0]}",
        "clear": thread_url("clear", "telegram_42"),
        "cleared": reverse("cleared"),
        "reveals": reverse("reveals"),
        "overview": reverse("overview"),
        "actions": reverse("actions"),
        "errors": reverse("errors"),
        "clearing": reverse("clearing", args=[clearing.pk]),
        "tasks_taskrecord_changelist": reverse("admin:tasks_taskrecord_changelist"),
        "tasks_taskrecord_change": reverse("admin:tasks_taskrecord_change", args=task),
        "tasks_taskrecord_history": reverse("admin:tasks_taskrecord_history", args=task),
        "tasks_taskcheckpoint_changelist": reverse("admin:tasks_taskcheckpoint_changelist"),
        "tasks_taskcheckpoint_change": reverse("admin:tasks_taskcheckpoint_change", args=step),
        "tasks_taskcheckpoint_history": reverse("admin:tasks_taskcheckpoint_history", args=step),
    }


@pytest.fixture
def locked(store) -> Iterator[None]:
    """Hold the store's write lock from another connection; our connection will not wait for it."""
    service.record_checkpoint(update())
    with store.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout = 0")
    with closing(sqlite3.connect(store.settings_dict["NAME"], isolation_level=None)) as agent:
        agent.execute("BEGIN IMMEDIATE")
        agent.execute("UPDATE task_records SET last_error = 'uncommitted'")
        yield
        agent.execute("ROLLBACK")
    store.close()


@only_sqlite
def test_pages_open_while_the_agent_holds_the_lock(store, locked, admin_client: Client):
    for address in addresses().values():
        with CaptureQueriesContext(store) as captured:
            response = admin_client.get(address)
        outcome = (response.status_code in (200, 302), b"uncommitted" in response.getvalue())
        assert outcome == (True, False), address
        statements = {query["sql"].split()[0] for query in captured.captured_queries}
        assert statements <= {"SELECT", "BEGIN", "COMMIT", "SAVEPOINT", "RELEASE"}, address


@only_sqlite
def test_reading_verbs_work_while_the_agent_holds_the_lock(store, locked):
    assert service.load_by_thread_id("telegram_42") is not None
    assert service.load_resumable_state("telegram_42") is None
    assert TaskRecord.objects.newest_first().for_list().get().last_error is None


@only_sqlite
def test_every_page_of_the_store_is_covered(store):
    service.record_checkpoint(update())
    covered = set(addresses())  # this loads the admin
    patterns = list(urls.urlpatterns)
    for model in (TaskRecord, TaskCheckpoint):
        patterns += admin.site.get_model_admin(model).get_urls()
    names = {pattern.name for pattern in patterns if pattern.name}
    unlisted = {name for name in names if name.endswith(("_add", "_delete"))}

    unlisted |= {name for name in names if name.startswith(("clearing-", "clear-"))}
    assert names - unlisted - {"sign-in-link", "secrets"} == covered


def test_transaction_of_the_site_takes_its_lock_first():
    # a transaction that has read could not wait for another one that is writing
    site = connections[DEFAULT_DB_ALIAS].settings_dict["NAME"]
    is_locked = pytest.raises(sqlite3.OperationalError, match="database is locked")
    with closing(sqlite3.connect(site, timeout=0)) as other, transaction.atomic(), is_locked:
        other.execute("BEGIN IMMEDIATE")
