"""Tests that the beginning of a large stored value can be read without reading the rest."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connections
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from archive.models import Source
from tasks import large_values
from tasks.clearing import batches, lifecycle
from tasks.messages import encode_items
from tasks.models import TaskRecord
from tasks.transcript import steps
from tests.support.factories import checkpoint, item, only_sqlite, skip, task

NEW, OLD = "2026-01-02T00:00:00+00:00", "2026-01-01T00:00:00+00:00"

pytestmark = pytest.mark.django_db(databases="__all__")

VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.binary(min_size=1, max_size=60),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
)


@given(value=VALUES, limit=st.integers(1, 12), before=st.sampled_from(["", "x" * 5_000]))
def test_read_row_returns_the_same_start_as_substr(value: Any, limit: int, before: str):
    with closing(sqlite3.connect(":memory:")) as raw:
        raw.execute("CREATE TABLE odd (before, value, after)")
        raw.execute("INSERT INTO odd VALUES (?, ?, 7)", (before, value))
        statement = "SELECT substr(value, 1, ?), length(CAST(value AS BLOB)) FROM odd"
        [(start, length)] = raw.execute(statement, (limit,))

        row, rest = large_values.read_row(raw, "odd", 1, {"value": limit}, "after")

        assert rest == (7,)
        assert row["value"] == large_values.Beginning(start, length)
        assert large_values.lengths(raw, "odd", 1, ["value"]) == {"value": length or 0}


def bytes_read() -> int:
    try:
        return int(Path("/proc/self/io").read_text().split()[1])
    except OSError:
        skip("/proc/self/io tells how much a process reads, and is not here.")


@contextmanager
def nothing_larger_than(limit: int) -> Iterator[None]:
    """Lower SQLite's size limit for values, because its 1 GB default is too large for tests."""
    connections["tasks"].ensure_connection()
    raw = connections["tasks"].connection
    before = raw.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, limit)
    try:
        yield
    finally:
        raw.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, before)


@only_sqlite
def test_list_displays_rows_too_large_for_sqlite_to_return(viewer: Client, store):
    long = "x" * 200_000
    task("a", execution_history_json=long, last_error="no luck", updated_at=NEW)
    task("b", resumable_history_json=long, latest_checkpoint_note=long, updated_at=OLD)

    with nothing_larger_than(100_000):
        pages = [viewer.get(path) for path in ("/", "/?resume=no", "/?status=stalled&sort=age")]

    assert [page.status_code for page in pages] == [200] * 3
    assert [[row.record.thread_id for row in page.context["rows"]] for page in pages] == [
        ["a", "b"],
        ["a", "b"],
        ["b", "a"],
    ]
    assert "no luck" in pages[0].content.decode()


@only_sqlite
def test_list_of_large_rows_reads_each_once(store):
    size = 4_000_000
    for number in range(3):
        task(str(number), execution_history_json="x" * size)
    with store.cursor() as cursor:
        cursor.execute("PRAGMA cache_size = 10")

    before = bytes_read()
    with nothing_larger_than(100_000):
        records = list(TaskRecord.objects.newest_first().for_list())

    assert [vars(record)["history_length"] for record in records] == [size] * 3
    # SQLite has to read each history once to reach the columns that are stored after it.
    assert bytes_read() - before < 3 * size * 1.1


def test_search_skips_and_reports_histories_that_are_too_large(viewer: Client, store, settings):
    settings.MAX_HISTORY_SIZE = 1_000
    history = '[{"role":"user","content":"a needle%s"}]'
    task("small", execution_history_json=history % "", updated_at=NEW)
    task("large", execution_history_json=history % (" in hay" * 1_000), updated_at=OLD)

    page = viewer.get("/?q=needle")

    assert [row.record.thread_id for row in page.context["rows"]] == ["small"]
    assert "1 thread is too large to search completely" in page.content.decode()
    assert "too large" not in viewer.get("/?q=needle&where=ids").content.decode()


@only_sqlite
def test_search_does_not_read_histories_that_are_too_large(viewer: Client, store, settings):
    settings.MAX_HISTORY_SIZE = 1_000
    task(execution_history_json="needle" * 50_000)

    with nothing_larger_than(100_000):
        assert viewer.get("/?q=needle").context["cut"] == 1


@pytest.fixture
def small_bound(settings) -> None:
    settings.MAX_HISTORY_SIZE = 1_000


LARGE = '[{"role":"user","content":"hällo' + " wörld" * 10_000 + '"}]'


@only_sqlite
@pytest.mark.parametrize("tab", ["transcript", "checkpoints", "resume", "raw"])
def test_page_of_a_too_large_thread_does_not_read_whole_texts(
    viewer: Client, store, small_bound, tab: str
):
    task("t", execution_history_json=LARGE * 3, resumable_history_json=LARGE * 3)
    task("neighbour", execution_history_json=LARGE * 3)

    with nothing_larger_than(100_000):
        page = viewer.get(f"/thread/?id=t&show={tab}&find=world")

    assert page.status_code == 200
    assert page.context["page"].list_links.previous == "/thread/?id=neighbour"
    messages = {"transcript": "too large to display", "resume": "The agent can resume from it"}
    assert messages.get(tab, "") in page.content.decode()
    assert "unreadable" not in page.content.decode()


@only_sqlite
@pytest.mark.parametrize("query", ["", "&task=t"])
def test_poll_of_an_unchanged_thread_reads_no_history(viewer: Client, store, query: str):
    task("t", execution_history_json="[]" + " " * 4_000_000, checkpoint_count=2)
    url = f"/thread/live/?id=t&show=raw{query}"
    tag = viewer.get(url).headers["ETag"]
    with store.cursor() as cursor:
        cursor.execute("PRAGMA cache_size = 10")

    before = bytes_read()
    answer = viewer.get(url, headers={"If-None-Match": tag})

    assert answer.status_code == 304
    assert bytes_read() - before < 400_000


def recorded(pieces: Any, read: list[bytes]) -> Any:
    """Wrap the generator function `pieces` so that everything it yields is added to `read`."""

    def record(*args: Any) -> Iterator[bytes]:
        for piece in pieces(*args):
            read.append(piece)
            yield piece

    return record


def test_too_large_text_is_streamed(viewer: Client, store, small_bound, monkeypatch):
    monkeypatch.setattr(large_values, "CHUNK_SIZE", 16)
    task("t", execution_history_json=LARGE[:2_000])

    read: list[bytes] = []
    monkeypatch.setattr(large_values, "stream", recorded(large_values.stream, read))

    answer = viewer.get("/thread/raw/?id=t&text=execution_history_json")

    content = b"".join(answer.streaming_content)  # type: ignore[attr-defined]
    assert content.decode() == LARGE[:2_000] and b"".join(read) == content
    assert max(map(len, read)) <= 16
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_stream_stops_when_its_row_is_written(store, monkeypatch):
    monkeypatch.setattr(large_values, "CHUNK_SIZE", 16)
    task("t", execution_history_json=LARGE, updated_at=OLD)
    row = TaskRecord.objects.with_beginnings(text=("execution_history_json", 1)).get()
    pieces = large_values.stream(row, "execution_history_json")
    next(pieces)
    TaskRecord.objects.update(updated_at=NEW)

    with pytest.raises(OperationalError, match="was written while"):
        next(pieces)


@pytest.mark.parametrize("format", ["json", "jsonl", "md", "atif"])
def test_export_of_a_too_large_thread_is_refused(viewer: Client, store, small_bound, format: str):
    task("t", execution_history_json=LARGE)

    answer = viewer.get(f"/thread/export/?id=t&format={format}")

    assert answer.status_code == 413
    assert "exports are limited to 1.0 KB" in answer.content.decode()


def test_json_export_of_a_too_large_checkpoint_is_refused(viewer: Client, store, small_bound):
    checkpoint(task("t"), items_json=" " * 2_000 + "[]")

    answer = viewer.get("/thread/export/?id=t&format=json")

    assert answer.status_code == 413
    assert "One of its steps takes up 2.0 KB, but exports" in answer.content.decode()
    assert viewer.get("/thread/export/?id=t&format=md").status_code == 200


@only_sqlite
def test_confirmation_measures_values_too_large_for_sqlite_to_return(operator: Client, store):
    task("t", execution_history_json="x" * 200_000, last_error="y" * 300_000)

    with nothing_larger_than(100_000):
        page = operator.get("/thread/clear/?id=t")

    assert 500_000 < page.context["confirmation"].size < 500_400


def test_too_large_thread_is_not_cleared_and_has_a_reason(store, monkeypatch):
    monkeypatch.setattr(batches, "LARGEST", 100_000)
    task("large", execution_history_json="x" * 100_000, status="failed")
    task("small", status="failed")

    clearing = lifecycle.clear(["large", "small"], lifecycle.Actor(Source.CODE))

    assert (clearing.cleared, clearing.kept) == (1, 1)
    assert "the limit for clearing here is 100.0 KB" in clearing.threads.get(fate="kept").why
    assert TaskRecord.objects.get().pk == "large"


def test_too_large_steps_are_truncated(viewer: Client, store, store_queries, monkeypatch):
    monkeypatch.setattr(steps, "MAX_ITEMS_LENGTH", 1_000)
    record = task("t")
    for number, output in enumerate(("small", "large" * 1_000), start=1):
        checkpoint(record, number, items_json=encode_items([item(output=output)], "items"))

    with store_queries() as queries:
        page = viewer.get("/thread/?id=t&show=checkpoints")

    assert "too large to display" in page.content.decode()
    assert [len(step.calls) for step, _ in page.context["page"].tab.entries] == [1, 0]
    whole = [q["sql"] for q in queries if ', "task_checkpoints"."items_json"' in q["sql"]]
    assert len(whole) == 1


def test_admin_shows_the_start_of_a_checkpoint_that_is_too_large(
    admin_client: Client, store, monkeypatch
):
    monkeypatch.setattr(steps, "MAX_ITEMS_LENGTH", 1_000)
    items = encode_items([item(output="large" * 10_000)], "items")
    number = checkpoint(task("t"), items_json=items).pk

    page = admin_client.get(f"/admin/tasks/taskcheckpoint/{number}/change/").content.decode()

    assert "too large to display" in page
    assert 20_000 < page.count("large") * 5 < 22_000
