"""Tests that every page answers even if short columns hold huge values or the wrong types."""

import json
from collections.abc import Iterator
from itertools import chain
from typing import Any

import pytest
from django.db import connections
from django.http import HttpResponseBase
from django.test import Client
from django.urls import reverse

from archive.models import Source
from tasks.addresses import thread_url
from tasks.admin.records import admin_tasks, path_id
from tasks.clearing import lifecycle
from tasks.models import TaskCheckpoint, TaskRecord
from tasks.templatetags import threads
from tasks.views.thread_tabs import SHORT_COLUMNS
from tests.support.factories import checkpoint, only_sqlite, overwrite, task

pytestmark = pytest.mark.django_db(databases="__all__")

LONG, LARGEST_PAGE = "9z" * 600_000, 1_000_000
ITEM = {"tool_name": LONG, "arguments": {LONG: 1}, "success": False, "output": ""}
WITHIN = {  # JSON with huge values in fields that are normally short
    ("task_records", "execution_history_json"): [{"role": LONG, "content": "hi"}],
    ("task_checkpoints", "items_json"): [ITEM],
}
SHORT: dict[tuple[str, str], Any] = {
    **{("task_records", column): LONG for column in SHORT_COLUMNS if column != "task_id"},
    ("task_checkpoints", "step_index"): LONG,
    ("task_checkpoints", "created_at"): LONG,
    **{place: json.dumps(value, separators=(",", ":")) for place, value in WITHIN.items()},
}
PLAIN = {place for place in SHORT if place not in WITHIN}
# The columns that hold huge values, for each test case.
LONG_ONES = {
    "all": {*SHORT},
    "all but ids": {place for place in PLAIN if not place[1].endswith("_id")},
    "all but ids, status and times": {
        place for place in PLAIN if not place[1].endswith(("_id", "status", "_at"))
    },
    "what is within": {*WITHIN},
}


def pages(thread_id: str) -> Iterator[str]:
    """Yield the address of every page that shows data from the store."""
    yield from (f"/{query}" for query in ("", "?sort=age", "?sort=-activity", "?sort=steps"))
    yield from ("/?q=x", "/?q=x&where=ids", "/?status=failed")
    for tab in ("transcript", "checkpoints", "resume", "raw"):
        yield thread_url("thread", thread_id, show=tab)
        yield thread_url("thread", thread_id, show=tab, piece="later")
        yield thread_url("thread-live", thread_id, show=tab)
        for record in admin_tasks():
            address = reverse("admin:tasks_taskrecord_change", args=[path_id(record)])
            yield f"{address}?show={tab}"
    yield thread_url("clear", thread_id)
    for table in ("taskrecord", "taskcheckpoint"):
        yield reverse(f"admin:tasks_{table}_changelist")
    for number in TaskCheckpoint.objects.values_list("pk", flat=True):
        if number is not None:
            yield reverse("admin:tasks_taskcheckpoint_change", args=[number])


def clearings() -> Iterator[str]:
    """Yield the addresses of two clearing drafts, a finished clearing and the list of clearings."""
    by = lifecycle.Actor(Source.CODE)
    ids = list(TaskRecord.objects.order_by().values_list("thread_id", flat=True))
    yield reverse("clearing", args=[lifecycle.draft(lifecycle.plan(ids), by).pk])
    yield reverse("clearing", args=[lifecycle.draft(lifecycle.plan(ids[:1]), by).pk])
    yield reverse("clearing", args=[lifecycle.clear(ids, by, with_running=True).pk])
    yield reverse("cleared")


def length(answer: HttpResponseBase) -> int:
    return len(answer.getvalue())


@only_sqlite
@pytest.mark.parametrize("which", LONG_ONES)
def test_long_values_in_short_columns_leave_pages_small(store, admin_client: Client, which: str):
    history = '[{"role":"user","content":"hi"}]'
    checkpoint(task("kept", execution_history_json=history, status="failed"))
    checkpoint(TaskRecord.objects.get(), 2)
    for table, column in LONG_ONES[which]:
        overwrite(store, table, column, SHORT[table, column])

    assert too_large(admin_client, "kept") == {}


@only_sqlite
def test_long_id_of_a_task_leaves_pages_small(store, admin_client: Client):
    task("other")
    overwrite(store, "task_records", "task_id", LONG)

    assert too_large(admin_client, "other") == {}


def too_large(client: Client, thread_id: str) -> dict[str, tuple[int, int]]:
    """Return the status and length of each page that fails or is too large, keyed by address."""
    wrong = {}
    for address in chain(pages(thread_id), clearings()):  # clearings() deletes threads
        answer = client.get(address)
        if length(answer) > LARGEST_PAGE or answer.status_code not in (200, 404):
            wrong[address[:100]] = (answer.status_code, length(answer))
    return wrong


def test_page_of_a_thread_whose_id_is_too_long_says_so(viewer: Client):
    task(LONG)

    answer = viewer.get(thread_url("thread", LONG))

    assert f'href="{thread_url("thread", LONG)}"' in viewer.get("/").content.decode()
    assert answer.status_code == 400
    assert "is too long for an address" in answer.content.decode()


@pytest.mark.parametrize("column", ["updated_at", "task_id"])
def test_list_goes_on_after_a_row_with_a_long_value(
    operator: Client, monkeypatch: pytest.MonkeyPatch, column: str
):
    monkeypatch.setattr("tasks.views.threads.THREADS_PER_PAGE", 1)
    task("old", updated_at="2026-01-01T00:00:00+00:00")
    task(LONG if column == "task_id" else "new", updated_at="2026-01-02T00:00:00+00:00")
    if column == "updated_at":
        with connections["tasks"].cursor() as cursor:
            statement = "UPDATE task_records SET updated_at = %s WHERE task_id = 'new'"
            cursor.execute(statement, [LONG])

    following = operator.get(operator.get("/").context["older_url"])

    assert [row.record.task_id for row in following.context["rows"]] == ["old"]


@pytest.mark.parametrize("name", ["elapsed", "absolute", "clock", "rfc3339", "intcomma"])
def test_filter_cuts_what_is_no_time_and_no_number(name: str):
    shown = getattr(threads, name)

    assert len(shown(LONG)) <= 100
    assert shown("yesterday") == "yesterday"


def test_time_with_a_fraction_without_end_is_cut():
    moment = threads.parse_time("2026-01-01T00:00:00." + "9" * 3_000_000 + "Z")

    assert threads.absolute(moment) == "2026-01-01 00:00:00 UTC"
    assert len(threads.rfc3339(moment)) <= 100


@pytest.mark.parametrize("name", ["channel", "provider", "model"])
def test_list_offers_no_long_choice(admin_client: Client, name: str):
    task("a", **{name: "x" * 200})
    task("b", **{name: "x" * 201})

    [offered] = [
        choice["values"]
        for choice in admin_client.get("/").context["choices"]
        if choice["name"] == name
    ]

    assert offered == ["x" * 200]


ANEW = """
    DROP TABLE task_checkpoints;
    CREATE TABLE task_checkpoints
        (id text, task_id blob, step_index blob, checkpoint_note, items_json, created_at);
    INSERT INTO task_checkpoints VALUES {};
"""


@only_sqlite
@pytest.mark.parametrize(
    "row",
    [
        "(NULL, 'kept', 1, NULL, '[]', '')",
        "('one', 'kept', 1, NULL, '[]', '')",
        "(x'00ff', 'kept', x'ff', x'ff', x'ff', x'ff')",
    ],
    ids=["null", "text", "blob"],
)
def test_step_without_a_number_fails_no_page(store, admin_client: Client, row: str):
    task("kept", execution_history_json='[{"role":"user","content":"hi"}]')
    with connections["tasks"].cursor() as cursor:
        for statement in ANEW.format(row).split(";")[:-1]:
            cursor.execute(statement)

    failed = {
        address: answer.status_code
        for address in [*pages("kept"), thread_url("export", "kept", format="json")]
        if (answer := admin_client.get(address)).status_code not in (200, 302, 404)
    }  # the admin redirects if a row does not exist

    assert failed == {}
