"""Tests of the thread page: its tabs, loading in pieces, and live updates while a task runs."""

import html
import json
import re
from datetime import timedelta
from functools import cached_property
from typing import Any

import pytest
from django.conf import settings
from django.db import connections
from django.test import Client
from django.utils import timezone

from tasks import service
from tasks.addresses import thread_url
from tasks.fields import to_text
from tasks.index import following
from tasks.models import TaskCheckpoint, TaskRecord
from tasks.service import ChatMessage, ExecutionCheckpointItem, TaskStatus
from tasks.templatetags.threads import duration, short_duration, short_number, timecode
from tasks.views import thread_tabs
from tasks.views.thread_page import MAX_TASKS, ThreadPage
from tasks.views.thread_tabs import CheckpointsTab, RawTab, ResumeTab, TranscriptTab
from tests.support.factories import (
    checkpoint,
    history,
    item,
    only_postgresql,
    only_sqlite,
    overwrite,
    snapshot,
    task,
    update,
)

pytestmark = pytest.mark.django_db(databases="__all__")

TABS = ["transcript", "checkpoints", "resume", "raw"]
A_MOMENT, A_NANOSECOND_LATER = "2026-01-01T00:00:00+00:00", "2026-01-01T00:00:00.000000001+00:00"


def address(**parameters: Any) -> str:
    return thread_url("thread", "telegram_42", **parameters)


def page(client: Client, **parameters: Any) -> str:
    response = client.get(address(**parameters))
    assert response.status_code == 200
    return response.content.decode()


def text(content: str) -> str:
    """Return the visible text of a page."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", content)).split())


def message_numbers(response: Any) -> list[int]:
    """Return the numbers of the messages shown on a page."""
    return [message.number for message, _ in response.context["page"].tab.entries]


def run(count: int, failed: tuple[int, ...] = (), **fields: Any) -> TaskRecord:
    """Record a task with `count` steps, and mark the steps with numbers in `failed` as failed."""
    for number in range(1, count + 1):
        step = item(tool_name=f"tool{number}", success=number not in failed)
        service.record_checkpoint(update(step_index=number, items=[step], **fields))
    return TaskRecord.objects.get(pk=fields.get("task_id", "telegram_42"))


def history_json(content: str) -> str:
    """Return a history of one user message, encoded as the store writes it."""
    return json.dumps([{"role": "user", "content": content}], separators=(",", ":"))


def public_names(*classes: type) -> set[str]:
    kinds = property | cached_property
    return {
        name
        for class_ in classes
        for name in {*class_.__annotations__, *vars(class_)}
        if not name.startswith("_")
        and (name in class_.__annotations__ or isinstance(vars(class_)[name], kinds))
    }


def test_templates_use_exactly_the_page_context():
    folders = [settings.BASE_DIR / "templates" / name for name in ("tasks/thread", "admin/tasks")]
    templates = [file.read_text() for folder in folders for file in folder.glob("*.html")]
    code = " ".join(re.findall(r"\{[{%](.*?)[%}]\}", "".join(templates)))

    read = set(re.findall(r"\bpage\.(?!html)(\w+)", code))
    assert read == public_names(ThreadPage) - {"request", "outlines"}
    tabs = (TranscriptTab, CheckpointsTab, ResumeTab, RawTab)
    assert set(re.findall(r"\btab\.(\w+)", code)) == public_names(*tabs)


@pytest.mark.parametrize("tab", TABS)
def test_current_tab_is_marked(viewer: Client, tab: str):
    run(2)

    content = page(viewer, show=tab)

    [current] = re.findall(
        r'<a href="[^"]*" aria-current="page">(\w+)', content.split("tab-row")[1]
    )
    assert current.lower() == tab.replace("checkpoint", "step")


@pytest.mark.parametrize("tab", TABS)
def test_tab_query_count_is_constant(viewer: Client, tab: str, store_queries):
    counts = []
    for count in (1, 30):
        run(count, failed=(1,), execution_history=history(*["hello"] * count))
        following.catch_up()
        with store_queries() as queries:
            page(viewer, show=tab)
        counts.append(len(queries))

    assert counts[0] == counts[1]


LS = '<tool_call>{"name":"shell","arguments":{"command":"ls"}}</tool_call>'
PWD = '<tool_call>{"name":"shell","arguments":{"command":"pwd"}}</tool_call>'
RESULT = '[Tool results]\n<tool_result name="shell">\nno\n</tool_result>'


def shell(command: str, **fields: Any) -> ExecutionCheckpointItem:
    return item(arguments={"command": command}, **fields)


def outcomes(content: str) -> list[tuple[str, str]]:
    """Return the step link and the outcome badges of each message that has tool calls."""
    messages = content.split('<article class="message')[1:]
    return [
        (
            "".join(re.findall(r">(step \d+)</a>", message)),
            "".join(re.findall(r'class="badge outcome-(\w+)"', message)),
        )
        for message in messages
        if 'class="call' in message
    ]


def test_transcript_takes_outcomes_from_checkpoints(viewer: Client):
    """The agent writes results without a status, so outcomes come from the checkpoints."""
    messages = history(
        "go", f"a {LS}", RESULT, f"b {LS}{PWD}", RESULT + RESULT[14:], f"c {PWD}", "hm"
    )
    service.record_checkpoint(update(step_index=1, items=[shell("ls", success=False)]))
    pair = [shell("ls"), shell("pwd", success=False)]
    service.record_checkpoint(update(step_index=2, items=pair, execution_history=messages))

    content = page(viewer)
    [first, second] = TaskCheckpoint.objects.order_by("id")

    assert outcomes(content) == [("step 1", "failed"), ("step 2", "okfailed"), ("", "")]
    for step in (first, second):
        assert f'href="{html.escape(address(step=step.pk))}#step-{step.pk}"' in content


def test_transcript_prefers_the_status_of_a_result(viewer: Client):
    messages = history("go", LS, RESULT.replace('"shell"', '"shell" status="ok"'))
    failed = [shell("ls", success=False)]
    service.record_checkpoint(update(items=failed, execution_history=messages))

    assert outcomes(page(viewer)) == [("step 1", "ok")]


def test_transcript_shows_a_result_stored_only_in_the_checkpoint(viewer: Client):
    failed = [shell("ls", success=False, output="no such place")]
    service.record_checkpoint(update(items=failed, execution_history=history("go", LS)))

    content = page(viewer)

    assert outcomes(content) == [("step 1", "failed")]
    assert "no such place" in content and "no result" not in content


def test_transcript_limits_the_steps_it_reads(viewer: Client, monkeypatch):
    messages = history("go", LS, RESULT, PWD, RESULT)
    for number, command in enumerate(("ls", "pwd"), start=1):
        items = [shell(command, success=False, output="x" * 500)]
        service.record_checkpoint(
            update(step_index=number, items=items, execution_history=messages),
        )
    monkeypatch.setattr(thread_tabs, "MAX_OUTCOMES_SOURCE", 1_000)

    assert outcomes(page(viewer)) == [("", ""), ("step 2", "failed")]


@pytest.mark.parametrize("tab", ["checkpoints", "raw"])
def test_tab_does_not_load_long_histories(viewer: Client, tab: str, store_queries):
    record = run(1)
    TaskRecord.objects.filter(pk=record.pk).update(
        execution_history_json=history_json("x" * 4_000_001),
        resumable_history_json=history_json("x" * 4_000_001),
    )

    with store_queries() as queries:
        page(viewer, show=tab)

    for query in queries:
        columns = query["sql"].partition(" FROM ")[0]
        assert not re.search(
            r'(?<!\()"task_records"\."(execution|resumable)_history_json"', columns
        )


@pytest.mark.parametrize("tab", TABS)
@pytest.mark.parametrize("column", [None, "execution_history_json", "resumable_history_json"])
def test_every_property_of_the_page_can_be_computed(rf, tab: str, column: str | None):
    """Django treats any error in `{% if a == b %}` as false, so no page would show these."""
    run(3, failed=(1, 2), execution_history=history("go", LS, RESULT, "done"))
    task("other", thread_id="telegram_42", updated_at="2026-01-01T00:00:00+00:00")
    if column:
        overwrite(connections["tasks"], "task_records", column, "oops")
    record = TaskRecord.objects.for_thread("telegram_42").for_page()[0]
    request = rf.get(address(show=tab, find="done", list="sort=age"))

    page = ThreadPage(request, record, address())
    parts = [page, page.tab, *getattr(page.tab, "texts", [])]
    if isinstance(page.tab, TranscriptTab) and page.tab.search and page.tab.search.hits:
        parts.append(page.tab.search)

    for part in parts:
        for name in public_names(type(part)):
            getattr(part, name)


@pytest.mark.parametrize("tab", TABS)
@pytest.mark.parametrize(
    ("view", "parameters"), [("thread", {}), ("thread", {"piece": "later"}), ("thread-live", {})]
)
def test_thread_deleted_while_its_page_is_built_is_not_found(
    viewer: Client, monkeypatch: pytest.MonkeyPatch, tab: str, view: str, parameters: dict[str, str]
):
    run(1)
    url = thread_url(view, "telegram_42", show=tab, **parameters)
    assert viewer.get(url).status_code == 200

    def delete(records: list[TaskRecord]) -> None:
        service.delete_by_thread_id("telegram_42")

    monkeypatch.setattr("tasks.views.thread.mark_returned", delete)
    response = viewer.get(url)

    assert response.status_code == 404
    assert "There is no thread “telegram_42”." in response.content.decode()


@only_sqlite
def test_raw_tab_shows_a_task_whose_id_cannot_be_looked_up(viewer: Client, store):
    task()
    overwrite(store, "task_records", "task_id", b"\xff")

    assert "execution_history_json" in page(viewer, show="raw")


def test_live_raw_tab_reads_no_stored_texts(viewer: Client, monkeypatch: pytest.MonkeyPatch):
    run(1)
    monkeypatch.setattr("tasks.views.thread_tabs.stored_texts", pytest.fail)

    assert live(viewer, show="raw").status_code == 200


@pytest.mark.django_db(databases="__all__", transaction=True)
@pytest.mark.parametrize("tab", TABS)
def test_page_is_never_read_within_a_transaction(
    viewer: Client, tab: str, monkeypatch: pytest.MonkeyPatch, store_queries
):
    run(2)

    following.catch_up()
    with store_queries() as queries:
        page(viewer, show=tab)

    assert [q["sql"] for q in queries if not q["sql"].startswith("SELECT")] == []


def test_head_shows_failures_and_their_steps(viewer: Client):
    run(5, failed=(2, 4))
    service.save_snapshot(snapshot(status=TaskStatus.FAILED, last_error="out of <luck>"))

    response = viewer.get(address())
    head = text(response.content.decode().split('id="head"')[1].split('id="timeline"')[0])

    assert "failed out of <luck> last failure: step 4, tool4" in head
    assert [failure.step.step_index for failure in response.context["page"].failures] == [2, 4]


def test_failures_are_listed_with_the_first_lines_of_their_errors(viewer: Client):
    outputs = [*(f"\n  no such file: {n}\nmore" for n in range(9)), "\x1b[31mred\x1b[0m", "é" * 200]
    outputs += ["key AKIAIOSFODNN7EXAMPLF", "x" * 980 + '"\\\n' * 20 + "x" * 900]
    for number, output in enumerate(outputs, start=1):
        items = [item(), item(success=False, output=output), item(success=False, output="second")]
        service.record_checkpoint(update(step_index=number, items=items))
    TaskCheckpoint.objects.filter(step_index=1).update(
        items_json='[{"tool_name":"shell","arguments":{},"success":false,"output":"\\ud83d'
    )

    content = page(viewer)
    side = text(content.split('id="card-failures"')[1].split("</details>")[0])
    lines = [text(line) for line in re.findall(r'class="line" dir="auto">(.*?)</span>', content)]

    assert "13 of 13 steps failed 5 earlier failures 1 shell" in side
    assert lines[:8] == [f"no such file: {number}" for number in range(1, 9)]
    assert lines[8:11] == ["red", "é" * 159 + "…", "key [masked]"]
    assert lines[11] == "x" * 159 + "…" and len(lines) == 12


def test_failures_listed_are_bounded(viewer: Client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tasks.views.thread_page.MAX_FAILURES", 3)
    run(5, failed=(1, 2, 3, 4, 5))
    longest = max(len(row.items_json) for row in TaskCheckpoint.objects.all())
    monkeypatch.setattr("tasks.transcript.steps.MAX_FAILURES_LENGTH", 2 * longest)

    failures = viewer.get(address()).context["page"].failures

    assert [(failure.step.step_index, failure.error) for failure in failures] == [
        (3, ""),
        (4, "ok"),
        (5, "ok"),
    ]


@pytest.mark.parametrize(
    ("error", "is_card"), [("no", False), ("no\n", False), ("no\nroom", True), ("x" * 301, True)]
)
def test_multiline_error_is_shown_verbatim(viewer: Client, error: str, is_card: bool):
    task(status=TaskStatus.FAILED, last_error=error)

    assert ("<h2>Error</h2>" in page(viewer)) == is_card


@pytest.mark.parametrize("unreadable", [0, 1, 2])
def test_head_counts_unreadable_steps(viewer: Client, store, unreadable: int):
    record = task()
    for step in range(3):
        checkpoint(record, step, items_json="nope" if step < unreadable else "[]")

    content = page(viewer)

    expected = {0: [], 1: ["1 unreadable step<"], 2: ["2 unreadable steps<"]}
    assert re.findall(r"\d+ unreadable steps?<", content) == expected[unreadable]


@pytest.mark.parametrize(("column", "is_marked"), [("[]", False), ("oops", True)])
def test_unreadable_history_is_marked_in_list_and_head(
    viewer: Client, column: str, is_marked: bool
):
    task(execution_history_json=column)

    assert ("aside unreadable" in page(viewer, show="checkpoints")) == is_marked
    assert ("aside unreadable" in viewer.get("/").content.decode()) == is_marked


def test_links_to_older_tasks_keep_the_list(viewer: Client):
    older = task("older", thread_id="both", updated_at="2026-01-01T00:00:00+00:00")
    newer = task("newer", thread_id="both", updated_at="2026-01-02T00:00:00+00:00")
    checkpoint(newer)
    number = checkpoint(older).pk
    list_query = "&list=sort%3Dage"

    content = html.unescape(viewer.get(f"/thread/?id=both{list_query}").content.decode())

    assert f'"/thread/?id=both&task=older{list_query}"' in content
    [link] = set(re.findall(r'href="(/thread/step/[^"]*=)\d+"', content))
    assert f"both&task=older{list_query}&step={number}" in viewer.get(f"{link}{number}")["Location"]


def test_head_shows_a_silent_task_as_stalled(viewer: Client):
    run(1)
    overwrite(
        connections["tasks"],
        "task_records",
        "updated_at",
        to_text(timezone.now() - timedelta(hours=3)),
    )

    assert "stalled No activity for 3 h" in text(page(viewer))


@pytest.mark.parametrize(
    ("count", "stored_count", "message"),
    [(7, 2, "The task's step count is 7, but 2 steps are stored."), (2, 2, None)],
)
def test_head_reports_a_checkpoint_count_mismatch(
    viewer: Client, count: int, stored_count: int, message: str | None
):
    run(stored_count)
    TaskRecord.objects.update(checkpoint_count=count)

    assert (message or "step count is") in text(page(viewer)) or message is None


def test_back_link_keeps_the_filters(viewer: Client):
    for name in ("a", "b", "c", "d"):
        task(
            name,
            channel="cli" if name == "b" else "telegram",
            updated_at=f"2026-01-0{ord(name) - 96}T00:00:00+00:00",
        )

    response = viewer.get(thread_url("thread", "c", list="channel=telegram"))

    assert response.context["page"].list_links == (
        "/?channel=telegram",
        thread_url("thread", "d", list="channel=telegram"),
        thread_url("thread", "a", list="channel=telegram"),
    )


def test_links_to_tasks_and_steps_keep_the_filters(viewer: Client):
    run(2, failed=(1,))
    task("other", thread_id="telegram_42", updated_at="2026-01-01T00:00:00+00:00")
    filters = "channel=telegram&sort=age"

    content = page(viewer, list=filters)
    [other] = re.findall(r'href="([^"]*task=other[^"]*)"', content)
    steps = set(re.findall(r'"(/thread/step/[^"]*checkpoint=\d+)"', content))
    addresses = [viewer.get(html.unescape(link))["Location"] for link in steps]

    for address_ in (html.unescape(other), *addresses):
        response = viewer.get(address_.partition("#")[0])
        assert response.context["page"].list_links.list == f"/?{filters}"
    assert len(addresses) == 2


def test_back_link_drops_invalid_filters(viewer: Client):
    task("a")

    response = viewer.get(thread_url("thread", "a", list="sort=nonsense"))

    assert response.context["page"].list_links == ("/", None, None)


def test_timeline_bar_links_to_its_step(viewer: Client):
    run(3)
    number = TaskCheckpoint.objects.order_by("id").last().pk  # type: ignore[union-attr]

    link = f"/thread/step/?checkpoint={number}"
    redirect = viewer.get(link)

    assert f'href="{link}"' in page(viewer)
    assert (redirect.status_code, redirect["Location"]) == (
        302,
        f"{address(step=number)}#step-{number}",
    )
    assert f'id="step-{number}"' in viewer.get(redirect["Location"]).content.decode()


def test_step_link_opens_the_task_of_the_step(viewer: Client):
    older = task("older", thread_id="both", updated_at="2026-01-01T00:00:00+00:00")
    task("newer", thread_id="both", updated_at="2026-01-02T00:00:00+00:00")
    number = checkpoint(older).pk

    redirect = viewer.get(f"/thread/step/?checkpoint={number}")
    response = viewer.get(redirect["Location"])

    assert response.context["page"].record.task_id == "older"
    assert f'id="step-{number}"' in response.content.decode()


@pytest.mark.parametrize("name", ["step", "checkpoint"])
@pytest.mark.parametrize(("number", "status"), [("77", 404), ("x", 400), ("", 400), ("-1", 400)])
def test_unknown_checkpoint_is_reported(viewer: Client, name: str, number: str, status: int):
    assert viewer.get(f"/thread/{name}/?checkpoint={number}").status_code == status


def test_tasks_of_a_thread_are_listed_and_selectable(viewer: Client):
    for number in (1, 2, 3):
        task(f"t{number}", thread_id="many", updated_at=f"2026-01-0{number}T00:00:00+00:00")

    latest = viewer.get(thread_url("thread", "many"))
    response = viewer.get(thread_url("thread", "many", task="t1"))

    assert latest.context["page"].record.task_id == "t3"
    assert [other.task_id for other in latest.context["page"].other_tasks] == ["t2", "t1"]
    assert response.context["page"].record.task_id == "t1"
    assert [other.task_id for other in response.context["page"].other_tasks] == ["t3", "t2"]
    assert viewer.get(thread_url("thread", "many", task="t9")).status_code == 404


def test_raw_links_open_texts_of_the_selected_task(viewer: Client):
    for name in ("old", "new"):
        messages = history("go", f"{name} {LS}", RESULT.replace("no", f"{name} " * 6_000))
        long = json.dumps([{"role": m.role, "content": m.content} for m in messages])
        at = {"old": "2026-01-01T00:00:00+00:00", "new": "2026-01-02T00:00:00+00:00"}[name]
        task(name, thread_id="many", updated_at=at, execution_history_json=long)

    content = viewer.get(thread_url("thread", "many", task="old")).content.decode()
    links = re.findall(r'href="(/thread/message/[^"]*)"', content)
    pages = [viewer.get(html.unescape(link)).content.decode() for link in links]

    assert len(links) == 4  # links to three messages and one truncated output
    assert [("old" in content, "new" in content) for content in pages] == [(False, False)] + [
        (True, False)
    ] * 3


def test_messages_are_split_into_pieces(viewer: Client):
    run(1, execution_history=history(*[f"message {n}" for n in range(1, 151)]))

    first = viewer.get(address())
    third = viewer.get(address(message=130))

    assert message_numbers(first) == list(range(1, 61))
    assert first.context["page"].tab.pager.later == 61
    assert message_numbers(third) == list(range(121, 151))
    assert 'id="message-130"' in third.content.decode()


def test_results_have_no_row_of_their_own(viewer: Client):
    messages = history(*["go", f"a {LS}{PWD}", RESULT + RESULT[14:], "done"] * 2)
    run(1, execution_history=messages)

    response = viewer.get(address())
    content = response.content.decode()

    assert message_numbers(response) == [1, 2, 4, 5, 6, 8]
    ids = re.findall(r'id="(message-\d+)"', content)
    assert sorted(ids) == sorted({f"message-{number}" for number in range(1, 9)})
    assert f'id="message-3"\n        href="{html.escape(address(message=3))}#message-3"' in content


@pytest.mark.parametrize("size", [None, 100], ids=["whole", "in parts"])
def test_results_stay_on_the_page_of_their_calls(
    viewer: Client, monkeypatch: pytest.MonkeyPatch, size: int | None
):
    if size:
        monkeypatch.setattr("tasks.transcript.large_history.MIN_SIZE", size)
    messages = history(*(f"message {n}" for n in range(1, 60)), LS + PWD, RESULT)
    run(1, execution_history=messages + history(RESULT) + history("next"))

    response = viewer.get(address(message=62))

    assert message_numbers(response) == list(range(1, 61))
    assert response.content.decode().count('id="message-62"') == 1
    assert response.context["page"].tab.pager.later == 63


def test_result_after_the_page_of_its_call_is_shown_with_its_call(viewer: Client):
    messages = history(*(f"message {n}" for n in range(1, 60)), LS)
    run(1, execution_history=messages + history("be quick") + history(RESULT) + history("next"))

    linked, piece = viewer.get(address(message=62)), viewer.get(address(message=62, piece="later"))
    poll = live(viewer, message=61).content.decode()

    assert message_numbers(linked) == list(range(1, 61))
    assert 'id="message-62"' in linked.content.decode()
    assert message_numbers(piece) == [61, 63] and 'id="message-62"' not in piece.content.decode()
    assert 'id="message-62"' in poll.split('id="caller"')[1].split('id="entries"')[0]


def test_calls_have_times_and_durations(viewer: Client):
    messages = history("go", LS, RESULT, PWD, RESULT, LS + PWD, RESULT + RESULT[14:], PWD)
    commands = [["ls"], ["pwd"], ["ls", "pwd"]]
    for number, names in enumerate(commands, start=1):
        items = [shell(name) for name in names]
        service.record_checkpoint(
            update(step_index=number, items=items, execution_history=messages)
        )
        at = f"2026-01-01T10:00:{number * 7:02}+00:00"
        TaskCheckpoint.objects.filter(step_index=number).update(created_at=at)

    content = page(viewer)
    heads = [text(head) for head in re.findall(r"<header>(.*?)</header>", content, re.DOTALL)]

    assert heads == [
        "shell ok 10:00:07 2 B #3 Raw",
        "shell ok 7.0 s 10:00:14 2 B #5 Raw",
        "shell ok 2 calls in 7.0 s 10:00:21 2 B #7 Raw",
        "shell ok 10:00:21 2 B #7",
        "shell no result",
    ]


def test_permanent_link_of_a_message_opens_its_piece(viewer: Client):
    messages = history(*[f"message {n}" for n in range(1, 129)])
    messages += [ChatMessage("assistant", LS), ChatMessage("user", RESULT)]
    run(1, execution_history=messages)

    later = page(viewer, message=121, piece="later")

    for number, title in ((125, "Link to this message"), (130, "Link to this result")):
        [link] = re.findall(rf'href="([^"]*#message-{number})"\s+title="{title}"', later)
        url = html.unescape(link).partition("#")[0]
        assert f'id="message-{number}"' in viewer.get(url).content.decode()


def test_piece_request_returns_a_fragment(viewer: Client):
    run(1, execution_history=history(*["hi"] * 150))

    later = page(viewer, message=61, piece="later")
    earlier = page(viewer, message=61, piece="earlier")

    assert "<html" not in later + earlier
    assert ('class="pages later"' in later, 'class="pages earlier"' in later) == (True, False)
    assert ('class="pages later"' in earlier, 'class="pages earlier"' in earlier) == (False, True)


def test_step_pieces_include_changes_across_their_boundary(viewer: Client):
    run(130)
    ids = list(TaskCheckpoint.objects.order_by("id").values_list("id", flat=True))

    tab = viewer.get(address(step=ids[70])).context["page"].tab

    steps = [step for step, _ in tab.entries]
    assert [step.checkpoint.id for step in steps] == ids[60:120]
    assert steps[0].changes.tools == ("tool60", "tool61")
    assert tab.pager.later == ids[120]


def test_page_size_is_bounded_for_ten_thousand_steps(viewer: Client):
    record = run(1)
    long = [{"tool_name": "t", "arguments": "a", "success": False, "output": "<" * 5_000}]
    items_json = json.dumps(long, separators=(",", ":"))
    TaskCheckpoint.objects.bulk_create(
        [
            TaskCheckpoint(task=record, step_index=number, items_json=items_json)
            for number in range(2, 10_001)
        ]
    )

    assert len(page(viewer, show="checkpoints")) < 2_000_000


def test_page_size_is_bounded_for_a_long_history(viewer: Client):
    run(1)
    TaskRecord.objects.update(
        execution_history_json=json.dumps(
            [{"role": "user", "content": "<&>'\"" * 20_000}] * 100, separators=(",", ":")
        )
    )

    assert len(page(viewer)) < 2_000_000


def test_resume_shows_turns_and_note_for_the_agent(viewer: Client):
    service.save_snapshot(
        snapshot(
            resumable_history=history("go on", "I <tool>{}</tool>did"),
            latest_checkpoint_note="mind the gap",
        )
    )

    response = viewer.get(address(show="resume"))
    expected = service.load_resumable_state("telegram_42")

    assert expected is not None
    assert [turn.message for turn in response.context["page"].tab.entries] == expected[0]
    assert "<del>&lt;tool&gt;{}&lt;/tool&gt;</del" in response.content.decode()
    assert "mind the gap" in response.content.decode()
    assert "gets 2 turns and the note" in text(response.content.decode())


@pytest.mark.parametrize(
    ("resumable", "status", "reason"),
    [
        ("[]", "completed", "The run ended without a resumable history."),
        ("[]", "running", "The agent has not stored a resumable history yet."),
        ('[{"role":"tool","content":"x"}]', "failed", "Nothing in the history (1 message)"),
        ("[{broken", "failed", "The resumable history cannot be read"),
    ],
)
def test_resume_explains_why_it_is_impossible(
    viewer: Client, resumable: str, status: str, reason: str
):
    task(resumable_history_json=resumable, status=status)

    content = text(page(viewer, show="resume"))

    assert "Cannot resume." in content
    assert reason in content
    assert service_refuses(resumable) or service.load_resumable_state("telegram_42") is None


def service_refuses(resumable: str) -> bool:
    return resumable == "[{broken"


def test_raw_shows_stored_values(viewer: Client):
    run(1)
    TaskRecord.objects.update(final_response="x" * 30_000, last_error="<broken>", status="odd")

    content = page(viewer, show="raw")

    assert html.escape('[{"role":"user","content":"hello"}]') in content
    assert "&lt;broken&gt;" in content
    assert "x" * 20_000 in content and "x" * 20_001 not in content
    response = viewer.get(thread_url("raw", "telegram_42", text="final_response"))
    assert response.content.decode() == "x" * 30_000
    assert viewer.get(thread_url("raw", "telegram_42", text="channel")).status_code == 400


def test_find_counts_hits_and_links_to_each(viewer: Client):
    run(1, execution_history=history(*["x"] * 99, "A Needle, a needle", *["x"] * 50, "needle"))

    first = viewer.get(address(find="needle"))
    last = viewer.get(address(find="needle", hit=3))

    search = first.context["page"].tab.search
    assert [hit.number for hit in search.hits] == [100, 100, 151]
    assert 'id="message-100"' in first.content.decode()
    assert 'id="message-151"' in last.content.decode()
    assert "3 of 3 for “ needle ”" in text(last.content.decode())
    assert (search.previous, search.next) == (3, 2)


def test_hit_in_the_list_opens_the_same_hit(viewer: Client):
    texts = ["needle", LS, RESULT.replace("no", "needle, needle"), "nothing", "needle"]
    run(1, execution_history=history(*texts))

    [_, (_, link)] = viewer.get("/?q=needle").context["rows"][0].hits
    search = viewer.get(link).context["page"].tab.search

    assert (search.hits[search.number - 1].number, search.number, len(search.hits)) == (3, 2, 4)


def test_find_opens_the_message_in_the_address(viewer: Client):
    run(1, execution_history=history("needle", *["no"] * 150))

    assert 130 in message_numbers(viewer.get(address(find="needle", message=130)))


def test_find_without_hits_shows_a_message(viewer: Client):
    run(1)

    assert "No matches for “ <zebra> ”." in text(page(viewer, find="<zebra>"))


def test_steps_can_be_limited_to_failed_ones(viewer: Client):
    run(140, failed=tuple(range(2, 141, 2)))
    numbers = dict(TaskCheckpoint.objects.values_list("step_index", "id"))

    response = viewer.get(address(show="checkpoints", failed=1))
    content, shown = response.content.decode(), response.context["page"].tab.entries
    pager = response.context["page"].tab.pager

    assert [step.checkpoint.step_index for step, _ in shown] == list(range(2, 121, 2))
    assert (pager.later, pager.later_count) == (numbers[122], 10)
    assert f"show=checkpoints&amp;failed=1&amp;step={numbers[122]}&amp;piece=later" in content
    assert "failed=1" in html.unescape(response.context["page"].live_url)
    assert "tool3 → tool4" in text(content)  # compared with the step before, not the failed one
    assert 'class="timeline panel only-failed"' in content and "On this page" not in content
    assert "failed=1" not in viewer.get(address(failed=1)).context["page"].live_url


def test_entries_say_which_step_of_their_attempt_they_show(viewer: Client):
    for number in (1, 2, 1, 2, 3):
        step = update(step_index=number, items=[shell("ls")], execution_history=history("go", LS))
        service.record_checkpoint(step)

    places = [re.findall(r'data-place="(.*?)"', page(viewer, show=tab)) for tab in TABS[:2]]

    steps = ["attempt 2, step 1 of 3", "attempt 2, step 2 of 3", "attempt 2, step 3 of 3"]
    assert places == [steps[-1:], ["attempt 1, step 1 of 2", "attempt 1, step 2 of 2", *steps]]


@pytest.mark.parametrize(
    ("status", "icon"),
    [
        ("running", "icon-running"),
        ("completed", "icon-completed"),
        ("failed", "icon-failed"),
        ("timed_out", "icon-failed"),
        ("cancelled", "icon"),
        ("other", "icon"),
    ],
)
def test_tab_icon_and_follow_switch_depend_on_the_status(viewer: Client, status: str, icon: str):
    run(1)
    TaskRecord.objects.update(status=status)

    for content in (page(viewer), live(viewer).content.decode()):
        assert re.findall(r'<link rel="icon" href="/static/tasks/([\w-]+)\.svg">', content) == [
            icon
        ]
        assert ('id="follow"' in content) == (status in ("running", "other"))


def live(client: Client, tag: str = "", **parameters: Any):
    url = thread_url("thread-live", "telegram_42", **parameters)
    return client.get(url, headers={"If-None-Match": tag} if tag else {})


@pytest.mark.parametrize("tab", TABS)
def test_live_returns_nothing_when_unchanged(viewer: Client, tab: str, store_queries):
    run(1)
    tag = viewer.get(address(show=tab)).context["page"].live_tag

    with store_queries() as queries:
        response = live(viewer, tag, show=tab)

    assert (response.status_code, response.content) == (304, b"")
    assert len(queries) == 1


def test_live_returns_changes_after_a_new_step(viewer: Client):
    run(1)
    tag = viewer.get(address(show="checkpoints")).context["page"].live_tag
    service.record_checkpoint(update(step_index=2, items=[item(tool_name="fresh")]))

    response = live(viewer, tag, show="checkpoints")
    content = response.content.decode()

    assert response.status_code == 200
    assert response["ETag"] != tag
    for part in ("head", "timeline", "side", "tabs", "tools", "entries", "thread-state"):
        assert content.count(f'id="{part}"') == 1
    assert f'id="step-{TaskCheckpoint.objects.order_by("-id")[0].pk}"' in content


@pytest.mark.parametrize("chosen", [{}, {"task": "telegram_42"}])
@pytest.mark.parametrize(
    "write",
    [
        lambda: TaskRecord.objects.filter(pk="telegram_42").update(updated_at=A_NANOSECOND_LATER),
        lambda: TaskRecord.objects.filter(pk="telegram_42").update(status="failed"),
        lambda: TaskRecord.objects.filter(pk="other").update(status="failed"),
        lambda: service.save_snapshot(snapshot(task_id="new")),
        lambda: TaskCheckpoint.objects.all().delete(),
    ],
)
def test_live_notices_every_write(viewer: Client, chosen: dict[str, str], write: Any):
    run(1)
    service.save_snapshot(snapshot(task_id="other"))
    TaskRecord.objects.update(updated_at=A_MOMENT)
    tag = live(viewer, **chosen)["ETag"]
    assert live(viewer, tag, **chosen).status_code == 304

    write()

    assert live(viewer, tag, **chosen).status_code == 200


def test_live_of_a_chosen_task_that_is_gone_is_not_found(viewer: Client):
    for number in range(MAX_TASKS + 1):
        service.save_snapshot(snapshot(task_id=f"task-{number}"))
    tag = live(viewer, task="task-0")["ETag"]

    TaskRecord.objects.filter(pk="task-0").delete()

    assert live(viewer, tag, task="task-0").status_code == 404


def test_page_names_its_run_and_is_followed_after_its_end(viewer: Client):
    def data(content: str) -> dict[str, str]:
        [state] = re.findall(r'<div id="thread-state"[^>]*>', content)
        return dict(re.findall(r'data-(\w+)="([^"]*)"', state))

    run(1)
    [first] = TaskCheckpoint.objects.values_list("pk", flat=True)
    assert data(page(viewer))["ended"] == ""
    assert data(page(viewer))["attempt"] == f"{first}-1"

    service.save_snapshot(snapshot(status=TaskStatus.COMPLETED))
    ended = data(live(viewer).content.decode())
    assert ended["ended"] == to_text(TaskRecord.objects.get().completed_at)
    assert html.unescape(ended["live"]) == thread_url(
        "thread-live", "telegram_42", show="transcript"
    )

    service.save_snapshot(snapshot())
    assert data(live(viewer).content.decode())["attempt"] == ""


def test_duration_of_the_first_step_is_unknown(viewer: Client):
    run(2)
    TaskRecord.objects.update(created_at=A_MOMENT)  # the thread's age is not the run's start
    content = page(viewer, show="checkpoints")

    assert content.count("start unknown") == 2  # in the timeline and in the list of steps


def test_live_of_a_missing_thread_is_not_found(viewer: Client):
    assert live(viewer).status_code == 404


@pytest.mark.parametrize("tab", TABS)
def test_page_has_no_inline_style_or_script(viewer: Client, tab: str):
    run(3, failed=(2,))

    content = page(viewer, show=tab)

    assert re.findall(r"<script(?! src=)|<style|\sstyle=|\son\w+=", content) == []


@pytest.mark.parametrize("tab", TABS)
def test_page_escapes_agent_text(viewer: Client, tab: str):
    evil = '"><script>alert(1)</script>'
    service.record_checkpoint(
        update(
            execution_history=history(evil, evil),
            checkpoint_note=evil,
            items=[item(tool_name=evil, arguments={evil: evil}, output=evil, success=False)],
        )
    )
    service.record_checkpoint(update(step_index=2, items=[item(tool_name=evil)]))
    TaskRecord.objects.update(
        resumable_history_json=history_json(evil),
        last_error=evil,
        final_response=evil,
        channel=evil,
    )

    assert "<script>alert" not in page(viewer, show=tab, find=evil, list=evil)


@pytest.mark.parametrize("tab", TABS)
@pytest.mark.parametrize(
    "column",
    [
        "execution_history_json",
        "resumable_history_json",
        "created_at",
        "updated_at",
        "completed_at",
        "status",
        "latest_checkpoint_note",
    ],
)
@pytest.mark.parametrize("value", ["[{broken", b"\xff\x00", 7])
def test_page_opens_with_any_value_in_a_task_column(
    viewer: Client, tab: str, column: str, value: Any
):
    run(2)
    overwrite(connections["tasks"], "task_records", column, value)

    page(viewer, show=tab)


@pytest.mark.parametrize("column", ["items_json", "created_at", "step_index", "checkpoint_note"])
@pytest.mark.parametrize("value", ["[{broken", b"\xff\x00", 7, ""])
def test_page_opens_with_any_value_in_a_checkpoint_column(viewer: Client, column: str, value: Any):
    run(2)
    overwrite(connections["tasks"], "task_checkpoints", column, value)

    page(viewer, show="checkpoints")


@only_postgresql
@pytest.mark.parametrize("tab", TABS)
def test_tabs_work_on_postgresql(viewer: Client, store, tab: str):
    run(3, failed=(2,))

    assert viewer.get(address(show=tab)).status_code == 200
    assert live(viewer, show=tab).status_code == 200
    assert viewer.get(address(task="\0")).status_code == 400


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (None, ""),
        (0, "0.0 s"),
        (9.96, "10.0 s"),
        (36.4, "36 s"),
        (187, "3 min 7 s"),
        (7_200, "2 h"),
    ],
)
def test_duration_uses_two_units(seconds: float | None, expected: str):
    assert duration(seconds) == expected


def test_short_forms_of_times_and_sizes():
    assert [short_duration(n) for n in (0.4, 59, 7_300, 200_000)] == ["0 s", "59 s", "2 h", "2 d"]
    assert [timecode(n) for n in (0, 75, 3_720)] == ["0:00", "1:15", "1:02:00"]
    assert [short_number(n) for n in (None, 812, 3_290, 12_000_000)] == [
        "0",
        "812",
        "3.3 K",
        "12 M",
    ]


def test_clearing_returns_to_the_filtered_list(operator: Client):
    run(1)
    filters = "channel=telegram&sort=age"

    content = operator.get(address(list=filters)).content.decode()
    [link] = re.findall(r'href="([^"]*)">Clear…', content)
    form = operator.get(html.unescape(link)).content.decode()
    [action] = re.findall(r'action="(/thread/clear/[^"]*)"', form)
    fields = dict(re.findall(r'name="(version|seen)" value="([^"]*)"', form))
    response = operator.post(html.unescape(action), fields | {"with_running": "on"})

    assert response["Location"] == f"/?{filters}"
    assert html.escape(address(list=filters)) in form
    assert TaskRecord.objects.count() == 0


def test_every_export_link_works(viewer: Client):
    task("a")

    page = viewer.get(thread_url("thread", "a")).content.decode()

    links = re.findall(r'href="(/thread/export/[^"]*)"', page)
    assert [viewer.get(html.unescape(link)).status_code for link in links] == [200] * 4


@pytest.mark.parametrize("task_id", ["telegram_42", "a/../b c?#\n", ""])
def test_admin_link_opens_the_task(admin_client: Client, task_id):
    task(task_id)

    page = admin_client.get(thread_url("thread", task_id)).content.decode()

    [link] = re.findall(r'href="(/admin/tasks/taskrecord/[^"]+)"', page)
    assert admin_client.get(html.unescape(link)).status_code == 200
