"""Tests for the store's verbs on SQLite and PostgreSQL."""

import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from asgiref.sync import async_to_sync
from django.test.utils import CaptureQueriesContext

from tasks import service
from tasks.messages import ChatMessage
from tasks.models import TaskRecord, TaskStatus
from tasks.service import CorruptRecordError, TaskCheckpointUpdate, TaskSnapshot
from tests.support.factories import (
    TABLES,
    checkpoint,
    data,
    history,
    item,
    loaded,
    only_sqlite,
    overwrite,
    rows,
    snapshot,
    task,
    update,
)

pytestmark = pytest.mark.django_db(databases="__all__")

TERMINAL = [status for status in TaskStatus if status is not TaskStatus.RUNNING]
TEXT_COLUMNS = {*TABLES["task_records"]} - {"task_id", "thread_id", "checkpoint_count"}
UNKNOWN = ["", "Completed", "paused", "running "]
TIMES = ("created_at", "updated_at", "completed_at")
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.(\d{3}){1,3})?\+00:00", re.ASCII)


# Verbs return and store the same as the original program


@pytest.mark.parametrize("sequence", data("store.json"), ids=lambda sequence: "")
def test_verbs_return_and_store_what_the_original_does(store, sequence):
    results = [as_in_vectors(perform(operation)) for operation in sequence["ops"]]
    assert msgspec.json.encode(results, order="sorted") == msgspec.json.encode(
        sequence["results"], order="sorted"
    )
    for table, ignored in (("task_records", ()), ("task_checkpoints", ("id",))):
        stored = rows(store, table)
        times = [row.pop(name) for row in stored for name in TIMES if name in row]
        assert [time for time in times if time and not RFC3339.fullmatch(time)] == []
        plain = [{name: row[name] for name in row if name not in ignored} for row in stored]
        assert plain == sequence[table]


def perform(operation: dict[str, Any]) -> Any:
    fields = dict(operation)
    op = fields.pop("op")
    if op == "save_snapshot":
        return service.save_snapshot(msgspec.convert(fields, TaskSnapshot))
    if op == "record_checkpoint":
        return service.record_checkpoint(msgspec.convert(fields, TaskCheckpointUpdate))
    verbs: dict[str, Callable[[str], Any]] = {
        "load": service.load_by_thread_id,
        "resume": service.load_resumable_state,
        "delete": service.delete_by_thread_id,
    }
    return verbs[op](fields["thread_id"])


def as_in_vectors(result: Any) -> Any:
    """Convert a result to the form used in store.json, with times relative to `updated_at`."""
    if isinstance(result, tuple):
        return {"turns": msgspec.to_builtins(result[0]), "note": result[1]}
    plain = msgspec.to_builtins(result)
    if plain is not None:
        updated_at = plain.pop("updated_at")
        for name in ("created_at", "completed_at"):
            plain[name] = plain[name] and "<=>"[compare(plain[name], updated_at)] + "updated_at"
        for step in plain["checkpoints"]:
            del step["created_at"]
    return plain


def compare(one: str, other: str) -> int:
    return 1 + (one > other) - (one < other)


# save_snapshot


def test_save_snapshot_inserts_a_row(store, clock):
    service.save_snapshot(
        snapshot(latest_checkpoint_note="note", final_response="done", last_error="boom")
    )
    assert rows(store, "task_records") == [
        {
            "task_id": "telegram_42",
            "thread_id": "telegram_42",
            "channel": "telegram",
            "provider": "openai",
            "model": "gpt-test",
            "status": "running",
            "execution_history_json": '[{"role":"user","content":"hello"}]',
            "resumable_history_json": '[{"role":"user","content":"hello"},'
            '{"role":"assistant","content":"working on it"}]',
            "latest_checkpoint_note": "note",
            "checkpoint_count": 0,
            "final_response": "done",
            "last_error": "boom",
            "created_at": clock.at(1),
            "updated_at": clock.at(1),
            "completed_at": None,
        }
    ]


def test_save_snapshot_replaces_all_but_created_at_and_count(store, clock):
    service.record_checkpoint(update())
    service.save_snapshot(snapshot(final_response="first", last_error="boom"))
    changed = {"thread_id": "t", "channel": "c", "provider": "p", "model": "m"}
    service.save_snapshot(
        snapshot(**changed, execution_history=[], resumable_history=[], status=TaskStatus.FAILED)
    )
    assert rows(store, "task_records") == [
        {
            "task_id": "telegram_42",
            **changed,
            "status": "failed",
            "execution_history_json": "[]",
            "resumable_history_json": "[]",
            "latest_checkpoint_note": None,
            "checkpoint_count": 1,
            "final_response": None,
            "last_error": None,
            "created_at": clock.at(1),
            "updated_at": clock.at(3),
            "completed_at": clock.at(3),
        }
    ]
    assert len(rows(store, "task_checkpoints")) == 1


@pytest.mark.parametrize("status", TERMINAL)
def test_save_snapshot_completes_a_terminal_task_only(store, clock, status):
    completed_at = []
    for now in (TaskStatus.RUNNING, status, status, TaskStatus.RUNNING):
        service.save_snapshot(snapshot(status=now))
        completed_at.append(rows(store, "task_records")[0]["completed_at"])
    assert completed_at == [None, clock.at(2), clock.at(3), None]


@pytest.mark.parametrize("status", TERMINAL)
def test_save_snapshot_running_over_terminal_starts_a_new_run(store, clock, status):
    service.record_checkpoint(update(task_id="other"))
    service.record_checkpoint(update())
    service.record_checkpoint(update())
    service.save_snapshot(snapshot(status=status))
    service.save_snapshot(snapshot(status=TaskStatus.RUNNING))
    other, mine = rows(store, "task_records")
    assert (mine["checkpoint_count"], mine["created_at"]) == (0, clock.at(2))
    assert other["checkpoint_count"] == 1
    assert [row["task_id"] for row in rows(store, "task_checkpoints")] == ["other"]


@pytest.mark.parametrize("stored", ["running", *UNKNOWN])
def test_save_snapshot_running_over_nonterminal_keeps_checkpoints(store, stored):
    record = task(status=stored, checkpoint_count=2)
    steps = [checkpoint(record).pk, checkpoint(record).pk]
    service.save_snapshot(snapshot(status=TaskStatus.RUNNING))
    assert rows(store, "task_records")[0]["checkpoint_count"] == 2
    assert [row["id"] for row in rows(store, "task_checkpoints")] == steps


def test_save_snapshot_running_over_running_keeps_uncounted_checkpoints(store):
    step = checkpoint(task(status="running", checkpoint_count=0))
    service.save_snapshot(snapshot(status=TaskStatus.RUNNING))
    assert [row["id"] for row in rows(store, "task_checkpoints")] == [step.pk]


@pytest.mark.parametrize("status", TERMINAL)
@pytest.mark.parametrize("stored", [*TERMINAL, "running", "paused"])
def test_save_snapshot_terminal_keeps_checkpoints(store, stored, status):
    checkpoint(task(status=stored, checkpoint_count=1))
    service.save_snapshot(snapshot(status=status))
    assert rows(store, "task_records")[0]["checkpoint_count"] == 1
    assert len(rows(store, "task_checkpoints")) == 1


# record_checkpoint


def test_record_checkpoint_inserts_a_task_with_one_checkpoint(store, clock):
    service.record_checkpoint(update(checkpoint_note="next: run it", step_index=0))
    [record] = rows(store, "task_records")
    [step] = rows(store, "task_checkpoints")
    assert {name: record[name] for name in TABLES["task_records"][5:]} == {
        "status": "running",
        "execution_history_json": '[{"role":"user","content":"hello"}]',
        "resumable_history_json": "[]",
        "latest_checkpoint_note": "next: run it",
        "checkpoint_count": 1,
        "final_response": None,
        "last_error": None,
        "created_at": clock.at(1),
        "updated_at": clock.at(1),
        "completed_at": None,
    }
    assert step == {
        "id": step["id"],
        "task_id": "telegram_42",
        "step_index": 0,
        "checkpoint_note": "next: run it",
        "items_json": '[{"tool_name":"shell","arguments":{},"success":true,"output":"ok"}]',
        "created_at": clock.at(1),
    }


def test_record_checkpoint_leaves_other_columns_unchanged(store, clock):
    service.save_snapshot(
        snapshot(status=TaskStatus.COMPLETED, final_response="done", last_error="boom")
    )
    [before] = rows(store, "task_records")
    changed = {"thread_id": "t", "channel": "c", "provider": "p", "model": "m"}
    service.record_checkpoint(update(**changed, execution_history=history("a", "b")))
    assert rows(store, "task_records") == [
        before
        | changed
        | {
            "status": "running",
            "execution_history_json": '[{"role":"user","content":"a"},'
            '{"role":"assistant","content":"b"}]',
            "latest_checkpoint_note": None,
            "checkpoint_count": 1,
            "updated_at": clock.at(2),
        }
    ]


# load_by_thread_id


def test_load_returns_the_task_decoded(store, clock):
    arguments = {"b": [1, None], "a": {"é": 1.5}}
    service.save_snapshot(snapshot(status=TaskStatus.RUNNING))
    service.record_checkpoint(update(items=[item(arguments=arguments)], checkpoint_note="step"))
    service.save_snapshot(snapshot(status=TaskStatus.TIMED_OUT, latest_checkpoint_note="note"))
    assert service.load_by_thread_id("telegram_42") == service.StoredTask(
        task_id="telegram_42",
        thread_id="telegram_42",
        channel="telegram",
        provider="openai",
        model="gpt-test",
        status=TaskStatus.TIMED_OUT,
        execution_history=history("hello"),
        resumable_history=history("hello", "working on it"),
        latest_checkpoint_note="note",
        checkpoint_count=1,
        final_response=None,
        last_error=None,
        created_at=clock.at(1),
        updated_at=clock.at(3),
        completed_at=clock.at(3),
        checkpoints=[service.StoredCheckpoint(1, "step", [item(arguments=arguments)], clock.at(2))],
    )


def test_load_returns_the_latest_of_several_tasks(store, clock):
    for task_id in ("a", "c", "b"):
        service.record_checkpoint(update(task_id=task_id, thread_id="t"))
    assert [loaded("t").task_id, len(loaded("t").checkpoints)] == ["b", 1]
    service.save_snapshot(snapshot(task_id="a", thread_id="t"))
    assert loaded("t").task_id == "a"


def test_load_breaks_ties_like_the_pages(store):
    for task_id in ("b", "c", "a"):
        task(task_id, thread_id="t", updated_at="2026-01-01T00:00:00+00:00")
    displayed = TaskRecord.objects.latest_per_thread().get(thread_id="t")
    assert [loaded("t").task_id, displayed.task_id] == ["c", "c"]


def test_load_sorts_checkpoints_by_step_and_id(store):
    record = task()
    for step_index, note in [(2, "a"), (1, "b"), (2, "c"), (1, "d"), (10, "e"), (0, "f")]:
        checkpoint(record, step_index, checkpoint_note=note)
    assert [step.checkpoint_note for step in loaded().checkpoints] == list("fbdace")


@pytest.mark.parametrize("stored", UNKNOWN)
def test_load_reads_an_unknown_status_as_running(store, stored):
    task(status=stored)
    assert loaded().status is TaskStatus.RUNNING
    assert rows(store, "task_records")[0]["status"] == stored


def test_load_reads_a_negative_count_as_zero(store):
    task(checkpoint_count=-3)
    assert loaded().checkpoint_count == 0


@pytest.mark.parametrize("verb", [service.load_by_thread_id, service.load_resumable_state])
@pytest.mark.parametrize("thread_id", ["", "telegram_4", "TELEGRAM_42", "telegram_42 ", "a\0b"])
def test_load_and_resume_return_none_without_a_row(store, verb, thread_id):
    task()
    assert verb(thread_id) is None


@pytest.mark.parametrize(
    ("table", "column", "value", "reason"),
    [
        ("task_records", "execution_history_json", "{}", "JSON is not an array"),
        ("task_records", "execution_history_json", "", "Input data was truncated"),
        ("task_records", "resumable_history_json", "[1]", "[0] is not an object"),
        (
            "task_checkpoints",
            "items_json",
            '[["shell",NaN,true,"ok"]]',
            "JSON is malformed: invalid character (byte 10)",
        ),
    ],
)
def test_load_names_the_corrupt_row(store, table, column, value, reason):
    step = checkpoint(task("a", thread_id="t"), step_index=1000)
    overwrite(store, table, column, value)
    key = {"task_records": "'a'", "task_checkpoints": step.pk}[table]
    with pytest.raises(CorruptRecordError) as caught:
        service.load_by_thread_id("t")
    assert str(caught.value) == f"{table} {key}, {column}: {reason}"


@only_sqlite
@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        *(("task_records", column, b"[]") for column in sorted(TEXT_COLUMNS)),
        ("task_records", "checkpoint_count", "many"),
        ("task_records", "checkpoint_count", 1.5),
        ("task_checkpoints", "step_index", "one"),
        *(("task_checkpoints", column, b"[]") for column in TABLES["task_checkpoints"][3:]),
    ],
)
def test_load_names_the_column_of_a_wrong_type(store, table, column, value):
    step = checkpoint(task("a", thread_id="t"), step_index=1000)
    overwrite(store, table, column, value)
    key = {"task_records": "'a'", "task_checkpoints": step.pk}[table]
    with pytest.raises(CorruptRecordError) as caught:
        service.load_by_thread_id("t")
    kind = type(value).__name__
    assert str(caught.value) == f"{table} {key}, {column}: a value of type {kind}"


@only_sqlite
def test_load_names_the_first_value_of_a_wrong_type(store):
    record = task()
    checkpoint(record, 1)
    first, _ = checkpoint(record, 2), checkpoint(record, 3)
    with store.cursor() as cursor:
        cursor.execute(
            "UPDATE task_checkpoints SET items_json = x'00', created_at = x'00'"
            " WHERE step_index > 1"
        )
    with pytest.raises(CorruptRecordError, match=rf"^task_checkpoints {first.pk}, items_json: "):
        service.load_by_thread_id("telegram_42")


def test_load_reads_items_from_their_own_column(store):
    service.record_checkpoint(update(checkpoint_note="[]", items=[item(output="done")]))
    overwrite(store, "task_checkpoints", "created_at", "[]")
    assert loaded().checkpoints == [service.StoredCheckpoint(1, "[]", [item(output="done")], "[]")]


# load_resumable_state


def test_resume_returns_clean_turns_and_the_note(store):
    turns = [
        ChatMessage("system", "you are"),
        ChatMessage("user", "list"),
        ChatMessage("assistant", 'Sure. <tool_call>{"name":"shell"}</tool_call>'),
        ChatMessage("assistant", "Two files."),
    ]
    service.save_snapshot(snapshot(resumable_history=turns, latest_checkpoint_note="note"))
    assert service.load_resumable_state("telegram_42") == (
        [ChatMessage("user", "list"), ChatMessage("assistant", "Sure.\n\nTwo files.")],
        "note",
    )


def test_resume_returns_none_without_turns(store):
    service.save_snapshot(snapshot(resumable_history=[ChatMessage("assistant", "hello")]))
    assert service.load_resumable_state("telegram_42") is None


def test_resume_reads_only_what_it_needs(store):
    checkpoint(task(resumable_history_json='[["user","hi"]]'))
    overwrite(store, "task_records", "execution_history_json", "corrupt")
    overwrite(store, "task_checkpoints", "items_json", "corrupt")
    with CaptureQueriesContext(store) as captured:
        assert service.load_resumable_state("telegram_42") == ([ChatMessage("user", "hi")], None)
    [statement] = statements(captured)
    assert statement[: statement.index(" FROM ")].removeprefix("SELECT ").split(", ") == [
        "task_id",
        "resumable_history_json",
        "latest_checkpoint_note",
    ]


def test_resume_names_the_corrupt_row(store):
    task("a", thread_id="t", resumable_history_json='[{"role":"user"}]')
    with pytest.raises(CorruptRecordError) as caught:
        service.load_resumable_state("t")
    assert str(caught.value) == (
        "task_records 'a', resumable_history_json: [0]: Object missing required field `content`"
    )


@only_sqlite
def test_resume_names_the_column_of_a_wrong_type(store):
    task("a", thread_id="t")
    overwrite(store, "task_records", "latest_checkpoint_note", b"note")
    with pytest.raises(CorruptRecordError) as caught:
        service.load_resumable_state("t")
    assert str(caught.value) == "task_records 'a', latest_checkpoint_note: a value of type bytes"


# delete_by_thread_id


@pytest.mark.parametrize("verb", [service.delete_by_thread_id, service.clear_session])
def test_delete_removes_exactly_the_tasks_of_the_thread(store, verb):
    for task_id, thread_id in [("a", "t"), ("b", "t"), ("t", "other"), ("d", "T")]:
        service.record_checkpoint(update(task_id=task_id, thread_id=thread_id))
    verb("t")
    assert [row["task_id"] for row in rows(store, "task_records")] == ["d", "t"]
    assert [row["task_id"] for row in rows(store, "task_checkpoints")] == ["t", "d"]


@pytest.mark.parametrize("thread_id", ["", "%", "telegram_4_", "a\0b"])
def test_delete_of_an_unknown_thread_does_nothing(store, thread_id):
    task()
    service.delete_by_thread_id(thread_id)
    assert len(rows(store, "task_records")) == 1


# All verbs


@pytest.mark.parametrize(
    "thread_id",
    [
        "matrix_@ops:example.org",
        "cli_interactive:/home/ops/.gloamy/workspace",
        "../../etc",
        " t'\"; DROP TABLE x;-- 100%s %(x)s ",
        "Zoë 🚀 \u2028 e\u0301",
        "",
    ],
)
def test_verbs_accept_any_text_as_a_thread_id(store, thread_id):
    service.save_snapshot(snapshot(task_id=thread_id, thread_id=thread_id))
    service.record_checkpoint(update(task_id=thread_id, thread_id=thread_id))
    assert [loaded(thread_id).thread_id, len(loaded(thread_id).checkpoints)] == [thread_id, 1]
    service.delete_by_thread_id(thread_id)
    assert rows(store, "task_records") == rows(store, "task_checkpoints") == []


def test_asynchronous_verbs_match_their_twins(store, clock):
    async def use():
        await service.asave_snapshot(snapshot(latest_checkpoint_note="note"))
        await service.arecord_checkpoint(update(checkpoint_note="step"))
        results = [
            await service.aload_by_thread_id("telegram_42"),
            await service.aload_resumable_state("telegram_42"),
        ]
        await service.arecord_checkpoint(update(task_id="b", thread_id="b"))
        await service.adelete_by_thread_id("telegram_42")
        remaining = [row.task_id async for row in TaskRecord.objects.all()]
        await service.aclear_session("b")
        return [*results, remaining, await service.aload_by_thread_id("b")]

    task_, state, remaining, missing = async_to_sync(use)()
    assert (remaining, missing) == (["b"], None)

    service.save_snapshot(snapshot(latest_checkpoint_note="note"))
    service.record_checkpoint(update(checkpoint_note="step"))
    assert state == service.load_resumable_state("telegram_42")
    counterpart = loaded()
    assert (task_.created_at, counterpart.created_at) == (clock.at(1), clock.at(4))
    for one in (task_, counterpart, *task_.checkpoints, *counterpart.checkpoints):
        for name in set(TIMES) & set(one.__struct_fields__):
            setattr(one, name, "")
    assert task_ == counterpart


# A write locks the file, or the thread, the task and its row, and asks for the last write.
LOCKS = {"sqlite": ["UPDATE", "SELECT"], "postgresql": ["SELECT", "SELECT"]}
LOAD = {"sqlite": ["SELECT", "SELECT"], "postgresql": ["SELECT"]}
DELETE = {"sqlite": ["UPDATE", "DELETE"], "postgresql": ["SELECT", "SELECT", "DELETE"]}
NOTHING: dict[str, list[str]] = {"sqlite": [], "postgresql": []}


@pytest.mark.parametrize(
    ("call", "locks", "expected"),
    [
        (lambda: service.save_snapshot(snapshot(status=TaskStatus.FAILED)), LOCKS, ["INSERT"]),
        (lambda: service.save_snapshot(snapshot()), LOCKS, ["INSERT"]),
        (lambda: service.record_checkpoint(update()), LOCKS, ["INSERT", "INSERT"]),
        (lambda: service.load_by_thread_id("telegram_42"), LOAD, []),
        (lambda: service.load_by_thread_id("none"), NOTHING, ["SELECT"]),
        (lambda: service.load_resumable_state("telegram_42"), NOTHING, ["SELECT"]),
        (lambda: service.delete_by_thread_id("telegram_42"), DELETE, []),
    ],
    ids=["save", "save running", "record", "load", "load nothing", "resume", "delete"],
)
def test_verbs_need_few_statements(store, call, locks, expected):
    for step_index in range(3):
        service.record_checkpoint(update(step_index=step_index))
    with CaptureQueriesContext(store) as captured:
        call()
    queries = [statement.split()[0] for statement in statements(captured)]
    assert queries == locks[store.vendor] + expected


def test_new_run_takes_one_statement_more(store):
    service.save_snapshot(snapshot(status=TaskStatus.FAILED))
    with CaptureQueriesContext(store) as captured:
        service.save_snapshot(snapshot())
    queries = [statement.split()[0] for statement in statements(captured)]
    assert queries == [*LOCKS[store.vendor], "DELETE", "INSERT"]


def statements(captured: CaptureQueriesContext) -> list[str]:
    """Return the captured SQL, one line per statement, without transaction control statements."""
    transactions = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE SAVEPOINT")
    queries = (" ".join(query["sql"].split()) for query in captured.captured_queries)
    return [sql for sql in queries if not sql.startswith(transactions)]
