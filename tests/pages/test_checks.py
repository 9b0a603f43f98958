"""Tests of the checks: what each finds and does not, on the thread's page and in the list."""

import json
from typing import Any

import pytest
from django.test import Client
from django.utils.html import escape

from tasks.index import following
from tasks.index.models import PLACES, Finding, IndexedTask
from tasks.insights.checks import LOOKED_FOR, of_task
from tasks.listing.forms import CHECKS
from tasks.models import TaskCheckpoint, TaskRecord
from tests.support.factories import checkpoint, task

pytestmark = pytest.mark.django_db(databases="__all__")

Call = tuple[str, Any, bool, str]  # tool, argument, success, output
READ: Call = ("read", "a", True, "text")
POLL = [("poll", "job", True, f"{n} % done") for n in range(0, 100, 20)]
MISSING = [("shell", f"cat {n}", False, f"cat: {n}: No such file") for n in range(4)]


def at(seconds: int) -> str:
    return f"2026-01-01T{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}+00:00"


def attempt(record: TaskRecord, *calls: Call, seconds: int = 1, start: int = 0) -> None:
    """Add an attempt that has one step per call, each of which takes so many seconds."""
    for number, (tool, argument, success, output) in enumerate(calls, start=1):
        item = {"tool_name": tool, "arguments": {"x": argument}, "success": success}
        items = json.dumps([item | {"output": output}])
        checkpoint(record, number, items_json=items, created_at=at(start + number * seconds))


def findings(record: TaskRecord) -> dict[str, tuple[str, int]]:
    following.catch_up()
    following.catch_up_texts(10)
    tasks = set(IndexedTask.objects.values_list("pk", flat=True))
    rows = Finding.objects.all()
    return {row.name: (row.tool, row.n) for row in rows if row.pk // PLACES in tasks}


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        ([], {}),
        ([READ, READ], {}),
        ([READ, READ, READ], {"repeated": ("read", 3)}),
        ([READ, ("write", "a", True, "ok"), READ, READ, READ], {"repeated": ("read", 4)}),
        ([READ, READ, ("read", "b", True, "text")], {}),
        ([READ, READ, ("read", "a", True, "changed")], {}),
        ([READ, READ, ("read", "a", False, "text"), READ], {}),
        (POLL, {}),
        ([*POLL, *POLL], {}),
        (MISSING[:2], {}),
        (MISSING[:3], {"varied": ("shell", 3), "failing": ("shell", 3)}),
        ([*MISSING, ("shell", "ls", True, "")], {"varied": ("shell", 4)}),
        ([MISSING[0], MISSING[1], ("fetch", "x", False, "cat: 3: No such file")], {}),
        (
            [("shell", n, False, text) for n, text in enumerate(("denied", "timeout", "no space"))],
            {"failing": ("shell", 3)},
        ),
        ([MISSING[0]] * 3, {"repeated": ("shell", 3), "failing": ("shell", 3)}),
    ],
)
def test_checks_find_what_calls_have_in_common(store, calls: list[Call], expected: dict):
    record = task(final_response="done")
    attempt(record, *calls)

    assert findings(record) == expected


@pytest.mark.parametrize(
    ("others", "seconds", "expected"),
    [
        ([2, 2, 2, 2], 31, {"slow": ("build", 31)}),
        ([2, 2, 2, 2], 29, {}),
        ([2, 2, 2], 31, {}),  # too few to know what is usual
        ([4, 4, 4, 4], 40, {}),
        ([4, 4, 4, 4], 41, {"slow": ("build", 41)}),
        ([2, 2, 2, 400], 40, {"slow": ("build", 400)}),
    ],
)
def test_step_far_slower_than_others_of_its_tool_is_found(others, seconds: int, expected: dict):
    record, moment = task(final_response="done"), 0
    for number, length in enumerate([0, *others[:-1], seconds, others[-1]], start=1):
        moment += length
        item = {"tool_name": "build", "arguments": {"n": number}, "success": True, "output": ""}
        checkpoint(record, number, items_json=json.dumps([item]), created_at=at(moment))

    assert findings(record) == expected


@pytest.mark.parametrize(
    ("status", "response", "is_found"),
    [
        ("completed", None, True),
        ("completed", " \n", True),
        ("completed", "done", False),
        ("running", None, False),
        ("failed", None, False),
    ],
)
def test_completed_task_without_a_response_is_found(status: str, response: Any, is_found: bool):
    record = task(status=status, final_response=response)

    assert ("unanswered" in findings(record)) == is_found


def test_only_the_last_attempt_counts(store):
    record = task(final_response="done")
    attempt(record, READ, READ, READ)
    attempt(record, READ, READ, start=10)

    assert findings(record) == {}

    attempt(record, READ, READ, READ, READ, start=20)
    TaskRecord.objects.update(updated_at=at(30))
    assert findings(record) == {"repeated": ("read", 4), "restarted": ("", 3)}


def test_every_check_has_a_label_and_a_description():
    assert CHECKS.keys() == LOOKED_FOR.keys()


def test_thread_page_links_findings_to_their_step_and_to_threads_like_it(viewer: Client):
    record = task("t", thread_id="t", final_response="done")
    attempt(record, ("read", "before", True, ""), READ, READ, READ)
    findings(record)

    page = viewer.get("/thread/?id=t").content.decode()

    [_, second, *_] = record.checkpoints.order_by("pk")
    assert "was called 3 times with the same arguments and the same result" in page
    panel = page.partition("card-checks")[2].partition("All threads")[0]
    assert f'checkpoint={second.pk}"' in panel
    assert "/?check=repeated" in page


def test_thread_page_without_findings_says_what_is_looked_for(viewer: Client):
    record = task("t", thread_id="t", final_response="done")
    findings(record)

    page = viewer.get("/thread/?id=t").content.decode()

    assert "nothing found" in page
    assert all(escape(text) in page for text in LOOKED_FOR.values())


def test_thread_page_says_nothing_of_checks_before_the_calls_are_read(viewer: Client):
    record = task("t", thread_id="t")
    following.catch_up()

    assert not of_task(record).is_known
    assert "card-checks" not in viewer.get("/thread/?id=t").content.decode()


def test_list_filters_by_what_checks_found(viewer: Client, store):
    for number, calls in enumerate(([READ] * 3, MISSING, [READ])):
        attempt(task(f"t{number}", thread_id=f"t{number}", final_response="done"), *calls)

    def threads(query: str) -> set[str]:
        return {row.record.thread_id for row in viewer.get(f"/?{query}").context["rows"]}

    assert threads("check=repeated") == {"t0"}
    assert threads("check=varied") == {"t1"}
    assert threads("check=any") == {"t0", "t1"}
    assert threads("check=slow") == set()
    assert viewer.get("/?check=odd").status_code == 400


def test_findings_follow_the_store(store):
    record = task(final_response="done")
    attempt(record, READ, READ, READ)
    assert findings(record)

    record.checkpoints.all().delete()
    TaskRecord.objects.update(updated_at=at(60))
    assert findings(record) == {}

    TaskRecord.objects.all().delete()
    following.compare_all()
    assert findings(record) == {}


def test_calls_of_a_task_in_the_place_of_another_are_read(store):
    record = task(final_response="done", created_at=at(0))
    attempt(record, READ, READ, READ)
    ids = list(record.checkpoints.order_by("pk").values_list("pk", flat=True))
    assert findings(record)

    # as after a backup was restored, without a look in between
    TaskCheckpoint.objects.all().delete()
    TaskRecord.objects.all().delete()
    other = task(final_response="done", created_at=at(70), updated_at=at(80))
    attempt(other, READ, ("write", "b", True, "ok"), READ)
    for old, new in zip(ids, other.checkpoints.order_by("pk"), strict=True):
        TaskCheckpoint.objects.filter(pk=new.pk).update(id=old)

    assert findings(other) == {}
