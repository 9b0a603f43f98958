"""Tests of the thread list: its rows, filters, search and paging, and the cost of its queries."""

import html
import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connections
from django.http import QueryDict
from django.template.loader import render_to_string
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tasks import service
from tasks.fields import to_text
from tasks.index import search
from tasks.listing import thread_list
from tasks.listing.change_token import change_token
from tasks.listing.filters import SORT_COLUMNS, Filters
from tasks.listing.thread_list import ThreadList, neighbours
from tasks.models import TaskRecord
from tasks.store import daemon, workspace
from tasks.views import sharing, threads
from tests.support.factories import (
    checkpoint,
    history,
    history_json,
    only_sqlite,
    overwrite,
    snapshot,
    task,
    update,
)

pytestmark = pytest.mark.django_db(databases="__all__")

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def ago(**span: float) -> str:
    return to_text(datetime.now(UTC) - timedelta(**span))


def listed_ids(client: Client, query: str = "") -> list[str]:
    response = client.get(f"/?{query}")
    assert response.status_code == 200
    return [row.record.task_id for row in response.context["rows"]]


# Rows


def test_list_shows_newest_first(viewer: Client):
    task("old", updated_at="2026-01-01T00:00:00+00:00")
    task("new", updated_at="2026-01-03T00:00:00+00:00")
    task("middle", updated_at="2026-01-02T00:00:00+00:00")

    assert listed_ids(viewer) == ["new", "middle", "old"]


def test_list_row_describes_its_thread(viewer: Client):
    service.record_checkpoint(update(execution_history=history("Rotate the logs\nplease")))
    service.save_snapshot(
        snapshot(
            status=service.TaskStatus.FAILED,
            execution_history=history("Rotate the logs\nplease"),
            resumable_history=[],
            last_error="disk <full>\nsecond line",
            latest_checkpoint_note="- Confirmed steps: shell\n- Ask for the key",
        )
    )

    row = viewer.get("/").content.decode().split("<tbody>")[1].split("</tbody>")[0]
    texts = [text.strip() for text in re.sub(r"<[^>]+>", "\n", row).split("\n") if text.strip()]

    assert [html.unescape(text) for text in texts] == [
        "Rotate the logs",
        "cannot resume",
        "disk <full>",
        "Ask for the key",
        "telegram_42",
        "failed",
        "telegram",
        "gpt-test",
        "1",
        "step",
        "now",
        "now",
    ]


def test_running_row_is_headed_by_its_latest_request_and_shows_its_call(viewer: Client):
    call = '<tool_call>{"name":"shell","arguments":{"command":"make test"}}</tool_call>'
    messages = history("Rotate the logs", "Done.", "Run the tests", call)
    service.save_snapshot(snapshot(execution_history=messages))

    row, head = (viewer.get(page).content.decode() for page in ("/", "/thread/?id=telegram_42"))

    assert re.findall(r'class="title"[^>]*>([^<]*)</a>', row) == ["Run the tests"]
    assert re.findall(r"<h1[^>]*>([^<]*)</h1>", head) == ["Run the tests"]
    assert re.search(r"first: <span[^>]*>Rotate the logs</span>", row)
    assert re.search(r"First request:</span> <span[^>]*>Rotate the logs</span>", head)
    assert "shell: make test</span>" in row and "shell: make test</span>" in head


@pytest.mark.parametrize(
    ("status", "label"),
    [("timed_out", "timed out"), ("failed", "failed"), ("exploded", "exploded")],
)
def test_status_is_shown_by_its_label(viewer: Client, status: str, label: str):
    task("t", status=status)

    for page in ("/", "/thread/?id=t"):
        content = viewer.get(page).content.decode()
        badges = re.findall(r'<span class="badge [^"]*"[^>]*>\s*([^<]*?)\s*</span>', content)
        assert badges == [label], page


def test_list_shows_unreadable_rows(viewer: Client):
    task("broken", status="exploded", execution_history_json="not json")
    TaskRecord.objects.filter(pk="broken").update(checkpoint_count=-4)
    with connections["tasks"].cursor() as cursor:
        cursor.execute("UPDATE task_records SET updated_at = 'yesterday', created_at = ''")

    content = viewer.get("/").content.decode()

    assert "broken" in content
    assert "exploded" in content
    assert "yesterday" in content


def test_list_shows_a_row_with_invalid_text(viewer: Client, monkeypatch: pytest.MonkeyPatch):
    task()
    store = connections["tasks"]
    overwrite(store, "task_records", "channel", b"oh\xff")
    with store.cursor() as cursor:
        cursor.execute("UPDATE task_records SET last_error = CAST(x'6f68ff' AS TEXT)")
    monkeypatch.setattr(store.connection, "text_factory", store.connection.text_factory)
    workspace.replace_invalid_utf8(sender=None, connection=store)

    assert "oh\ufffd" in viewer.get("/").content.decode()


@pytest.mark.parametrize("thread_id", ["\t", "\n \n", "\x1f", "\u200b"])
def test_invisible_id_is_escaped(viewer: Client, thread_id: str):
    task(thread_id)

    assert html.escape(ascii(thread_id)) in viewer.get("/").content.decode()


def test_empty_list_shows_getting_started(viewer: Client):
    content = viewer.get("/").content.decode()

    for text in (
        "No threads yet",
        "--workspace",
        "serve --demo",
        "from gloamy_site import connect",
    ):
        assert text in content


# Filters


@pytest.fixture
def mixed() -> None:
    """Add threads that differ in every filterable property. Most are named after their status."""
    task("running", updated_at=ago(minutes=1))
    task("stalled", updated_at=ago(minutes=20), checkpoint_count=1)
    task("failed", status="failed", updated_at=ago(hours=2), channel="slack", checkpoint_count=9)
    task("timed_out", status="timed_out", updated_at=ago(days=2), provider="ollama")
    task("cancelled", status="cancelled", updated_at=ago(days=8), model="qwen3:32b")
    task("completed", status="completed", updated_at=ago(days=40), checkpoint_count=4)
    TaskRecord.objects.exclude(pk="failed").update(
        resumable_history_json=history_json(("user", "hi")), created_at=ago(days=50)
    )
    TaskRecord.objects.filter(pk="completed").update(created_at=ago(days=41))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("status=running", ["running"]),
        ("status=stalled", ["stalled"]),
        ("status=failed", ["failed"]),
        ("status=timed_out", ["timed_out"]),
        ("channel=slack", ["failed"]),
        ("provider=ollama", ["timed_out"]),
        ("model=qwen3:32b", ["cancelled"]),
        ("model=nothing", []),
        ("period=1h", ["running", "stalled"]),
        ("period=7d&status=failed", ["failed"]),
        ("resume=no", ["failed"]),
        ("q=ED_O&where=ids", ["timed_out"]),
        ("q=led&where=ids", ["stalled", "failed", "cancelled"]),
        ("sort=-activity", ["completed", "cancelled", "timed_out", "failed", "stalled", "running"]),
        ("sort=steps&period=30d", ["failed", "stalled", "timed_out", "running", "cancelled"]),
        ("sort=age&status=stalled", ["stalled"]),
        ("sort=-steps&status=completed", ["completed"]),
        ("unknown=1&utm_source=chat", ["running", "stalled", "failed", "timed_out", "cancelled"]),
        ("channel=", ["running", "stalled", "failed", "timed_out", "cancelled", "completed"]),
    ],
)
def test_list_filters(viewer: Client, store, mixed, query: str, expected: list[str]):
    ids = listed_ids(viewer, query)

    assert ids[: len(expected)] == expected
    assert len(ids) == len(expected) or "unknown" in query


def test_list_filters_times_in_utc(viewer: Client, store):
    for hour in (9, 10, 11):
        task(f"at {hour}", updated_at=f"2026-01-01T{hour:02}:00:00.123456789+00:00")

    query = "start=2026-01-01T09:30&end=2026-01-01T10:30"

    assert listed_ids(viewer, query) == ["at 10"]


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("status=exploded", "status"),
        ("period=1y", "period"),
        ("start=yesterday", "start"),
        ("end=2026-99-01", "end"),
        ("resume=yes", "resume"),
        ("where=nowhere", "where"),
        ("sort=title", "sort"),
        ("q=" + "x" * 201, "q"),
        ("q=%00", "q"),
        ("channel=" + "x" * 301, "channel"),
        ("sort=steps&after=many&task=x", "after"),
    ],
)
def test_invalid_filter_is_named(viewer: Client, query: str, name: str):
    response = viewer.get(f"/?{query}")

    assert response.status_code == 400
    assert response.context["reason"].startswith(f"Invalid “{name}” in the URL: ")


def test_empty_result_offers_to_remove_each_filter(viewer: Client):
    task()

    response = viewer.get("/?channel=slack&q=what&status=failed")

    assert "Remove a filter:" in response.content.decode()
    assert [tuple(chip.values())[:3] for chip in response.context["active_filters"]] == [
        ("", "failed", "/?channel=slack&q=what"),
        ("", "“what”", "/?status=failed&channel=slack"),
        ("channel", "slack", "/?status=failed&q=what"),
    ]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "status=failed",
        "channel=a%26b&sort=-age",
        "q=%22caf%C3%A9%22&where=tool",
        "start=2026-01-01T09%3A30%3A00Z&end=2026-01-02T00%3A00%3A00Z&resume=no",
        "zone=Europe%2FBerlin&q=after%3A2026-01-01",
    ],
)
def test_filters_round_trip_through_the_query_string(query: str):
    filters = Filters.parse(QueryDict(query))

    assert parse_qs(filters.query_string()) == parse_qs(query)
    assert Filters.parse(QueryDict(filters.query_string())) == filters


def test_rows_link_to_their_thread_and_back(viewer: Client):
    task(channel="a&b")

    [row] = viewer.get("/?channel=a%26b&sort=age").context["rows"]

    address = QueryDict(row.url.partition("?")[2])
    assert address["id"] == "telegram_42"
    assert Filters.parse(QueryDict(address["list"])) == Filters(channel="a&b", sort="age")


def test_states_are_counted(viewer: Client, store, mixed):
    counts = {s.name: s.count for s in viewer.get("/").context["states"]}

    assert counts == {
        "": "6",
        "running": "1",
        "stalled": "1",
        "completed": "1",
        "failed": "1",
        "timed_out": "1",
        "cancelled": "1",
    }


def test_state_counts_apply_the_other_filters(viewer: Client, store, mixed):
    states = viewer.get("/?channel=telegram&status=failed&period=7d").context["states"]

    counts = {s.name: s.count for s in states}
    assert (counts[""], counts["failed"], counts["timed_out"]) == ("3", "0", "1")


def test_choices_include_newest_and_selected_values(viewer: Client, mixed):
    choices = viewer.get("/?channel=fax").context["choices"]

    assert {choice["name"]: choice["values"] for choice in choices} == {
        "channel": ["fax", "slack", "telegram"],
        "provider": ["ollama", "openai"],
        "model": ["gpt-test", "qwen3:32b"],
    }


# Search


def find(client: Client, **query: str) -> list[tuple[str, int, str, str]]:
    """Return the task id, message number, role and highlighted text of every hit shown."""
    rows = client.get(f"/?{urlencode(query)}").context["rows"]
    return [
        (row.record.task_id, hit.number, hit.role, hit.match) for row in rows for hit, _ in row.hits
    ]


HARD = [
    'say "hi"',
    "two\nlines",
    "tab\there",
    "back\\slash",
    r"C:\new\table",
    "100%_sure",
    "naïve café",
    "日本語",
    "🦉",
    "it's",
    "\x1b[31m",
    "a/b",
    '\\"',
    "<b>",
]


@pytest.mark.parametrize("text", HARD)
def test_search_matches_escaped_text(viewer: Client, store, text: str):
    content = f"before {text} after"
    for depth in ("text", "JSON", "JSON in JSON"):
        task(depth, execution_history_json=history_json(("system", "you"), ("assistant", content)))
        content = json.dumps({"content": content}, ensure_ascii=False)
    task("other", execution_history_json=history_json(("user", "something else")))

    hits = [hit[:3] for hit in find(viewer, q=text)]
    assert sorted(hits) == [(depth, 2, "assistant") for depth in ("JSON", "JSON in JSON", "text")]


@pytest.mark.parametrize("text", ["naïve café", "日本語", "🦉"])
def test_search_matches_escapes_of_other_programs(viewer: Client, store, text):
    task(execution_history_json=json.dumps([{"role": "user", "content": text}]))

    assert find(viewer, q=f'"{text}"') == [("telegram_42", 1, "user", text)]


@pytest.mark.parametrize(("text", "query"), [("Hello", "hELLO"), ("ÉCLAIR", "éclair")])
def test_search_ignores_case(viewer: Client, store, text: str, query: str):
    task(execution_history_json=history_json(("user", text)))

    assert find(viewer, q=query) == [("telegram_42", 1, "user", text)]


@pytest.mark.parametrize(
    ("where", "numbers"),
    [("messages", [2, 3]), ("user", [2]), ("assistant", [3]), ("tool", [4, 5]), ("system", [1])],
)
def test_search_can_be_limited_to_one_role(viewer: Client, store, where: str, numbers: list[int]):
    task(
        "needle",
        execution_history_json=history_json(
            ("system", "a needle"),
            ("user", "a needle"),
            ("assistant", "a needle"),
            ("user", "[Tool results]\na needle"),
            ("tool", "a needle"),
        ),
    )

    assert [hit[1] for hit in find(viewer, q="a needle", where=where)] == numbers
    assert find(viewer, q="needle", where="ids") == []


def test_search_everywhere_includes_ids(viewer: Client, store):
    task("slack_needle")
    task("other", execution_history_json=history_json(("user", "needle")))

    assert set(listed_ids(viewer, "q=NEEDLE")) == {"slack_needle", "other"}


def test_hit_is_marked_and_links_to_its_message(viewer: Client):
    task(execution_history_json=history_json(("user", "x"), ("user", "<i>find</i> me")))

    content = viewer.get("/?q=find&where=user").content.decode()

    assert "&lt;i&gt;<mark>find</mark>&lt;/i&gt; me" in content
    link = "id=telegram_42&amp;message=2&amp;find=find&amp;list=q%3Dfind%26where%3Duser#message-2"
    assert link in content


def test_search_shows_hits_in_an_unreadable_history(viewer: Client, store):
    task(execution_history_json='[{"role":"user","content":"a needle"')

    assert find(viewer, q="needle") == [("telegram_42", 1, "unreadable", "needle")]
    # the thread page cannot search an unreadable history
    assert "find=" not in viewer.get("/?q=needle").context["rows"][0].hits[0][1]


def test_search_covers_only_the_latest_task_of_a_thread(viewer: Client, store):
    old, new = "2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00"
    task(
        "a", thread_id="t", updated_at=old, execution_history_json=history_json(("user", "needle"))
    )
    task("b", thread_id="t", updated_at=new)

    assert listed_ids(viewer, "q=needle") == []


def test_slow_search_can_be_continued(viewer: Client, store, monkeypatch):
    monkeypatch.setattr(thread_list, "SCAN_SECONDS", -1)
    monkeypatch.setattr(thread_list, "SEARCH_BATCH", 2)
    monkeypatch.setattr(search, "MANY_TEXTS", 0)
    for number in range(7):
        is_wanted = number % 3 == 0
        task(
            f"task {number}",
            updated_at=f"2026-01-01T00:00:0{number}+00:00",
            execution_history_json=history_json(("user", "needle" if is_wanted else "hay")),
        )

    ids, address, requests = [], "/?q=needle", 0
    while address:
        context = viewer.get(address).context
        ids += [row.record.task_id for row in context["rows"]]
        address, requests = context["continue_url"], requests + 1

    assert ids == ["task 6", "task 3", "task 0"]
    assert requests > 1


# Paging


SORTS = [sign + name for name in SORT_COLUMNS for sign in ("", "-")]


@pytest.mark.parametrize(
    ("query", "sort"),
    [("", sort) for sort in SORTS]  # the other queries with each column, in either direction
    + list(product(["channel=telegram", "q=needle", "resume=no"], ["activity", "-age", "steps"])),
)
def test_list_pages_through_every_thread_in_both_directions(
    viewer: Client, store, monkeypatch, sort: str, query: str
):
    monkeypatch.setattr(threads, "THREADS_PER_PAGE", 3)
    for number in range(8):
        moment = f"2026-01-0{number // 3 + 1}T00:00:00+00:00"
        task(
            f"thread {number}",
            updated_at=moment,
            created_at=moment,
            checkpoint_count=number // 3,
            execution_history_json=history_json(("user", "needle")),
        )

    pages, address = [], f"/?{query}&sort={sort}"
    while address:
        context = viewer.get(address).context
        pages.append([row.record.thread_id for row in context["rows"]])
        address, newer = context["older_url"], context["newer_url"]
    pages_back = []
    while newer:
        context = viewer.get(newer).context
        pages_back.append([row.record.thread_id for row in context["rows"]])
        newer = context["newer_url"]

    order = range(8) if sort.startswith("-") else range(7, -1, -1)
    assert [thread for page in pages for thread in page] == [f"thread {n}" for n in order]
    assert pages_back == pages[-2::-1]


def test_page_before_the_second_is_the_first_after_new_activity(
    viewer: Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(threads, "THREADS_PER_PAGE", 2)
    for number in range(4):
        task(f"task {number}", updated_at=f"2026-01-01T00:00:0{number}+00:00")
    second = viewer.get(viewer.get("/").context["older_url"])
    task("task 4", updated_at="2026-01-01T00:00:04+00:00")

    context = viewer.get(second.context["newer_url"]).context
    first = viewer.get(context["newer_url"]).context

    assert [row.record.task_id for row in context["rows"]] == ["task 3", "task 2"]
    assert [row.record.task_id for row in first["rows"]] == ["task 4", "task 3"]
    assert (first["is_first"], first["is_live"], first["newer_url"]) == (True, True, "")


def test_list_says_which_of_its_threads_it_shows(viewer: Client, monkeypatch: pytest.MonkeyPatch):
    def shown(address: str) -> tuple[list[str], Any]:
        response = viewer.get(address)
        head, pages = response.content.decode().split('class="range">')[1].split('class="pages"')
        ranges = [head.split("<")[0], pages.split("<span>")[1].split("<")[0]]
        return ranges, response.context

    monkeypatch.setattr(threads, "THREADS_PER_PAGE", 2)
    for number in range(5):
        task(f"task {number}", status="failed", updated_at=f"2026-01-01T00:00:0{number}+00:00")
    task("other", status="completed")

    first, context = shown("/?status=failed")
    second, context = shown(context["older_url"])
    third, last = shown(context["older_url"])
    back, _ = shown(last["newer_url"])
    unknown, _ = shown(context["older_url"].replace("&from=5", "&from=x"))

    assert [first, second, third] == [
        ["1\u20132 of 5"] * 2,
        ["3\u20134 of 5"] * 2,
        ["5\u20135 of 5"] * 2,
    ]
    assert (back, unknown) == (second, ["5"] * 2)


def test_active_filter_is_shown_once(viewer: Client):
    task(channel="slack", status="failed")

    content = viewer.get(
        "/?channel=slack&status=failed&q=telegram&start=2026-01-01"
    ).content.decode()

    assert "Remove filter" not in content and "from 2026-01-01 00:00" in content
    assert '<a class="drop-all" href="/">Clear filters</a>' in content
    assert "Clear filters" not in viewer.get("/?sort=age").content.decode()


QUERIES = ["", "status=stalled", "channel=telegram&sort=age", "resume=no", "q=needle", "sort=steps"]


@pytest.mark.parametrize("query", [q for q in QUERIES if q != "q=needle"])
def test_list_query_count_is_constant(viewer: Client, store, store_queries, query: str):
    listed_ids(viewer, query)  # builds the index
    counts = []
    for count in (1, 30):
        for number in range(count):
            messages = history_json(("user", "needle"))
            record = {"execution_history_json": messages, "updated_at": ago(days=1)}
            checkpoint(task(f"{count} {number}", **record))
        with store_queries() as queries:
            assert len(listed_ids(viewer, query)) >= count
        counts.append(len(queries))

    assert counts[0] == counts[1]


@pytest.mark.parametrize("query", [q for q in QUERIES if q != "q=needle"])
def test_list_does_not_select_whole_histories(viewer: Client, store, store_queries, query: str):
    task(updated_at=ago(days=1))

    with store_queries() as queries:
        listed_ids(viewer, query)

    large = "execution_history_json|resumable_history_json|final_response|last_error|note"
    pattern = rf'(?<!LEFT\()(?<!RIGHT\()(?<!octet_length\()"task_records"\."\w*({large})'
    statements = [query["sql"] for query in queries]
    assert len(statements) >= 3
    assert [s for s in statements if re.search(pattern, s, re.IGNORECASE)] == []


@only_sqlite
@pytest.mark.parametrize(
    "query",
    ["", "status=failed", "status=stalled", "sort=steps&status=failed", "sort=-age", "period=7d"],
)
def test_list_scans_no_table(viewer: Client, store, store_queries, query: str):
    task()
    with store_queries() as queries:
        listed_ids(viewer, query)

    plans = []
    with store.cursor() as cursor:
        for captured in queries:
            cursor.execute(f"EXPLAIN QUERY PLAN {captured['sql']}")
            plans += [row[3] for row in cursor.fetchall()]

    table_steps = [step for step in plans if "task_records" in step]
    assert len(table_steps) >= 4
    assert [s for s in table_steps if s.startswith("SCAN") and "USING" not in s] == []
    assert [step for step in plans if step == "USE TEMP B-TREE FOR ORDER BY"] == []


# Neighbours


def test_neighbours_respect_the_filters(store):
    for number in range(6):
        task(
            f"task {number}",
            status="failed" if number % 2 else "completed",
            updated_at=f"2026-01-01T00:00:0{number}+00:00",
            checkpoint_count=5 - number,
        )
    record = TaskRecord.objects.get(pk="task 3")

    assert neighbours(Filters(), record) == ("task 4", "task 2")
    assert neighbours(Filters(status="failed"), record) == ("task 5", "task 1")
    assert neighbours(Filters(status="completed"), record) == ("task 4", "task 2")
    assert neighbours(Filters(sort="steps"), record) == ("task 2", "task 4")
    assert neighbours(Filters(q="task 0", where="ids"), record) == (None, "task 0")


# The daemon and stalled threads


@pytest.fixture
def write_heartbeat(tmp_path, monkeypatch):
    """A function that writes text to the heartbeat file."""
    file = tmp_path / "daemon_state.json"
    monkeypatch.setattr(daemon, "_heartbeat_file", lambda: file)
    return file.write_text


def heartbeat_json(**ago_: float) -> str:
    return json.dumps({"written_at": to_text(NOW - timedelta(**ago_)), "components": {}})


@pytest.mark.parametrize(
    ("content", "state"),
    [
        (heartbeat_json(seconds=1), "alive"),
        (heartbeat_json(seconds=19), "alive"),
        (heartbeat_json(seconds=20), "dead"),
        (heartbeat_json(days=3), "dead"),
        (heartbeat_json(seconds=-30), "alive"),
        ('{"written_at":"2026-03-01T11:59:59Z"}', "alive"),
        ('{"written_at":"yesterday"}', "unknown"),
        ('{"written_at":null}', "unknown"),
        ("{}", "unknown"),
        ("[1", "unknown"),
        ("", "unknown"),
    ],
)
def test_heartbeat_shows_whether_the_daemon_is_alive(write_heartbeat, content: str, state: str):
    write_heartbeat(content)

    assert daemon.daemon(NOW).state == state


def test_heartbeat_file_is_next_to_the_workspace(store, monkeypatch, tmp_path):
    folder = tmp_path / "workspace" / "state"
    monkeypatch.setattr("tasks.store.daemon.store_file", lambda: folder / "tasks.db")
    (tmp_path / "daemon_state.json").write_text(heartbeat_json(seconds=1))

    state = daemon.daemon(NOW).state

    assert state == ("alive" if store.vendor == "sqlite" else "unknown")


@pytest.mark.parametrize(
    ("content", "minutes", "is_stalled"),
    [
        ("", 9, False),
        ("", 11, True),
        (heartbeat_json(seconds=1), 9, False),
        (heartbeat_json(seconds=1), 11, True),
        (heartbeat_json(minutes=5), 6, True),  # the thread was left running by a daemon that died
        (heartbeat_json(minutes=5), 4, False),  # updated after the daemon died, so by another agent
        (heartbeat_json(minutes=30), 11, True),
    ],
)
def test_thread_is_stalled_when_silent_or_left_by_a_dead_daemon(
    store, write_heartbeat, content: str, minutes: int, is_stalled: bool
):
    write_heartbeat(content)
    at_noon = daemon.daemon(NOW)
    record = task(updated_at=to_text(NOW - timedelta(minutes=minutes)))

    [stalled] = (
        ThreadList(Filters(status="stalled" if is_stalled else "running"), at_noon).page(5).records
    )

    assert stalled == record
    assert at_noon.is_stalled(stalled) == is_stalled


def test_only_running_threads_are_stalled(store):
    for status in ("completed", "failed", "exploded"):
        task(status, status=status, updated_at="2026-01-01T00:00:00+00:00")

    assert ThreadList(Filters(status="stalled")).page(5).records == []


def test_stalled_timeout_is_configurable(viewer: Client, settings):
    task(updated_at=ago(minutes=20))
    settings.STALLED_AFTER = timedelta(minutes=30)

    assert listed_ids(viewer, "status=stalled") == []


@pytest.mark.parametrize("state", ["alive", "dead", "unknown"])
def test_head_shows_whether_the_daemon_is_alive(viewer: Client, write_heartbeat, state: str):
    content = {"alive": ago(seconds=1), "dead": ago(days=1), "unknown": ""}[state]
    write_heartbeat(json.dumps({"written_at": content}))

    assert f'class="daemon {state}"' in viewer.get("/").content.decode()


# Live updates


def poll_address(client: Client) -> str:
    [address] = re.findall(r'hx-get="([^"]*)"', client.get("/").content.decode())
    return html.unescape(address)


def test_poll_returns_nothing_when_unchanged(viewer: Client, store, store_queries):
    task(updated_at=ago(days=1))
    address = poll_address(viewer)

    with store_queries() as queries:
        response = viewer.get(address)

    assert (response.status_code, response.content) == (204, b"")
    assert len(queries) == (0 if store.vendor == "sqlite" else 1)


@pytest.mark.django_db(databases="__all__", transaction=True)
def test_poll_returns_the_list_after_a_new_checkpoint(viewer: Client, store):
    address = poll_address(viewer)

    service.record_checkpoint(update())
    content = viewer.get(address).content.decode()

    assert "telegram_42" in content
    assert "<html" not in content
    assert 'id="daemon"' in content


def test_poll_of_an_unchanged_list_asks_only_who_is_signed_in(viewer: Client):
    address = poll_address(viewer)

    with CaptureQueriesContext(connections["default"]) as queries:
        response = viewer.get(address)

    assert response.status_code == 204
    tables = [re.findall(r'FROM "(\w+)"', query["sql"])[0] for query in queries]
    assert tables == ["django_session", "auth_user"]


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_polls_at_the_same_version_share_a_rendering(viewer: Client, store, store_queries):
    task("shown")
    first = viewer.get("/?status=running&seen=")

    with store_queries() as queries:
        again = viewer.get("/?status=running&seen=1")
        assert again.content == first.content
        assert len(queries) == 0
        others = [viewer.get(f"/?{query}&seen=") for query in ("", "status=failed", "sort=age")]

    assert len({first.content, *(other.content for other in others)}) == 4
    assert len(queries) > 0


@pytest.mark.django_db(databases="__all__", transaction=True)
def test_shared_list_is_never_older_than_the_poll(viewer: Client, store):
    for number in range(3):
        service.record_checkpoint(update(thread_id=f"new-{number}", task_id=f"new-{number}"))
        assert f"new-{number}" in viewer.get("/?seen=").content.decode()


def test_shared_list_depends_on_permissions(viewer: Client, client: Client):
    task("clearable")
    clearer = User.objects.create_user("clearer")
    clearer.user_permissions.set(
        Permission.objects.filter(codename__in=["view_taskrecord", "clear_thread"])
    )
    client.force_login(clearer)
    for _ in range(2):
        assert b"checkbox" in client.get("/?seen=").content
        assert b"checkbox" not in viewer.get("/?seen=").content

    clearer.user_permissions.clear()
    assert client.get("/?seen=").status_code == 403
    client.logout()
    assert client.get("/?seen=").status_code == 302


def test_row_is_rendered_again_if_anything_changes_that_it_shows(viewer: Client, monkeypatch):
    def rendered() -> list[str]:
        """Request the list, and return the ids of the threads whose rows were rendered."""
        rows: list[str] = []
        render = render_to_string

        def count(template: str, context: Any, request: Any = None) -> str:
            rows.extend([context["record"].thread_id] if "record" in context else [])
            return render(template, context, request)

        with monkeypatch.context() as patch:
            patch.setattr(threads, "render_to_string", count)
            html = viewer.get("/").content.decode()
        assert html.count('<tr id="thread-') == TaskRecord.objects.count()
        return rows

    for name in ("one", "two"):
        task(name, updated_at=ago(days=2), created_at=ago(days=2))
    assert rendered() == ["two", "one"]
    assert rendered() == []
    User.objects.get().user_permissions.add(Permission.objects.get(codename="clear_thread"))
    assert rendered() == ["two", "one"]
    assert rendered() == []

    TaskRecord.objects.filter(task_id="one").update(last_error="a new error")
    assert rendered() == ["one"]
    TaskRecord.objects.filter(task_id="one").update(
        execution_history_json=history_json(("user", "a new title"))
    )
    assert rendered() == ["one"]
    before = to_text(TaskRecord.objects.get(task_id="two").created_at)
    later = before.replace("+00:00", "001+00:00")  # a nanosecond, if the time has microseconds
    TaskRecord.objects.filter(task_id="two").update(created_at=later)
    assert rendered() == ["two"]
    tomorrow = timezone.now() + timedelta(days=1)
    monkeypatch.setattr(timezone, "now", lambda: tomorrow)
    assert rendered() == ["two", "one"]


def test_simultaneous_polls_render_once():
    started, calls = threading.Barrier(4), []

    def render() -> str:
        calls.append(1)
        time.sleep(0.2)  # so that the others ask meanwhile
        return "<p>"

    def poll(_: int) -> str:
        started.wait()
        return sharing.shared(("key",), render)

    with ThreadPoolExecutor(4) as executor:
        assert list(executor.map(poll, range(4))) == ["<p>"] * 4
    assert len(calls) == 1


def test_error_is_not_shared():
    with pytest.raises(ZeroDivisionError):
        sharing.shared(("key",), lambda: str(1 // 0))

    assert sharing.shared(("key",), lambda: "<p>") == "<p>"


def test_selection_is_submitted_with_a_csrf_token(operator: Client):
    task()
    page, poll = (operator.get(query).content.decode() for query in ("/", "/?seen="))

    [token] = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)" form="selection"', page)
    assert 'id="selection"' in poll
    assert "csrf" not in poll
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = operator.cookies
    form = {"csrfmiddlewaretoken": token, "thread": ""}
    assert strict.post("/clear/", form).status_code != 403


def test_poll_detects_daemon_and_clock_changes(write_heartbeat):
    moments = [NOW, NOW + timedelta(minutes=1)]
    versions = {change_token(daemon.daemon(moment)) for moment in moments}
    write_heartbeat(heartbeat_json(seconds=1))
    versions.add(change_token(daemon.daemon(NOW)))

    assert len(versions) == 3


@pytest.mark.parametrize(
    ("query", "is_live"),
    [
        ("", True),
        ("status=running", True),
        ("channel=slack", True),
        ("sort=age", False),
        ("q=needle", False),
        ("resume=no", True),
        ("after=2026&task=x", False),
    ],
)
def test_list_is_live_when_sorted_by_activity(viewer: Client, query: str, is_live: bool):
    task()

    assert ("data-poll" in viewer.get(f"/?{query}").content.decode()) == is_live
