"""Tests of errors: the figures equal a plain loop over the store, and the list they link to."""

import json
import re
from collections import defaultdict
from itertools import product
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from django.http import QueryDict
from django.test import Client
from django.utils.html import escape

from masking import mask
from tasks import service
from tasks.index import error_shapes, following
from tasks.index.models import ErrorShape, Failure
from tasks.insights.errors import read_errors
from tasks.insights.selection import Selection
from tasks.listing.filters import Filters
from tasks.messages import decode_items
from tasks.models import TaskRecord
from tasks.store.daemon import daemon
from tests.support.factories import checkpoint, history_json, task

pytestmark = pytest.mark.django_db(databases="__all__")

FAILED = ("failed", "timed_out")
CALLS = (
    ("shell", False, "cannot open '/tmp/a'"),
    ("shell", False, "cannot open '/tmp/b'"),
    ("shell", False, ""),
    ("fetch", False, "HTTP 503: try again\nerror: 17 seconds"),
    ("fetch", False, "cannot open '/tmp/c'"),
    ("fetch", True, "error: no error"),
)
ERRORS = ("LLM request timed out after 300s", "LLM request timed out after 20s", None, "disk full")


def at(day: int, second: int = 0) -> str:
    return f"2026-11-{day:02}T10:00:{second:02}+00:00"


def items(*calls: tuple[str, bool, str]) -> str:
    names = ("tool_name", "success", "output")
    return json.dumps([dict(zip(names, call, strict=True)) | {"arguments": {}} for call in calls])


@pytest.fixture
def threads(store) -> None:
    """Threads with one task or several, of all statuses, with all kinds of failures."""
    statuses = ("failed", "timed_out", "completed", "cancelled", "running")
    for number in range(40):
        record = task(
            f"task {number}",
            thread_id=f"thread {number % 33}",
            channel=("slack", "email")[number % 2],
            model=("gpt", "qwen", "claude")[number % 3],
            status=statuses[number % 5],
            last_error=ERRORS[number % 4],
            resumable_history_json=history_json(("user", "x")) if number % 2 else "[]",
            created_at=at(1),
            updated_at=at(1 + number % 28, 30),
            completed_at=at(1 + number % 28, 29) if number % 2 else None,
        )
        for step in range(number % 4):
            calls = [CALLS[(number + step + n) % len(CALLS)] for n in range(step + 1)]
            text = items(*calls) if number % 7 else "not JSON"
            checkpoint(record, step + 1, items_json=text, created_at=at(1 + number % 28, step))


def scanned(is_wanted: Any, tool: str = "") -> dict[str, Any]:
    """Return the figures of each shape, read from the store without the index."""
    found: dict[str, Any] = defaultdict(lambda: [0, set(), [], set()])

    def add(record: TaskRecord, tool: str, text: str, otherwise: str, time: Any) -> None:
        line = error_shapes.error_line(mask(text))
        figures = found[error_shapes.shape_of(line) or otherwise]
        figures[0] += 1
        figures[1].add(record.thread_id)
        figures[2].append(str(time.text))
        figures[3].add(tool)

    for record in filter(is_wanted, TaskRecord.objects.latest_per_thread()):
        if record.status in FAILED and not tool:
            status = record.status.replace("_", " ")
            otherwise = f"{status} without an error message"
            time = record.completed_at or record.updated_at
            add(record, "", record.last_error or "", otherwise, time)
        for row in record.checkpoints.all():
            if row.items_json.startswith("["):
                for call in decode_items(row.items_json):
                    if not call.success and call.tool_name == (tool or call.tool_name):
                        otherwise = f"{call.tool_name}: no output"
                        add(record, call.tool_name, call.output, otherwise, row.created_at)
    return {
        shape: (n, len(ids), max(times), tools) for shape, (n, ids, times, tools) in found.items()
    }


def selection(query: str) -> Selection:
    return Selection.of(Filters.parse(QueryDict(query)), daemon())


def follow() -> None:
    while not following.catch_up(background=False).is_complete:
        pass
    following.catch_up_texts(60)


FILTERS: dict[str, Any] = {
    "": lambda record: True,
    "channel=slack": lambda record: record.channel == "slack",
    "model=qwen&status=failed": lambda r: (r.model, r.status) == ("qwen", "failed"),
    "start=2026-11-10T10:00:30Z&end=2026-11-20T10:00:30Z": (
        lambda r: at(10, 30) <= r.updated_at.text <= at(20, 30)
    ),
    "q=thread+3&where=ids": lambda record: "thread 3" in record.thread_id,
    "q=channel:email+before:2026-11-09": (
        lambda r: r.channel == "email" and r.updated_at.text < at(9)
    ),
    "q=disk": lambda record: "disk" in (record.last_error or ""),
    "resume=no": lambda record: record.channel == "slack",
    "channel=none": lambda record: False,
}


def test_figures_equal_a_loop_over_the_store(threads: None):
    follow()
    for query, tool in product(FILTERS, ["", "shell", "none"]):
        check_figures(query, tool)


def check_figures(query: str, tool: str) -> None:
    full_query = f"{query}&{urlencode({'tool': tool})}" if tool else query
    found = read_errors(selection(full_query), 1_000)
    expected = scanned(FILTERS[query], tool)

    assert expected == {
        error.text: (error.failures, error.threads, error.last, set(error.tools))
        for error in found.errors
    }
    assert found.failures == sum(n for n, *_ in expected.values())
    assert found.number == len(expected)
    everything = {shape: figures[2] for shape, figures in scanned(FILTERS[""]).items()}
    for error in found.errors:
        assert error.first <= error.last <= everything[error.text]
        assert len(error.trend) == 24
        if "start" not in query:
            assert sum(error.trend) == error.failures


def counted_by_links(viewer: Client, page: str) -> None:
    """Follow each link with a number to the list, which must have as many threads."""
    links = re.findall(r'<a href="(/\?[^"]*)">(?:<b>)?([\d,]+)\b', page)
    assert links
    for url, number in links:
        query = dict(parse_qsl(urlsplit(url.replace("&amp;", "&")).query))
        states = viewer.get("/", query).context["states"]
        assert (url, states[0].count) == (url, number)


def test_counts_agree_with_the_list(threads: None, viewer: Client):
    follow()
    for query in ("", "channel=slack", "tool=shell", "model=qwen&tool=fetch", "q=disk"):
        counted_by_links(viewer, viewer.get(f"/errors/?{query}").content.decode())


def test_any_error_of_a_tool_is_a_filter_of_the_list(threads: None, viewer: Client):
    follow()
    of_tool = {
        record.thread_id
        for record in TaskRecord.objects.latest_per_thread()
        for row in record.checkpoints.all()
        if '"fetch", "success": false' in row.items_json
    }

    response = viewer.get("/", {"error": "any", "tool": "fetch"})
    assert {row.record.thread_id for row in response.context["rows"]} == of_tool
    assert [(f["label"], f["text"]) for f in response.context["active_filters"]] == [
        ("tool", "fetch"),
        ("error", "any"),
    ]


def test_page_of_an_error_shows_its_variants_threads_and_tools(threads: None, viewer: Client):
    follow()
    shape = ErrorShape.objects.get(text="cannot open <text>")

    response = viewer.get("/errors/", {"error": shape.pk})

    content = response.content.decode()
    for text in ("cannot open <text>", "cannot open '/tmp/a'", "cannot open '/tmp/c'"):
        assert escape(text) in content
    assert [tool for tool, *_ in response.context["tools"]] == ["shell", "fetch"]
    counted_by_links(viewer, content)
    unknown = viewer.get("/errors/", {"error": 1}).content.decode()
    assert "No thread that matches has this error." in unknown


def test_thread_links_to_the_same_error_elsewhere(threads: None, viewer: Client):
    follow()
    shape = ErrorShape.objects.get(text="LLM request timed out after <number>s")
    same = viewer.get("/", {"error": shape.pk}).context["rows"]

    content = viewer.get("/thread/", {"id": same[0].record.thread_id}).content.decode()
    link = f'<a href="/?error={shape.pk}">The same error in {len(same) - 1} other threads</a>'
    assert link in content


def test_errors_are_masked_and_go_with_their_threads(viewer: Client):
    record = task("a", status="failed", last_error="error: password=hunter2-abcdef was refused")
    task("b", status="failed", last_error="disk full")
    follow()

    assert "hunter2" not in repr([*Failure.objects.values(), *ErrorShape.objects.values()])
    assert "hunter2" not in viewer.get("/errors/").content.decode()
    service.delete_by_thread_id(record.thread_id)
    follow()
    assert [shape.text for shape in ErrorShape.objects.all()] == ["disk full"]


def test_errors_say_what_has_not_been_read_yet(viewer: Client, monkeypatch):
    task("a", status="failed", last_error="disk full")
    monkeypatch.setattr(following, "catch_up_texts", lambda *arguments: None)

    assert "1 thread has not been read yet" in viewer.get("/errors/").content.decode()


def test_no_errors_is_said(viewer: Client):
    task("a", status="completed")

    content = viewer.get("/errors/").content.decode()
    assert "No task failed or timed out" in content
