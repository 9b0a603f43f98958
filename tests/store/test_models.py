import pickle
import re

import pytest
from django.db import IntegrityError, transaction
from django.test.utils import CaptureQueriesContext

from tasks import large_values
from tasks.messages import ChatMessage
from tasks.models import END_LENGTH, PREFIX_LENGTH, TaskCheckpoint, TaskRecord, TaskStatus
from tests.support.factories import TABLES, checkpoint, history, item, overwrite, rows, task

pytestmark = pytest.mark.django_db(databases="__all__")

NEW, OLD = "2026-01-02T00:00:00+00:00", "2026-01-01T00:00:00.000000001+00:00"
RAW = '[{"role":"user","content":"hi"}]'

only_sqlite = pytest.mark.parametrize("store", ["sqlite"], indirect=True)


def ids(queryset):
    return [record.task_id for record in queryset]


def selected(queryset):
    """Return the names of the columns that the query reads in full."""
    columns, _, _ = str(queryset.query).removeprefix("SELECT ").partition(" FROM ")
    return re.findall(r'(?:^|, )"task_records"\."(\w+)"', columns)


# TaskStatus


@pytest.mark.parametrize(
    ("stored", "status", "is_terminal"),
    [
        ("running", TaskStatus.RUNNING, False),
        ("completed", TaskStatus.COMPLETED, True),
        ("failed", TaskStatus.FAILED, True),
        ("cancelled", TaskStatus.CANCELLED, True),
        ("timed_out", TaskStatus.TIMED_OUT, True),
        ("timed out", TaskStatus.RUNNING, False),
        ("Completed", TaskStatus.RUNNING, False),
        ("COMPLETED", TaskStatus.RUNNING, False),
        ("", TaskStatus.RUNNING, False),
    ],
)
def test_unknown_status_reads_as_running(stored, status, is_terminal):
    assert (TaskStatus.read(stored), TaskStatus.read(stored).is_terminal) == (status, is_terminal)


# Reading tasks


@pytest.fixture
def threads(store):
    """Thread x has three tasks, y has two that were updated at the same time, and z has one."""
    for task_id, thread_id, updated_at in [
        ("x1", "x", OLD),
        ("x3", "x", NEW),
        ("x2", "x", OLD),
        ("y1", "y", NEW),
        ("y2", "y", NEW),
        ("z", "z", OLD),
    ]:
        task(task_id, thread_id=thread_id, updated_at=updated_at)


def test_for_thread_returns_the_latest_first(store, threads):
    assert ids(TaskRecord.objects.for_thread("x")) == ["x3", "x2", "x1"]
    assert ids(TaskRecord.objects.for_thread("y")) == ["y2", "y1"]


@pytest.mark.parametrize("thread_id", ["", "X", "x ", "%", "x\0", "\0"])
def test_for_thread_returns_nothing_for_an_unknown_thread(store, threads, thread_id):
    assert ids(TaskRecord.objects.for_thread(thread_id)) == []


def test_newest_first_is_a_total_order(store, threads):
    assert ids(TaskRecord.objects.newest_first()) == ["y2", "y1", "x3", "z", "x2", "x1"]


def test_latest_per_thread_returns_one_task_per_thread(store, threads):
    assert ids(TaskRecord.objects.latest_per_thread().newest_first()) == ["y2", "x3", "z"]


@pytest.mark.parametrize("thread_id", ["x", "y", "z"])
def test_latest_per_thread_is_the_first_of_for_thread(store, threads, thread_id):
    latest = TaskRecord.objects.latest_per_thread().get(thread_id=thread_id)
    assert latest == TaskRecord.objects.for_thread(thread_id).first()


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_compare_pages_through_every_row_once(store, size):
    for number, task_id in enumerate("mzaikÄ🚀bé"):
        task(task_id, updated_at=[OLD, NEW, NEW, NEW, OLD][number % 5])
    in_order = ids(TaskRecord.objects.newest_first())
    task_ids, page = [], list(TaskRecord.objects.newest_first()[:size])
    while page:
        task_ids += ids(page)
        last = rows_by_id(store)[page[-1].task_id]
        following = TaskRecord.objects.newest_first().compare(
            "updated_at", last["updated_at"], last["task_id"], "lt"
        )
        page = list(following[:size])
    assert task_ids == in_order == ["🚀", "é", "z", "i", "b", "a", "Ä", "m", "k"]


def rows_by_id(store):
    return {row["task_id"]: row for row in rows(store, "task_records")}


@pytest.mark.parametrize("text", ["yesterday", "", "2026-01-01T12:00:00Z"])
def test_compare_continues_from_text_other_than_a_timestamp(store, text):
    task("bad")
    overwrite(store, "task_records", "updated_at", text)
    task("new", updated_at=NEW)
    task("old", updated_at=OLD)
    in_order = ids(TaskRecord.objects.newest_first())
    following = TaskRecord.objects.newest_first().compare("updated_at", text, "bad", "lt")
    assert ids(following) == in_order[in_order.index("bad") + 1 :]


# Lists


def test_for_list_reads_no_whole_history(store):
    left_out = {
        "execution_history_json",
        "resumable_history_json",
        "latest_checkpoint_note",
        "final_response",
        "last_error",
    }
    queryset = TaskRecord.objects.for_list()
    on_their_own = (
        large_values.TRAILING if store.vendor == "sqlite" else ()
    )  # SQLite reads these columns in a separate statement
    assert selected(queryset) == [
        c for c in TABLES["task_records"] if c not in left_out and c not in on_their_own
    ]
    task(final_response="done")
    [record] = queryset
    assert record.get_deferred_fields() == left_out


def test_for_list_reads_the_start_of_each_history(store):
    long = "é🚀" * PREFIX_LENGTH
    task(execution_history_json=long, resumable_history_json=RAW)
    record = vars(TaskRecord.objects.for_list().get())
    assert (record["history_start"], record["resumable_start"]) == (long[:PREFIX_LENGTH], RAW)
    assert (record["history_length"], record["resumable_length"]) == (6 * PREFIX_LENGTH, len(RAW))


def test_for_list_reads_the_end_of_the_history(store, monkeypatch):
    long = "é" * END_LENGTH + "the end"
    task(execution_history_json=long)
    record = vars(TaskRecord.objects.for_list().get())
    assert record["history_end"].endswith("éthe end")
    assert len(record["history_end"].encode()) <= 2 * END_LENGTH

    monkeypatch.setattr(large_values, "FARTHEST_END", len(long.encode()) - 1)
    assert vars(TaskRecord.objects.for_list().get())["history_end"] == ""


def test_lists_need_one_query_for_any_number_of_rows(store, django_assert_num_queries):
    for count in (1, 3):
        task(f"task {count}", thread_id="t")
        checkpoint(task(f"other {count}"))
        with django_assert_num_queries(1, connection=store):
            records = list(TaskRecord.objects.latest_per_thread().newest_first().for_list())
            texts = [(record.thread_id, record.status, record.updated_at) for record in records]
        assert len(texts) == {1: 2, 3: 3}[count]


ORDERS = ("updated_at", "created_at", "checkpoint_count")


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("column", ORDERS)
def test_comparisons_divide_the_rows_of_an_order(store, column, descending):
    for number, task_id in enumerate("mzaikb"):
        time = [OLD, NEW, NEW][number % 3]
        task(task_id, updated_at=time, created_at=time, checkpoint_count=number % 3)
    after, through = ("lt", "gte") if descending else ("gt", "lte")
    ordered = TaskRecord.objects.in_order(column, descending=descending)
    in_order = ids(ordered)
    stored = rows_by_id(store)
    for position, task_id in enumerate(in_order, start=1):
        at = (column, stored[task_id][column], task_id)
        assert ids(ordered.compare(*at, through)) == in_order[:position]
        assert ids(ordered.compare(*at, after)) == in_order[position:]


@pytest.mark.parametrize(
    ("resumable", "is_unresumable"),
    [
        ("[]", True),
        (RAW, False),
        ('[{"role":"assistant","content":"hi"}]', True),
        ('[{"role":"assistant","content":"hi"},{"role":"user","content":""}]', False),
        ('[{"role":"USER","content":"hi"}]', True),
        ('[{"role":"assistant","content":"\\"role\\":\\"user\\""}]', True),
        ("not json", True),
        ("", True),
    ],
)
def test_unresumable_returns_tasks_without_a_user_turn(store, resumable, is_unresumable):
    task(resumable_history_json=resumable)
    assert TaskRecord.objects.unresumable().exists() == is_unresumable


@only_sqlite
def test_thread_and_checkpoints_are_looked_up_by_index(store):
    steps = TaskCheckpoint.objects.filter(task_id="x").in_step_order()
    assert [line.split(" ", 3)[3] for line in steps.explain().splitlines()] == [
        "SEARCH task_checkpoints USING INDEX idx_task_checkpoints_task_step (task_id=?)"
    ]
    plan = TaskRecord.objects.for_thread("x").explain().splitlines()
    assert plan[0].split(" ", 3)[3] == (
        "SEARCH task_records USING INDEX idx_task_records_thread (thread_id=?)"
    )


# Checkpoints


def test_for_thread_returns_checkpoints_in_step_order(store):
    a, b, other = task("a", thread_id="t"), task("b", thread_id="t"), task("t", thread_id="b")
    for number, (record, step_index) in enumerate([(a, 2), (b, 1), (other, 0), (a, 1), (b, 2)]):
        checkpoint(record, step_index, checkpoint_note=str(number))
    steps = TaskCheckpoint.objects.for_thread("t").in_step_order()
    assert [step.checkpoint_note for step in steps] == list("1304")


def test_checkpoints_are_deleted_with_their_task(store):
    checkpoint(task("a"))
    checkpoint(task("b"))
    with CaptureQueriesContext(store) as captured:
        TaskRecord.objects.get(task_id="a").delete()
    assert [query["sql"][:6] for query in captured] == ["SELECT", "DELETE"]
    assert [row["task_id"] for row in rows(store, "task_checkpoints")] == ["b"]


def test_checkpoints_need_a_task(store):
    with pytest.raises(IntegrityError), transaction.atomic(using=store.alias):
        TaskCheckpoint.objects.create(task_id="none", step_index=1, items_json="[]")
        store.check_constraints()


def test_str_of_rows(store):
    assert (str(task("a")), str(checkpoint(task("b"), 7))) == ("a", "b step 7")


# Decoded values of JSON columns


def test_history_is_decoded_on_first_access(store, monkeypatch):
    calls = count_decoding(monkeypatch, TaskRecord.execution_history)
    record = task(execution_history_json=RAW)
    loaded = TaskRecord.objects.get()
    assert calls == []
    assert loaded.execution_history == [ChatMessage("user", "hi")]
    assert loaded.execution_history is loaded.execution_history
    assert (calls, record.resumable_history) == ([RAW], [])


def test_history_is_decoded_again_after_its_text_changes(store):
    task(execution_history_json=RAW)
    record = TaskRecord.objects.get()
    first = record.execution_history
    record.execution_history_json = '[["user","changed"]]'
    assert record.execution_history == history("changed")
    record.execution_history_json = RAW
    assert record.execution_history == first


def test_history_is_decoded_again_after_a_refresh(store):
    task(execution_history_json=RAW)
    record = TaskRecord.objects.get()
    assert record.execution_history == history("hi")
    TaskRecord.objects.update(execution_history_json='[["user","changed"]]')
    assert record.execution_history == history("hi")
    record.refresh_from_db()
    assert record.execution_history == history("changed")


def test_deferred_history_is_loaded_on_access(store, django_assert_num_queries):
    task(execution_history_json=RAW)
    record = TaskRecord.objects.for_list().get()
    with django_assert_num_queries(1, connection=store):
        assert record.execution_history == record.execution_history == history("hi")


def test_setting_a_history_sets_its_column(store):
    record = task(execution_history_json=RAW)
    record.execution_history = history("é", "\x1b")
    assert record.execution_history_json == (
        '[{"role":"user","content":"é"},{"role":"assistant","content":"\\u001b"}]'
    )
    assert record.execution_history == history("é", "\x1b")
    record.save(update_fields=["execution_history_json"])
    assert TaskRecord.objects.get().execution_history == history("é", "\x1b")


def test_setting_an_invalid_value_names_it_and_changes_nothing(store):
    record, step = task(execution_history_json=RAW), checkpoint(task("b"), items_json="[]")
    with pytest.raises(TypeError, match=r"^resumable_history\[0\].content must be str, not int$"):
        record.resumable_history = [ChatMessage("user", 1)]  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match=r"^items\[0\].arguments: nan cannot be represented in JSON$"
    ):
        step.items = [item(arguments=float("nan"))]
    assert (record.resumable_history_json, step.items_json) == ("[]", "[]")


def test_decoded_column_is_saved_unchanged(store):
    raw = ' [["user","hi"]] '
    task(execution_history_json=raw)
    record = TaskRecord.objects.get()
    record.execution_history.append(ChatMessage("assistant", "not saved"))
    record.save()
    assert rows(store, "task_records")[0]["execution_history_json"] == raw


def test_corrupt_column_raises_on_every_access(store):
    record = task(execution_history_json="{}")
    for _ in range(2):
        with pytest.raises(ValueError, match=r"^JSON is not an array$"):
            record.execution_history  # noqa: B018 (accessing it raises the error)
    assert record.execution_history_json == "{}"


def test_items_are_decoded(store):
    step = checkpoint(task(), items_json='[["shell",{"b":1},true,"ok"]]')
    assert step.items == [item(arguments={"b": 1})]
    step.items = [item(arguments={"b": 1, "a": 2**64})]
    assert step.items_json == (
        '[{"tool_name":"shell","arguments":{"a":1.8446744073709552e19,"b":1},'
        '"success":true,"output":"ok"}]'
    )


def test_record_that_was_decoded_can_be_pickled(store):
    record = task(execution_history_json=RAW)
    assert record.execution_history == history("hi")
    twin = pickle.loads(pickle.dumps(record))  # noqa: S301 (the data is ours)
    assert (twin, twin.execution_history) == (record, history("hi"))


def test_typed_view_on_the_class_is_itself():
    assert TaskRecord.execution_history.column == "execution_history_json"
    assert TaskCheckpoint.items.column == "items_json"


def count_decoding(monkeypatch, view):
    """Return a list that collects every value that the view decodes from now on."""
    calls, decode = [], view.decode

    def counted(raw):
        calls.append(raw)
        return decode(raw)

    monkeypatch.setattr(view, "decode", counted)
    return calls


# Default values


def test_new_task_has_the_defaults_of_a_first_checkpoint(store):
    TaskRecord.objects.create(
        task_id="a", thread_id="t", channel="c", provider="p", model="m", status="running"
    )
    [row] = rows(store, "task_records")
    assert row["created_at"] <= row["updated_at"]
    del row["created_at"], row["updated_at"]
    assert row == {
        "task_id": "a",
        "thread_id": "t",
        "channel": "c",
        "provider": "p",
        "model": "m",
        "status": "running",
        "execution_history_json": "[]",
        "resumable_history_json": "[]",
        "latest_checkpoint_note": None,
        "checkpoint_count": 0,
        "final_response": None,
        "last_error": None,
        "completed_at": None,
    }
