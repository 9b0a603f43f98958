"""Tests that the index equals a full scan of the store, and of what happens if it cannot."""

import sqlite3
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archive.models import Source
from tasks import service
from tasks.clearing import lifecycle, restoring
from tasks.index import conditions, entries, following
from tasks.index.models import IndexedTask, IndexState, StatusCount
from tasks.models import TaskRecord, TaskStatus
from tasks.store import own_index
from tasks.store.statements import TaskRow
from tasks.transcript.search import Term
from tests.support.factories import DATA, only_sqlite, snapshot, task, update
from tests.support.processes import run_python

pytestmark = pytest.mark.django_db(databases="__all__")

IDS = ["a", "b", "c", "Ä🦉"]
YEARS = [2010, 2026, 2099]  # the clock may be wrong
_writes = count()


OF_TEXTS = ("has_texts", "is_cut", "size", "milliseconds", "last_tool", "failed_calls")


def index() -> list[Any]:
    return _without(IndexedTask.objects.order_by("key").values(), "id", *OF_TEXTS)


def _without(rows: Iterable[Any], *names: str) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name not in names} for row in rows]


def full_scan() -> list[dict[str, Any]]:
    """Return what the index should contain, read from the store without its help."""
    latest = set(TaskRecord.objects.latest_per_thread().values_list("task_id", flat=True))
    keys = sorted(entries.versions(None, None))
    rows = [vars(entry) | {"is_latest": entry.task_id in latest} for entry in entries.read(keys)]
    return _without(sorted(rows, key=lambda row: row["key"]), "_state", "id", *OF_TEXTS)


def assert_equals_a_full_scan() -> None:
    assert index() == full_scan()
    counted = {
        tuple(row[name] for name in ("channel", "provider", "model", "status")): row["n"]
        for row in StatusCount.objects.filter(n__gt=0).values()
    }
    rows = [row for row in index() if row["is_latest"]]
    names = ("channel", "provider", "model", "status")
    assert counted == Counter(tuple(row[name] for name in names) for row in rows)


def at(year: int) -> str:
    """Return a time in the year that no other write has."""
    return f"{year}-01-01T00:00:00.{next(_writes) + 1:09}+00:00"


def record(task_id: str, thread_id: str, status: str, year: int) -> None:
    service.record_checkpoint(update(task_id=task_id, thread_id=thread_id))


def save(task_id: str, thread_id: str, status: str, year: int) -> None:
    names = {"task_id": task_id, "thread_id": thread_id, "channel": str(year)}
    service.save_snapshot(snapshot(**names, status=TaskStatus(status)))


def lose_the_start(task_id: str, thread_id: str, status: str, year: int) -> None:
    names = {"task_id": task_id, "thread_id": thread_id, "resumable_history": []}
    service.save_snapshot(snapshot(**names, status=TaskStatus(status)))


def write_like_the_original(task_id: str, thread_id: str, status: str, year: int) -> None:
    """Save a task with a time that was taken before the write waited, or by a wrong clock."""
    TaskRecord.objects.filter(task_id=task_id).update(status=status, updated_at=at(year))


def replace(task_id: str, thread_id: str, status: str, year: int) -> None:
    TaskRecord.objects.filter(task_id=task_id).delete()
    task(task_id, thread_id=thread_id, status=status, updated_at=at(year))


def delete(task_id: str, thread_id: str, status: str, year: int) -> None:
    service.delete_by_thread_id(thread_id)


def clear(task_id: str, thread_id: str, status: str, year: int) -> None:
    TaskRecord.objects.all().delete()


NOTICED = (record, save, lose_the_start)  # what a look at the newest rows finds
WRITES = (*NOTICED, write_like_the_original, replace, delete, clear)


def look(*values: object) -> None:
    while not following.catch_up(background=False).is_complete:
        pass


def histories(writes: tuple[Any, ...]) -> Any:
    statuses = st.sampled_from([str(status) for status in TaskStatus])
    actions = st.sampled_from([*writes, look])
    ids, years = st.sampled_from(IDS), st.sampled_from(YEARS)
    return st.lists(st.tuples(actions, ids, ids, statuses, years), max_size=14)


@only_sqlite
@pytest.mark.parametrize("is_settled", [True, False])
def test_store_is_followed_without_a_scan_of_its_rows(store, is_settled, store_queries):
    if not is_settled:  # as beside an agent that would have to wait for our index
        with store.cursor() as cursor:
            cursor.execute(f"DROP INDEX {own_index.NAME}")
    for number in range(3):
        record(f"t{number}", f"t{number}", "", 2026)
    times = sorted(time for time, _ in entries.versions(None, None).values())

    with store_queries() as queries:
        assert entries.chunk_start(None, 1) == times[1]
        assert {id_ for _, id_ in entries.versions(times[1], times[2]).values()} == {"t1"}
        assert {id_ for _, id_ in entries.versions(times[1], None).values()} == {"t1", "t2"}
        look()

    for captured in queries.captured_queries:
        if captured["sql"].lstrip().startswith("SELECT") and "task_records" in captured["sql"]:
            with store.cursor() as cursor:
                cursor.execute("EXPLAIN QUERY PLAN " + captured["sql"].replace("%", "%%"))
                plan = [row[3] for row in cursor.fetchall()]
            scans = [
                step for step in plan if step.startswith(("SCAN task_records", "SCAN changed"))
            ]
            assert not [step for step in scans if "COVERING" not in step], (captured["sql"], plan)


def run(history_: Any) -> None:
    TaskRecord.objects.all().delete()
    IndexState.objects.all().delete()
    for action, *values in history_:
        action(*values)


property_test = settings(
    max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@property_test
@given(history_=histories(WRITES))
def test_index_equals_a_full_scan_after_any_writes(store, history_: Any):
    run(history_)
    look()

    assert_equals_a_full_scan()


@property_test
@given(history_=histories(NOTICED))
def test_index_of_a_large_store_equals_a_full_scan_after_an_agent_wrote(store, history_: Any):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(following, "SMALL", 0)
        patch.setattr(following, "CHUNK", 2)
        run(history_)
        look()

        assert_equals_a_full_scan()


@property_test
@given(history_=histories(WRITES))
def test_index_of_a_large_store_equals_a_full_scan_after_a_comparison(store, history_: Any):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(following, "SMALL", 0)
        patch.setattr(following, "CHUNK", 2)
        run(history_)
        look()
        following.compare_all()

        assert_equals_a_full_scan()


# What a page does if the index is behind, missing, or cannot be written


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make any store count as one that is too large to be compared at each look."""
    monkeypatch.setattr(following, "SMALL", 0)
    monkeypatch.setattr(following, "CHUNK", 2)


def tasks_written(count: int) -> None:
    for number in range(count):
        task(f"task {number}", updated_at=f"2026-01-01T00:00:0{number}+00:00")


def listed(client: Client, query: str = "") -> list[str]:
    return [row.record.task_id for row in client.get(f"/?{query}").context["rows"]]


def test_deleted_row_is_not_listed(store, large, viewer: Client):
    tasks_written(3)
    look()
    TaskRecord.objects.filter(task_id="task 1").delete()

    assert listed(viewer) == ["task 2", "task 0"]


def test_row_changed_without_a_new_time_is_listed_as_it_is(store, large, viewer: Client):
    tasks_written(3)
    look()
    TaskRecord.objects.filter(task_id="task 1").update(channel="moved")

    assert listed(viewer, "sort=age") == ["task 2", "task 1", "task 0"]
    assert listed(viewer, "channel=moved") == ["task 1"]


def test_newest_threads_are_listed_before_the_index_is_complete(
    store, large, monkeypatch, viewer: Client
):
    monkeypatch.setattr(following, "BUILD_SECONDS", 0)
    tasks_written(5)
    following.catch_up(background=False)
    state = IndexState.objects.get()
    following._build(state)

    page = viewer.get("/")

    assert [row.record.task_id for row in page.context["rows"]] == ["task 4", "task 3", "task 2"]
    assert "The index is being built" in page.content.decode()
    assert "before 2026-01-01 00:00:02 UTC" in page.content.decode()


def test_page_does_not_wait_while_the_background_builds(store, large, monkeypatch, viewer: Client):
    monkeypatch.setattr(following, "is_building", lambda: True)
    tasks_written(5)
    following.catch_up()

    assert listed(viewer) == []
    assert not IndexState.objects.get().is_complete


@only_sqlite
def test_unchanged_store_is_not_compared_again(store, large, monkeypatch):
    tasks_written(3)
    look()
    look()
    monkeypatch.setattr(following, "_file_state", lambda: "unchanged")
    state = IndexState.objects.get()
    assert following._is_comparison_due(state)
    following.compare_all()
    IndexState.objects.update(compare_after=None)

    assert not following._is_comparison_due(IndexState.objects.get())


@pytest.fixture
def build(tmp_path: Path) -> Callable[[], subprocess.CompletedProcess[str]]:
    """A function that runs `manage.py index` on a store with two tasks, in a folder of its own."""
    schema, _ = (DATA / "original.sql").read_text("utf-8").split("\n\nINSERT INTO", 1)
    with closing(sqlite3.connect(tmp_path / "tasks.db")) as other:
        other.executescript(schema)
        columns = ", ".join(["?"] * len(TaskRow._fields))
        other.executemany(
            f"INSERT INTO task_records VALUES ({columns})",
            [(id_, *["2026"] * (len(TaskRow._fields) - 1)) for id_ in ("a", "b")],
        )
        other.commit()
    urls = {
        "TASKS_DATABASE_URL": f"sqlite:///{tmp_path}/tasks.db",
        "SITE_DATABASE_URL": f"sqlite:///{tmp_path}/site.sqlite3",
    }
    return lambda: run_python("manage.py", "index", **urls)


@pytest.mark.parametrize("damage", ["corrupt", "damaged inside", "cut off", "of another program"])
def test_index_that_cannot_be_used_is_built_again(build, tmp_path: Path, damage: str):
    file = tmp_path / "index.sqlite3"
    assert build().returncode == 0
    content = file.read_bytes()
    if damage == "of another program":
        file.unlink()
        with closing(sqlite3.connect(file)) as other:
            other.execute("CREATE TABLE task_index_indexstate (a)")
    else:
        kept = {"corrupt": 0, "damaged inside": 40_000, "cut off": 5_000}[damage]
        rest = b"" if damage == "cut off" else b"x" * (len(content) - kept)
        file.write_bytes(content[:kept] + rest)

    result = build()

    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "The index has all 2 tasks in the store.\n"
    assert file.stat().st_mode & 0o777 == 0o600


def test_index_without_a_place_is_kept_in_memory(build, tmp_path: Path):
    (tmp_path / "index.sqlite3").mkdir()  # a file cannot be created here

    result = build()

    assert result.returncode == 1
    assert "The index cannot be written: " in result.stderr
    assert "Traceback" not in result.stderr


def test_list_says_that_its_index_is_kept_in_memory(viewer: Client, monkeypatch):
    tasks_written(1)
    monkeypatch.setattr(following, "problem", "the disk is full")

    assert "index is kept in memory" in viewer.get("/").content.decode()


def test_two_processes_build_the_same_index(build):
    with ThreadPoolExecutor() as pool:
        results = [future.result() for future in [pool.submit(build) for _ in range(3)]]

    assert [result.stderr for result in results] == ["", "", ""]
    assert {result.stdout for result in results} == {"The index has all 2 tasks in the store.\n"}


@only_sqlite
def test_rows_of_a_restored_backup_are_found(store, large, viewer: Client):
    tasks_written(5)
    look()
    TaskRecord.objects.all().delete()
    tasks_written(2)

    assert listed(viewer) == ["task 1", "task 0"]
    look()
    assert_equals_a_full_scan()


def test_other_version_of_the_index_is_built_again(store, monkeypatch):
    tasks_written(2)
    look()
    IndexedTask.objects.update(channel="from an old version")
    monkeypatch.setattr(following, "_version", lambda: 1)
    look()

    assert_equals_a_full_scan()


def test_another_store_is_indexed_anew(store, monkeypatch):
    tasks_written(2)
    look()
    IndexedTask.objects.update(channel="of another store")
    monkeypatch.setattr(following, "_identity", lambda: "another store")
    look()

    assert_equals_a_full_scan()


@only_sqlite
def test_rows_are_found_after_a_vacuum(store, large, viewer: Client):
    tasks_written(3)
    look()
    with store.cursor() as cursor:  # as VACUUM may number the rows
        cursor.execute("UPDATE task_records SET rowid = rowid + 100")

    assert listed(viewer) == ["task 2", "task 1", "task 0"]
    following.compare_all()
    assert_equals_a_full_scan()


@pytest.mark.parametrize("text", ["ask 1", "TASK 1", "k 1", "1"])
def test_ids_are_found_by_any_part(store, viewer: Client, text: str):
    tasks_written(3)

    assert listed(viewer, f"q={text}&where=ids") == ["task 1"]


def texts(shortest: int, longest: int, last: int | None = None) -> st.SearchStrategy[str]:
    storable = st.characters(max_codepoint=last, exclude_characters="\0", exclude_categories=["Cs"])
    return st.text(storable, min_size=shortest, max_size=longest)


@given(ids=st.lists(texts(0, 8), max_size=5, unique=True), text=texts(3, 4, 127))
@property_test
def test_trigrams_exclude_no_id_that_a_comparison_finds(store, ids: list[str], text: str):
    run([])
    for id_ in [*ids, f"x{text}y"]:
        task(id_)
    look()
    term = Term(text)

    expected = set(IndexedTask.objects.filter(term.in_ids()).values_list("key", flat=True))
    candidates = conditions.with_trigrams(text, 100)
    assert expected
    assert candidates is None or expected <= set(candidates)


@pytest.mark.django_db(databases="__all__", transaction=True)
def test_cleared_and_restored_threads_are_followed_at_once(store, large):
    tasks_written(3)
    look()
    clearing = lifecycle.clear(["task 1"], lifecycle.Actor(Source.CODE), with_running=True)
    assert_equals_a_full_scan()

    assert [reason for _, reason in restoring.restore_each(clearing.threads.all())] == [""]

    assert_equals_a_full_scan()


def test_erased_thread_leaves_nothing_in_the_index(build, tmp_path: Path):
    urls = {
        "TASKS_DATABASE_URL": f"sqlite:///{tmp_path}/tasks.db",
        "SITE_DATABASE_URL": f"sqlite:///{tmp_path}/site.sqlite3",
    }
    history = '[{"role":"user","content":"The whale swims at midnight."}]'
    with closing(sqlite3.connect(tmp_path / "tasks.db")) as other:
        other.execute(
            "UPDATE task_records SET thread_id = 'confidential', status = 'failed',"
            " execution_history_json = ?",
            [history],
        )
        other.commit()
    build()
    with closing(sqlite3.connect(tmp_path / "index.sqlite3")) as opened:
        bodies = opened.execute("SELECT body FROM task_index_indexedtext WHERE role = 'user'")
        parts = [b"confidential", b"whale", *(body for (body,) in bodies)]
    content = _content_of_index(tmp_path)
    assert [part in content for part in parts] == [True, False, True, True]  # it is compressed
    run_python("manage.py", "migrate", **urls)

    command = ("clear_threads", "--thread", "confidential", "--erase", "--yes")
    assert run_python("manage.py", *command, **urls).returncode == 0

    content = _content_of_index(tmp_path)
    assert [part in content for part in parts] == [False] * 4
    with closing(sqlite3.connect(tmp_path / "index.sqlite3")) as opened:
        opened.execute("CREATE VIRTUAL TABLE terms USING fts5vocab(index_trigrams, 'row')")
        assert opened.execute("SELECT * FROM terms").fetchall() == []


def _content_of_index(folder: Path) -> bytes:
    files = [folder / "index.sqlite3", folder / "index.sqlite3-wal"]
    return b"".join(file.read_bytes() for file in files if file.exists())
