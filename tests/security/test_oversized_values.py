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

LONG, LARGEST_PAGE = "9z" * 60_000, 100_000
ITEM = {"tool_name": LONG, "arguments": {LONG: 1}, "success": False, "output": ""}
NESTED = {  # JSON with huge values in fields that are normally short
    ("task_records", "execution_history_json"): [{"role": LONG, "content": "hi"}],
    ("task_checkpoints", "items_json"): [ITEM],
}
SHORT: dict[tuple[str, str], Any] = {
    **{("task_records", column): LONG for column in SHORT_COLUMNS if column != "task_id"},
    ("task_checkpoints", "step_index"): LONG,
    ("task_checkpoints", "created_at"): LONG,
    **{key: json.dumps(value, separators=(",", ":")) for key, value in NESTED.items()},
}
PLAIN = {key for key in SHORT if key not in NESTED}
# The columns that hold huge values, for each test case.
LONG_COLUMNS = {
    "all": {*SHORT},
    "all but ids": {key for key in PLAIN if not key[1].endswith("_id")},
    "all but ids, status and times": {
        key for key in PLAIN if not key[1].endswith(("_id", "status", "_at"))
    },
    "what is within": {*NESTED},
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
    actor = lifecycle.Actor(Source.CODE)
    ids = list(TaskRecord.objects.order_by().values_list("thread_id", flat=True))
    yield reverse("clearing", args=[lifecycle.draft(lifecycle.plan(ids), actor).pk])
    yield reverse("clearing", args=[lifecycle.draft(lifecycle.plan(ids[:1]), actor).pk])
    yield reverse("clearing", args=[lifecycle.clear(ids, actor, with_running=True).pk])
    yield reverse("cleared")


def length(answer: HttpResponseBase) -> int:
    return len(answer.getvalue())


@only_sqlite
@pytest.mark.parametrize("case", LONG_COLUMNS)
def test_long_values_in_short_columns_leave_pages_small(store, admin_client: Client, case: str):
    history = '[{"role":"user","content":"hi"}]'
    checkpoint(task("kept", execution_history_json=history, status="failed"))
    checkpoint(TaskRecord.objects.get(), 2)
    for table, column in LONG_COLUMNS[case]:
        overwrite(store, table, column, SHORT[table, column])

    assert oversized_pages(admin_client, "kept") == {}


@only_sqlite
def test_long_task_id_leaves_pages_small(store, admin_client: Client):
    task("other")
    overwrite(store, "task_records", "task_id", LONG)

    assert oversized_pages(admin_client, "other") == {}


def oversized_pages(client: Client, thread_id: str) -> dict[str, tuple[int, int]]:
    """Return the status and length of each page that fails or is too large, keyed by address."""
    oversized = {}
    for address in chain(pages(thread_id), clearings()):  # clearings() deletes threads
        answer = client.get(address)
        if length(answer) > LARGEST_PAGE or answer.status_code not in (200, 404):
            oversized[address[:100]] = (answer.status_code, length(answer))
    return oversized


def test_thread_with_an_id_too_long_for_a_url_gets_an_error_page(viewer: Client):
    task(LONG)

    answer = viewer.get(thread_url("thread", LONG))

    assert f'href="{thread_url("thread", LONG)}"' in viewer.get("/").content.decode()
    assert answer.status_code == 400
    assert "is too long for a URL" in answer.content.decode()


@pytest.mark.parametrize("column", ["updated_at", "task_id"])
def test_list_continues_after_a_row_with_a_long_value(
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
def test_filters_truncate_long_invalid_values(name: str):
    template_filter = getattr(threads, name)

    assert len(template_filter(LONG)) <= 100
    assert template_filter("yesterday") == "yesterday"


def test_time_with_a_huge_fraction_is_truncated():
    moment = threads.parse_time("2026-01-01T00:00:00." + "9" * 3_000_000 + "Z")

    assert threads.absolute(moment) == "2026-01-01 00:00:00 UTC"
    assert len(threads.rfc3339(moment)) <= 100


@pytest.mark.parametrize("name", ["channel", "provider", "model"])
def test_list_omits_long_filter_choices(admin_client: Client, name: str):
    task("a", **{name: "x" * 200})
    task("b", **{name: "x" * 201})

    [values] = [
        choice["values"]
        for choice in admin_client.get("/").context["choices"]
        if choice["name"] == name
    ]

    assert values == ["x" * 200]


UNTYPED_CHECKPOINTS = """
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
def test_checkpoint_with_an_invalid_id_breaks_no_page(store, admin_client: Client, row: str):
    task("kept", execution_history_json='[{"role":"user","content":"hi"}]')
    with connections["tasks"].cursor() as cursor:
        for statement in UNTYPED_CHECKPOINTS.format(row).split(";")[:-1]:
            cursor.execute(statement)

    failed = {
        address: answer.status_code
        for address in [*pages("kept"), thread_url("export", "kept", format="json")]
        if (answer := admin_client.get(address)).status_code not in (200, 302, 404)
    }  # the admin redirects if a row does not exist

    assert failed == {}
