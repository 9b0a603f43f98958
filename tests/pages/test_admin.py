"""Tests of the admin pages for both tables, which are read-only except for clearing threads."""

import html
import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from archive.models import Clearing
from tasks import service
from tasks.addresses import id_to_path, thread_url
from tasks.admin import TaskRecordAdmin, changelist
from tasks.index import following
from tasks.index.models import IndexState
from tasks.messages import encode_history
from tasks.models import STORED_TEXTS, TaskCheckpoint, TaskRecord
from tasks.store import untrusted
from tasks.views import limits
from tests.support.clearing_forms import confirm
from tests.support.factories import (
    checkpoint,
    history,
    only_postgresql,
    only_sqlite,
    overwrite,
    task,
    update,
)
from tests.support.odd_rows import ODD_IDS, fill

pytestmark = pytest.mark.django_db(databases="__all__")

TASKS = reverse("admin:tasks_taskrecord_changelist")
CHECKPOINTS = reverse("admin:tasks_taskcheckpoint_changelist")

BODIES = [*STORED_TEXTS, "items_json", "checkpoint_note"]
ACTIVE = 1 + TaskRecordAdmin.list_display.index("active")  # the checkbox column comes first
QUERIES = [
    {},
    {"o": str(ACTIVE)},
    {"status": "failed"},
    {"channel": "telegram"},
    {"status": "failed", "model": "gpt-test"},
    {"q": "hread"},
]


def sortable_query(address: str, query: dict[str, str]) -> dict[str, str]:
    """Return the query. In checkpoint queries, change "o" to 0, the only sortable column."""
    order = {"o": query["o"].replace(str(ACTIVE), "0")} if "o" in query else {}
    return query | order if address == CHECKPOINTS else query


def clear(client: Client, *task_ids: str, **fields: str):
    selected = [id_to_path(task_id) for task_id in task_ids]
    return client.post(TASKS, {"action": "clear_threads", "_selected_action": selected, **fields})


@pytest.mark.parametrize("address", [TASKS, CHECKPOINTS])
def test_lists_open(admin_client: Client, address: str):
    checkpoint(task())

    response = admin_client.get(address, {"q": "telegram"})

    assert response.context["cl"].result_count == 1


@pytest.mark.parametrize(
    ("query", "direction"),
    [({}, "descending"), ({"o": f"-{ACTIVE}"}, "descending"), ({"o": f"{ACTIVE}"}, "ascending")],
)
@pytest.mark.parametrize("address", [TASKS, CHECKPOINTS])
def test_sorted_column_is_marked(admin_client: Client, address: str, query: Any, direction: str):
    checkpoint(task())

    content = admin_client.get(address, sortable_query(address, query)).content.decode()

    assert re.findall(r'class="sortable [\w-]+ sorted (\w+)"', content) == [direction]


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("address", [TASKS, CHECKPOINTS])
def test_list_query_count_is_constant(
    admin_client: Client, address: str, query: dict[str, str], store, store_queries
):
    counts = []
    for numbers in (range(1), range(1, 30)):
        for number in numbers:
            checkpoint(task(f"thread {number}", status="failed"))
        following.catch_up()
        with store_queries() as queries:
            assert admin_client.get(address, sortable_query(address, query)).status_code == 200
        counts.append(len(queries))
        sql = " ".join(query["sql"] for query in queries)
        assert not [name for name in BODIES if name in sql]

    assert counts[0] == counts[1]


@pytest.mark.parametrize("tab", ["transcript", "checkpoints", "resume", "raw"])
def test_task_deleted_while_its_page_is_built_is_not_found(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch, tab: str
):
    checkpoint(task())
    get_row = TaskRecordAdmin.get_row

    def get_and_delete(*args: Any) -> TaskRecord | None:
        row = get_row(*args)
        service.delete_by_thread_id("telegram_42")
        return row

    monkeypatch.setattr(TaskRecordAdmin, "get_row", get_and_delete)
    url = reverse("admin:tasks_taskrecord_change", args=[id_to_path("telegram_42")])
    response = admin_client.get(f"{url}?show={tab}")

    assert response.status_code == 404
    assert "There is no such task. It may have been cleared." in response.content.decode()


@pytest.fixture
def small_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changelist, "WINDOW", 3)
    monkeypatch.setattr(changelist, "WIDE_WINDOW", 3)


@only_sqlite
@pytest.mark.usefixtures("small_window")
@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("address", [TASKS, CHECKPOINTS])
def test_list_queries_use_indexes(
    admin_client: Client, address: str, query: dict[str, str], store, store_queries
):
    for number in range(8):
        checkpoint(task(f"thread {number}", status="failed"))
    with store_queries() as queries:
        admin_client.get(address, sortable_query(address, query))

    for captured in queries.captured_queries:
        if captured["sql"].startswith("SELECT"):
            with store.cursor() as cursor:
                cursor.execute("EXPLAIN QUERY PLAN " + captured["sql"].replace("%", "%%"))
                plan = [row[3] for row in cursor.fetchall()]
            assert not [step for step in plan if "TEMP B-TREE" in step], (captured["sql"], plan)
            assert "SCAN task_records" not in plan, (captured["sql"], plan)


@pytest.mark.parametrize("query", ["", "o=5", "status=failed", "channel=telegram", "q=thread"])
def test_task_list_pages_through_all_tasks(
    admin_client: Client, query: str, store, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(TaskRecordAdmin, "list_per_page", 3)
    for number in range(8):
        at = f"2026-01-01T00:00:0{number // 2}+00:00"  # two tasks per timestamp
        thread = f"thread {number % 5}"  # three threads have an earlier task
        task(f"thread {number}", thread_id=thread, status="failed", updated_at=at)
    query = query.replace("o=5", f"o={ACTIVE}")
    lists = [admin_client.get(f"{TASKS}?{query}&p={page}").context["cl"] for page in (1, 2, 3)]

    expected = [f"thread {number}" for number in (range(8) if "o=" in query else range(7, -1, -1))]
    pages = [[record.pk for record in page.result_list] for page in lists]
    assert pages == [expected[:3], expected[3:6], expected[6:]]
    assert {page.result_count for page in lists} == {8}


def test_task_list_shows_what_the_store_has_now(admin_client: Client, store):
    for number in range(3):
        task(f"t{number}", updated_at=f"2026-01-0{number + 1}T00:00:00.000000001+00:00")
    assert following.catch_up().is_complete
    TaskRecord.objects.filter(pk="t0").delete()
    TaskRecord.objects.filter(pk="t1").update(model="new", status="failed")

    page = admin_client.get(TASKS)

    rows = [(row.pk, row.model, row.status) for row in page.context["cl"].result_list]
    assert rows == [("t2", "gpt-test", "running"), ("t1", "new", "failed")]
    assert "2026-01-03 00:00:00 UTC" in page.content.decode()


def test_task_list_says_that_its_index_is_being_built(
    admin_client: Client, store, monkeypatch: pytest.MonkeyPatch
):
    task()
    assert "is being built" not in admin_client.get(TASKS).content.decode()
    monkeypatch.setattr(following, "catch_up", lambda: IndexState(is_complete=False))

    assert "The index is being built" in admin_client.get(TASKS).content.decode()


@pytest.mark.usefixtures("small_window")
def test_checkpoint_list_pages_through_all_checkpoints(admin_client: Client, store):
    record = task()
    expected = [checkpoint(record, number).pk for number in range(8)]
    address, ids = CHECKPOINTS + "?status=running", []
    while address:
        page = admin_client.get(address).context["cl"]
        ids += [row.pk for row in page.result_list]
        address = page.further and CHECKPOINTS + page.further

    assert ids == expected[::-1]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("status=failed", ["b"]),
        ("channel=cli", ["c"]),
        ("provider=anthropic", ["a"]),
        ("model=opus", ["b"]),
        ("active=older", ["a"]),
        ("active=24h", ["b", "c"]),
        ("status=failed&channel=cli", []),
        ("q=a", ["a"]),
        ("q=A", ["a"]),
    ],
)
@pytest.mark.parametrize("address", [TASKS, CHECKPOINTS])
def test_lists_filter(admin_client: Client, address: str, query: str, expected: list[str], store):
    old = "2026-01-01T00:00:00+00:00"
    rows: list[Any] = [
        (task("a", provider="anthropic", updated_at=old), {"created_at": old}),
        (task("b", status="failed", model="opus"), {}),
        (task("c", channel="cli"), {}),
    ]
    for record, fields in rows:
        checkpoint(record, 1, **fields)
    if address == CHECKPOINTS:
        query = query.replace("active", "taken")

    results = admin_client.get(f"{address}?{query}").context["cl"].result_list

    assert sorted(getattr(row, "task_id", "") for row in results) == expected


def test_exact_id_match_takes_precedence(admin_client: Client, store):
    task("x")
    task("xyz", thread_id="thread")

    exact = admin_client.get(TASKS, {"q": "x"}).context["cl"]
    containing = admin_client.get(TASKS + exact.containing).context["cl"]
    by_thread = admin_client.get(TASKS, {"q": "thread"}).context["cl"]

    assert [[row.pk for row in page.result_list] for page in (exact, containing, by_thread)] == [
        ["x"],
        ["xyz", "x"],
        ["xyz"],
    ]


@pytest.mark.parametrize(
    "query",
    [
        "task_id=telegram_42",
        "thread_id__exact=x",
        "execution_history_json__contains=x",
        "checkpoints__items_json__regex=(",
        "_popup=1",
        "_facets=1",
        "_to_field=task_id",
        "status=odd",
        "active=yesterday",
        "taken=yesterday",
        "o=2",
        "o=1.2",
        "o=-",
        "p=2",
        "p=99999999999999999999",
        "p=0",
        "p=-1",
        "after=x",
        "after=%00%20id-eA==",
        "channel=%00",
        "channel=" + "x" * 301,
        "q=" + "x" * 201,
    ],
)
@pytest.mark.parametrize("address", [TASKS, CHECKPOINTS])
def test_invalid_list_query_is_rejected(admin_client: Client, address: str, query: str):
    checkpoint(task())

    response = admin_client.get(f"{address}?{query}")

    assert response.status_code == 400
    messages = ("in the URL", "This list has no page", "200 characters")
    assert any(text in response.content.decode() for text in messages)


@pytest.mark.parametrize("tab", ["transcript", "checkpoints", "resume", "raw"])
def test_every_task_opens(admin_client: Client, tab: str, store, monkeypatch):
    fill(store)
    if store.vendor == "sqlite":  # as the live site does
        monkeypatch.setattr(store.connection, "text_factory", untrusted.display_text)
    content = admin_client.get(TASKS).content.decode()
    addresses = set(re.findall('href="(/admin/tasks/taskrecord/[^"?]+/change/)"', content))

    assert len(addresses) == TaskRecord.objects.count()
    for address in addresses:
        assert admin_client.get(address, {"show": tab}).status_code == 200, address


def test_every_checkpoint_opens(admin_client: Client, store):
    fill(store)

    content = admin_client.get(CHECKPOINTS).content.decode()
    addresses = set(re.findall('href="(/admin/tasks/taskcheckpoint/[^"?]+/change/)"', content))
    assert len(addresses) == TaskCheckpoint.objects.count()
    for address in addresses:
        assert admin_client.get(address).status_code == 200, address


def test_history_is_rendered_like_the_transcript(admin_client: Client, store):
    service.record_checkpoint(update(execution_history=history("say **hi**", "<b>bold</b>")))
    address = f"{TASKS}{id_to_path('telegram_42')}/change/"

    page = admin_client.get(address)
    text = page.content.decode()

    assert 'id="message-2"' in text and "<strong>hi</strong>" in text and "<b>bold" not in text
    assert f'href="{html.escape(thread_url("thread", "telegram_42"))}"' in text
    thread = admin_client.get(thread_url("thread", "telegram_42")).content.decode()
    assert f'href="{address}"' in thread


def test_long_history_is_bounded(admin_client: Client):
    task(execution_history_json=encode_history(history(*["x" * 50_000] * 200), ""))
    address = f"{TASKS}{id_to_path('telegram_42')}/change/"

    sizes = [len(admin_client.get(address, {"show": tab}).content) for tab in ("", "raw")]

    assert max(sizes) < 600_000


def test_task_checkpoints_are_paginated(admin_client: Client, store, store_queries):
    record = task()
    expected = [checkpoint(record, number).pk for number in range(120)]
    address = f"{TASKS}{id_to_path('telegram_42')}/change/?show=checkpoints&p="

    ids, counts = [], set()
    for page in (1, 2, 3):
        with store_queries() as queries:
            steps = admin_client.get(f"{address}{page}").context["steps"]
        ids += [step.id for step, _ in steps]
        counts.add(len(queries))

    assert (ids, len(counts)) == (expected, 1)


def test_page_lists_invalid_values(admin_client: Client, store):
    record = task(
        status="odd",
        execution_history_json="{",
        resumable_history_json='[{"role":1}]',
        checkpoint_count=2**62,
    )
    overwrite(store, "task_records", "updated_at", "yesterday")
    address = f"{TASKS}{id_to_path(record.pk)}/change/"

    lines = admin_client.get(address).context["invalid_values"]

    assert [line.partition(":")[0] for line in lines] == [
        "status",
        "updated_at",
        "execution_history_json",
        "resumable_history_json",
        "checkpoint_count",
    ]


def test_page_of_a_valid_row_lists_no_invalid_values(admin_client: Client, store):
    service.record_checkpoint(update())
    step = TaskCheckpoint.objects.get().pk

    for address in (
        f"{TASKS}{id_to_path('telegram_42')}/change/",
        f"{CHECKPOINTS}{step}/change/",
    ):
        assert admin_client.get(address).context["invalid_values"] == []


@pytest.mark.parametrize("address", [TASKS, f"{TASKS}{id_to_path('telegram_42')}/change/"])
def test_expensive_pages_are_limited_per_user(admin_client: Client, request_slots, address: str):
    task()
    for _ in range(limits.SLOTS_PER_USER):
        request_slots.acquire(int(admin_client.session["_auth_user_id"]))

    assert (
        admin_client.get(
            address, {"show": "raw"} if "change" in address else {"q": "x"}
        ).status_code
        == 429
    )


def test_select_across_is_ignored(admin_client: Client):
    for number in range(60):
        task(f"thread {number}")

    response = clear(admin_client, "thread 1", select_across="1")

    rows = admin_client.get(response["Location"]).context["confirmation"].threads
    assert [row.thread_id for row in rows] == ["thread 1"]
    assert "Select all 60" not in admin_client.get(TASKS).content.decode()


@pytest.mark.parametrize("task_id", ODD_IDS)
def test_task_with_an_odd_id_opens_from_the_list(admin_client: Client, task_id: str):
    task(task_id)
    address = reverse("admin:tasks_taskrecord_change", args=[id_to_path(task_id)])

    assert address in admin_client.get(TASKS).content.decode()
    assert admin_client.get(address).context["original"].pk == task_id


@pytest.mark.parametrize(
    "segment", ["nonsense", "id-", "id-%FF", "id-eA", "%00", "!!!", "id_2DAA_3D_3D", "x/history"]
)
def test_unknown_task_redirects(admin_client: Client, segment: str):
    task("there")

    assert admin_client.get(f"{TASKS}{segment}/change/").status_code == 302


@pytest.mark.parametrize("address", [TASKS, CHECKPOINTS])
def test_add_is_forbidden(admin_client: Client, address: str):
    assert admin_client.get(f"{address}add/").status_code == 403


def test_change_and_delete_are_forbidden(admin_client: Client):
    record = task()
    step = checkpoint(record)
    for address in (f"{TASKS}{id_to_path(record.pk)}/", f"{CHECKPOINTS}{step.pk}/"):
        assert admin_client.post(f"{address}change/", {"status": "failed"}).status_code == 403
        assert admin_client.post(f"{address}delete/", {"post": "yes"}).status_code == 403

    assert TaskRecord.objects.get().status == "running"
    assert TaskCheckpoint.objects.count() == 1


def test_default_delete_action_is_not_offered(admin_client: Client):
    task()

    choices = admin_client.get(TASKS).context["action_form"].fields["action"].choices

    assert [name for name, _ in choices if name] == ["clear_threads"]


def test_clearing_requires_confirmation(admin_client: Client):
    service.record_checkpoint(update())

    page = admin_client.get(clear(admin_client, "telegram_42")["Location"])

    assert [row.thread_id for row in page.context["confirmation"].threads] == ["telegram_42"]
    assert TaskRecord.objects.count() == 1


def test_clearing_deletes_the_whole_thread_and_no_other(admin_client: Client):
    for task_id, thread_id in (("a", "mine"), ("b", "mine"), ("c", "other")):
        service.record_checkpoint(update(task_id=task_id, thread_id=thread_id))

    clearing = confirm(admin_client, clear(admin_client, "a"), with_running="on")

    assert (clearing.source, clearing.cleared, clearing.user_name) == ("admin", 1, "admin")
    assert [record.task_id for record in TaskRecord.objects.all()] == ["c"]
    assert [step.task_id for step in TaskCheckpoint.objects.all()] == ["c"]


@pytest.mark.parametrize("task_id", ODD_IDS)
def test_clearing_accepts_odd_ids(admin_client: Client, task_id: str):
    for id_ in (task_id, "bystander"):
        task(id_)

    content = admin_client.get(TASKS).content.decode()
    assert f'value="{id_to_path(task_id)}"' in content
    clearing = confirm(admin_client, clear(admin_client, task_id), with_running="on")

    assert [record.pk for record in TaskRecord.objects.all()] == ["bystander"]
    assert str(clearing) == "Cleared 1 thread"


@only_postgresql
def test_admin_works_on_postgresql(admin_client: Client, store):
    step = checkpoint(task())

    for address in (
        TASKS + "?q=telegram",
        CHECKPOINTS + "?q=telegram",
        f"{TASKS}{id_to_path('telegram_42')}/change/",
        f"{CHECKPOINTS}{step.pk}/change/",
    ):
        assert admin_client.get(address).status_code == 200
    assert admin_client.get(f"{TASKS}{id_to_path(chr(0))}/change/").status_code == 400
    assert clear(admin_client, "\0").status_code == 400
    confirm(admin_client, clear(admin_client, "telegram_42"), with_running="on")
    assert TaskRecord.objects.count() == 0


def test_clearing_requires_permission(staff_viewer: Client):
    task()

    clear(staff_viewer, "telegram_42")

    assert not Clearing.objects.exists()


def test_read_only_store_offers_no_clearing(admin_client: Client, settings):
    task()
    settings.TASKS_READ_ONLY = True

    clear(admin_client, "telegram_42")

    assert not Clearing.objects.exists()
