"""Tests of the page of what agents did, which equals a plain loop over the store."""

import json
from typing import Any

import pytest
from django.test import Client

from tasks.models import TaskCheckpoint
from tasks.transcript.actions import KINDS, kind_of, target_of
from tasks.views import actions
from tests.support.factories import checkpoint, task

pytestmark = pytest.mark.django_db(databases="__all__")

CALLS: tuple[tuple[str, dict[str, str], bool], ...] = (
    ("shell", {"command": "make"}, True),
    ("shell", {"command": "make test"}, False),
    ("file_write", {"path": "a.py", "content": "x"}, True),
    ("file_read", {"path": "b.py"}, True),
    ("fetch", {"url": "https://example.org"}, False),
    ("wait", {}, True),
)


def at(minute: int) -> str:
    return f"2026-01-01T00:{minute:02}:00+00:00"


@pytest.fixture
def threads(store) -> None:
    for number in range(4):
        record = task(f"task {number}", thread_id=f"thread {number // 2}", updated_at=at(number))
        for step in range(5):
            calls = [CALLS[(number * 5 + step + n) % len(CALLS)] for n in range(1 + step % 2)]
            items = [
                {"tool_name": tool, "arguments": arguments, "success": success, "output": "x"}
                for tool, arguments, success in calls
            ]
            created_at = at(10 * step + number)
            checkpoint(record, step, items_json=json.dumps(items), created_at=created_at)


def stored() -> list[dict[str, Any]]:
    """Return all calls in the store, oldest first."""
    rows = TaskCheckpoint.objects.select_related("task").order_by("created_at", "pk")
    return [
        {
            "thread": row.task.thread_id,
            "tool": item.tool_name,
            "kind": kind_of(item.tool_name, item.arguments),
            "target": target_of(item.tool_name, item.arguments),
            "success": item.success,
        }
        for row in rows
        for item in row.items
    ]


def listed(client: Client, address: str) -> list[dict[str, Any]]:
    """Return what all pages from this address on list."""
    found = []
    while address:
        context = client.get(address).context
        for action, _ in context["rows"]:
            call = action.call
            names = ("tool", "kind", "target", "success")
            values = {name: getattr(call, name) for name in names}
            found.append({"thread": action.task.thread_id} | values)
        address = context["next_url"]
    return found


@pytest.mark.parametrize("size", [3, 200])
def test_pages_list_every_action_once(viewer: Client, threads, monkeypatch, size: int):
    monkeypatch.setattr(actions, "ACTIONS_PER_PAGE", size)
    everything = stored()

    assert listed(viewer, "/actions/") == everything[::-1]
    for thread in ("thread 0", "thread 1"):
        own = [call for call in everything if call["thread"] == thread]
        assert listed(viewer, f"/actions/?id={thread}") == own


@pytest.mark.parametrize("thread", ["", "thread 1"])
@pytest.mark.parametrize("query", [*(f"kind={kind}" for kind in KINDS), "tool=shell", "failed=1"])
def test_actions_are_filtered(viewer: Client, threads, query: str, thread: str):
    name, _, value = query.partition("=")
    wanted = [
        call
        for call in stored()
        if (not call["success"] if name == "failed" else call[name] == value)
        and thread in ("", call["thread"])
    ]

    assert sorted(map(str, listed(viewer, f"/actions/?{query}&id={thread}"))) == sorted(
        map(str, wanted)
    )


def test_figures_of_a_thread_equal_its_calls(viewer: Client, threads):
    own = [call for call in stored() if call["thread"] == "thread 1"]

    context = viewer.get("/actions/?id=thread 1&kind=command").context

    for figures in context["figures"]:
        calls = [call for call in own if call["tool"] == figures["tool"]]
        failed = sum(not call["success"] for call in calls)
        assert (figures["n"], figures["failed"]) == (len(calls), failed)
    assert sum(figures["n"] for figures in context["figures"]) == len(own)
    counts = {kind["label"]: kind.get("count") for kind in context["kinds"]}
    for kind, label in KINDS.items():
        assert (counts.get(label) or 0) == sum(call["kind"] == kind for call in own)


def test_actions_are_masked_and_escaped(viewer: Client):
    token = "ghp_" + "a1B2c3D4e5F6g7H8i9J0" * 2
    items = [
        {
            "tool_name": "shell",
            "arguments": {"command": f"<b>echo</b> {token[:40]}"},
            "success": True,
            "output": "",
        }
    ]
    checkpoint(task("t"), items_json=json.dumps(items))

    page = viewer.get("/actions/").content.decode()

    assert "&lt;b&gt;echo&lt;/b&gt;" in page
    assert token[:40] not in page


@pytest.mark.parametrize("query", ["kind=odd", "place=x", "place=-1"])
def test_invalid_query_is_rejected(viewer: Client, query: str):
    assert viewer.get(f"/actions/?{query}").status_code == 400


def test_store_without_calls_says_so(viewer: Client):
    assert "No tool call is recorded" in viewer.get("/actions/").content.decode()
    assert "in this thread" in viewer.get("/actions/?id=none").content.decode()
