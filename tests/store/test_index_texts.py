"""Tests that a search in the index finds what a scan of all texts would find, and nothing else."""

import json
from typing import Any

import pytest
from django.db import connections
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from tasks import service
from tasks.index import following, indexed_texts, search, texts
from tasks.index.models import (
    PLACES,
    UNMERGED,
    ErrorShape,
    Failure,
    IndexedCall,
    IndexedTask,
    IndexedText,
    IndexState,
    StatusCount,
)
from tasks.listing import thread_list
from tasks.models import TaskRecord
from tasks.transcript.search import Term
from tests.store.test_index import WRITES, histories, look, property_test, run
from tests.support.factories import checkpoint, history, history_json, task, update

pytestmark = pytest.mark.django_db(databases="__all__")


def follow() -> None:
    look()
    while indexed_texts.is_behind():
        following.catch_up_texts(60)


def rows() -> list[Any]:
    """Return what the index has of texts and calls, by the keys of their tasks."""
    keys = dict(IndexedTask.objects.values_list("pk", "key"))
    found: list[Any] = []
    for row in IndexedText.objects.all():
        task_id, place = divmod(row.pk, PLACES)
        body, digest = texts.decompress(bytes(row.body)), bytes(row.digest)
        found.append((keys[task_id], place, row.role, row.number, digest, body))
    for call in IndexedCall.objects.values_list():
        task_id, place = divmod(call[0], PLACES)
        found.append((keys[task_id], place, *call[1:]))
    kinds = dict(StatusCount.objects.values_list("pk", "status"))
    for failure in Failure.objects.all():
        task_id, place = divmod(failure.pk, PLACES)
        kind = kinds[failure.kind or 0] if failure.updated_at else ""
        values = (failure.shape, failure.line, failure.tool, failure.created_at, failure.firsts)
        found.append((keys[task_id], place, *values, failure.updated_at, kind))
    found += ErrorShape.objects.values_list()
    of_tasks = IndexedTask.objects.values_list("key", "size", "last_tool", "failed_calls")
    return sorted(found, key=repr) + sorted(of_tasks)


@property_test
@given(history_=histories(WRITES))
def test_texts_equal_those_of_a_new_index_after_any_writes(store, history_: Any):
    run(history_)
    follow()
    followed = rows()
    IndexState.objects.all().delete()
    follow()

    assert followed == rows()


ODD = 'aAbB "\\\n\t\x00éÉ日\u0131\u0130\u017f\u212a🦉ςΣ'  # which escaping or case affects
letters = st.text(st.sampled_from(ODD) | st.characters(exclude_categories=["Cs"]), max_size=12)


WRAPPED = {
    "as it is": lambda text: text,
    "in JSON": lambda text: json.dumps({"content": text}, ensure_ascii=False),
    "in ASCII JSON": lambda text: json.dumps({"content": text}),
    "in JSON in JSON": lambda text: json.dumps(json.dumps(text, ensure_ascii=False)),
}


@property_test
@given(contents=st.lists(letters, max_size=4), wrap=st.sampled_from(list(WRAPPED)), data=st.data())
def test_search_finds_what_a_scan_finds(contents: list[str], wrap: str, data: Any):
    TaskRecord.objects.all().delete()
    for number, content in enumerate(contents):
        wrapped = WRAPPED[wrap](content)
        task(f"task {number}", execution_history_json=history_json(("user", f"x{wrapped}y")))
    follow()
    content = data.draw(st.sampled_from([*contents, "other"]))
    start = data.draw(st.integers(0, len(content)))
    text = content[start : start + data.draw(st.integers(1, 6))].strip()
    if not text or '"' in text:
        return
    term = Term(text)

    scanned = {
        record.task_id
        for record in TaskRecord.objects.all()
        if term.is_in(record.execution_history[0].content)
    }
    found = search.Search([search.Word(text, "message")])
    tasks = {row.pk: row.task_id for row in IndexedTask.objects.all() if found.matches(row)}
    assert set(tasks.values()) == scanned
    assert found.ids is None or found.ids == tasks.keys()


# What a person types


@pytest.fixture
def threads(store) -> None:
    task(
        "a",
        channel="slack",
        model="gpt-5-mini",
        status="failed",
        last_error="HTTP 429 too many requests",
        updated_at="2026-03-01T00:00:00+00:00",
        execution_history_json=history_json(
            ("user", "Deploy the blue service"), ("assistant", "It failed with a timeout.")
        ),
    )
    call = {"name": "shell", "arguments": {"command": 'echo "hi"'}}
    second = task(
        "b",
        channel="email",
        model="qwen3",
        status="completed",
        final_response="The red service runs.",
        latest_checkpoint_note="Waiting for DNS",
        updated_at="2026-03-02T00:00:00+00:00",
        execution_history_json=history_json(
            ("system", "You deploy."),
            ("user", "Deploy the red service"),
            ("assistant", f"<tool_call>{json.dumps(call)}</tool_call>"),
            ("user", '[Tool results]\n<tool_result name="shell">\nhi there\n</tool_result>'),
        ),
    )
    item = {
        "tool_name": "shell",
        "arguments": {"command": "echo"},
        "success": False,
        "output": "zz",
    }
    checkpoint(second, items_json=json.dumps([item], separators=(",", ":")))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("service deploy", "ab"),
        ("blue deploy", "a"),
        ("deploy blue timeout", "a"),  # in different messages
        ('"blue service"', "a"),
        ('"service blue"', ""),
        ("429", "a"),
        ("waiting", "b"),
        ("runs.", "b"),
        ("GPT-5", "a"),
        ("slack", "a"),
        ("zz", "b"),
        ('echo "hi"', "b"),
        ('"echo ""', "b"),
        ("status:failed", "a"),
        ("status:completed deploy", "b"),
        ("status:timed_out", ""),
        ("tool:shell", "b"),
        ("tool:SHE", "b"),
        ("tool:python", ""),
        ("channel:slack deploy", "a"),
        ("model:gpt-5", "a"),
        ("model:qwen3 model:gpt", ""),
        ("error:429", "a"),
        ("error:deploy", ""),
        ("note:dns", "b"),
        ("response:red", "b"),
        ("user:red", "b"),
        ("system:deploy", "b"),
        ("result:there", "b"),
        ("result:deploy", ""),
        ("before:2026-03-02", "a"),
        ("after:2026-03-02", "b"),
        ("after:2026-03-01T12:00", "b"),
        ("id:b", "b"),
        ("id:deploy", ""),
        ("d", "ab"),  # too short for trigrams
        ("http://x", ""),
        ("note: dns", ""),
        ('"', "b"),
    ],
)
def test_query_finds_threads(viewer: Client, threads, query: str, expected: str):
    response = viewer.get("/", {"q": query})

    assert sorted(row.record.task_id for row in response.context["rows"]) == list(expected)
    counts = {state.name: state.count for state in response.context["states"]}
    assert counts[""] == str(len(expected))


@pytest.mark.parametrize("query", ["status:nothing", "before:yesterday", "after:2026-13-01"])
def test_field_with_a_wrong_value_is_named(viewer: Client, store, query: str):
    response = viewer.get("/", {"q": query})

    assert response.status_code == 400
    assert f"“{query}” is not a" in response.content.decode()


def test_snippets_are_readable(viewer: Client, threads):
    [row] = viewer.get("/", {"q": "echo"}).context["rows"]

    [(hit, url)] = row.hits
    assert (hit.before, hit.match, hit.after) == ("shell\ncommand: ", "echo", ' "hi"')
    assert "message=3&find=echo" in url


@pytest.mark.parametrize(
    ("query", "role", "part"),
    [("429", "error", "?id=a&list="), ("zz", "step", "&step="), ("dns", "note", "?id=b&list=")],
)
def test_hit_outside_of_messages_links_to_its_place(
    viewer: Client, threads, query: str, role: str, part: str
):
    [row] = viewer.get("/", {"q": query}).context["rows"]

    [(hit, url)] = row.hits
    assert hit.role == role
    assert part in url


def test_secret_is_neither_indexed_nor_found(viewer: Client, store):
    task(execution_history_json=history_json(("user", "password: hunter2x9Zq and more")))
    follow()

    assert "hunter2" not in str(rows())
    assert not viewer.get("/", {"q": "hunter2"}).context["rows"]
    assert not viewer.get("/", {"q": "masked"}).context["rows"]
    assert viewer.get("/", {"q": "more"}).context["rows"]


def test_only_what_changed_is_indexed_again(store, monkeypatch):
    prepared: list[str] = []

    def readable(role: str, stored: str) -> str:
        prepared.append(stored)
        return stored

    monkeypatch.setattr(texts, "readable", readable)
    service.record_checkpoint(update(execution_history=[*history("one", "two")], items=[]))
    follow()
    prepared.clear()

    service.record_checkpoint(update(execution_history=[*history("one", "two", "three")], items=[]))
    follow()

    assert prepared == ["three"]
    assert IndexedCall.objects.count() == 2


def test_texts_are_completed_in_steps_of_any_length(store, monkeypatch):
    monkeypatch.setattr(indexed_texts, "MIN_SECONDS", 0)
    for number in range(5):
        for step in (1, 2, 3):
            service.record_checkpoint(update(task_id=f"{number}", step_index=step))
    look()

    steps = 0
    while indexed_texts.is_behind():
        batch = indexed_texts._Batch(indexed_texts.WRITE_SIZE)
        tasks = {row.key: row for row in IndexedTask.objects.filter(has_texts=False)}
        for group in texts.read(list(tasks)):
            batch.add([(tasks[key], stored) for key, stored in group.items()], deadline=0)
        batch.write()
        steps += 1
    assert 5 <= steps <= 15
    assert IndexedCall.objects.count() == 15


def test_search_that_may_match_many_texts_counts_what_it_has_seen(
    viewer: Client, store, monkeypatch
):
    monkeypatch.setattr(search, "MANY_TEXTS", 1)
    monkeypatch.setattr(thread_list, "COUNT_SECONDS", -1)
    for number in range(3):
        task(f"task {number}", execution_history_json=history_json(("user", "needle")))

    context = viewer.get("/", {"q": "needle"}).context

    assert len(context["rows"]) == 3
    assert {state.count for state in context["states"] if state.name == ""} == {"1+"}


def test_thread_with_too_large_texts_is_named(viewer: Client, store, settings):
    settings.MAX_HISTORY_SIZE = 1_000
    task(last_error="a needle", execution_history_json=history_json(("user", "x" * 2_000)))

    response = viewer.get("/", {"q": "needle"})

    assert len(response.context["rows"]) == 1
    assert "1 thread is too large to search completely" in response.content.decode()


def test_threads_that_are_not_indexed_yet_are_counted(viewer: Client, store, monkeypatch):
    task()
    look()
    monkeypatch.setattr(following, "BUILD_SECONDS", -1)
    monkeypatch.setattr(following, "is_building", lambda: True)

    assert "1 thread cannot be searched" in viewer.get("/", {"q": "needle"}).content.decode()


def test_nothing_is_left_of_tasks_that_are_gone(store):
    for number in range(3):
        task(f"task {number}", execution_history_json=history_json(("user", f"needle {number}")))
        follow()
    TaskRecord.objects.exclude(task_id="task 1").delete()
    follow()
    IndexState.objects.update(merging=UNMERGED)
    indexed_texts.purge(60)

    assert [texts.decompress(bytes(row.body)) for row in IndexedText.objects.all()] == ["needle 1"]
    assert not indexed_texts.has_removed()
    with connections["index"].cursor() as cursor:
        cursor.execute("CREATE VIRTUAL TABLE terms USING fts5vocab(index_trigrams, 'instance')")
        cursor.execute("SELECT DISTINCT term FROM terms")
        terms = {term for (term,) in cursor.fetchall()}
        cursor.execute("DROP TABLE terms")
    assert terms == {"nee", "eed", "edl", "dle", "le ", "e 1"}
