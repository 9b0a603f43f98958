import hashlib
import json
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from gloamy_site import routers
from tasks import service
from tasks.maintenance import read_sources, store_check
from tests.support.factories import (
    DATA,
    checkpoint,
    only_postgresql,
    overwrite,
    rows,
    snapshot,
    task,
    update,
)

on_both = pytest.mark.django_db(transaction=True, databases="__all__")
ORIGINAL = (DATA / "original.sql").read_text(encoding="utf-8")


@pytest.fixture
def file(tmp_path, monkeypatch, django_db_blocker):
    """A separate SQLite store, with a schema and rows written by gloamy."""
    file = tmp_path / "tasks.db"
    build(file, ORIGINAL)
    settings = connections.settings["tasks"] | {"NAME": file}
    monkeypatch.setitem(connections.settings, "scratch", settings)
    monkeypatch.setattr(routers, "STORE", "scratch")
    with django_db_blocker.unblock():
        yield file
        connections["scratch"].close()
    del connections["scratch"]


def build(file, script):
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(script)


def check(capsys, *options):
    """Run `check_store`; return its exit status, and its output without machine-dependent notes."""
    capsys.readouterr()
    try:
        call_command("check_store", *options)
        status = 0
    except SystemExit as error:
        status = int(error.code or 0)
    lines = capsys.readouterr().out.splitlines()
    machine = ("note: size:", "note: pages:", "note: version:", "note: wal-reset:")
    return status, [line for line in lines if not line.startswith(machine)]


def test_reports_every_problem_of_the_original_store(file, capsys):
    status, lines = check(capsys, "--limit", "100")
    expected = (DATA / "original_findings.txt").read_text(encoding="utf-8").splitlines()
    # the number of integrity findings depends on the SQLite version
    reported = [line for line in lines if not line.startswith("integrity: ")]
    total = 50 + len(lines) - len(reported)
    assert (status, reported[:-1]) == (1, expected)
    assert f": {total} problem" in reported[-1]


def test_check_modifies_and_creates_no_files(file, capsys):
    def state():
        return {path.name: hashlib.sha256(path.read_bytes()).digest() for path in folder.iterdir()}

    folder, before = file.parent, None
    before = state()
    check(capsys)
    assert state() == before
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    before = state()
    check(capsys)
    assert state() == before


def test_writer_is_not_blocked_during_check(file):
    with closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode=WAL")
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE task_records SET model = 'm'")
        writer.execute("COMMIT")
        source = read_sources.open_store()
        for _ in store_check.findings(source):
            writer.execute("BEGIN IMMEDIATE")
            writer.execute("UPDATE task_records SET model = model || '.' WHERE task_id = ''")
            writer.execute("COMMIT")
        source.close()
        assert writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0


def large(size):
    return json.dumps([{"role": "user", "content": "x" * size}])


def at_rest(file):
    """Create a valid, idle store in WAL mode that is larger than SQLite's cache."""
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("DELETE FROM task_checkpoints")
        connection.execute("DELETE FROM task_records")
        time = "2026-01-01T00:00:00+00:00"
        task = ("c", "p", "m", "running", large(30_000), "[]", 0, time, time)
        connection.executemany(
            "INSERT INTO task_records (task_id, thread_id, channel, provider, model, status,"
            " execution_history_json, resumable_history_json, checkpoint_count, created_at,"
            f" updated_at) VALUES (?, ?{', ?' * len(task)})",
            [(f"t{number}", f"t{number}", *task) for number in range(120)],
        )


def rewrite(file):
    """Move every row to other database pages, as another program might, and leave no WAL behind."""
    with closing(sqlite3.connect(file)) as writer, writer:
        writer.execute("UPDATE task_records SET execution_history_json = '[]'")
        writer.execute("UPDATE task_records SET execution_history_json = ?", (large(50_000),))


def test_check_survives_a_short_lived_writer(file, monkeypatch):
    monkeypatch.setattr(store_check, "CHUNK", 7)
    at_rest(file)
    problems = []
    read, calls = read_sources.SqliteSource.rows, iter(range(1000))

    def rows(self, *args):
        if next(calls) == 40:
            rewrite(file)
            assert not file.with_name("tasks.db-wal").exists()
        return read(self, *args)

    monkeypatch.setattr(read_sources.SqliteSource, "rows", rows)
    with closing(read_sources.open_store()) as source:
        problems += [finding for finding in store_check.findings(source) if finding.wrong]
    assert next(calls) > 60
    assert problems == []


def test_check_reads_new_rows_of_an_open_writer(file):
    at_rest(file)
    with closing(read_sources.open_store()) as source, closing(sqlite3.connect(file)) as writer:
        rewrite(file)
        writer.execute("UPDATE task_records SET checkpoint_count = 9 WHERE task_id = 't7'")
        writer.commit()
        problems = [finding for finding in store_check.findings(source) if finding.wrong]
    assert [(finding.kind, finding.key) for finding in problems] == [("count", "'t7'")]


def test_file_that_keeps_changing_is_reported(file, monkeypatch):
    at_rest(file)
    states = iter(range(100))
    monkeypatch.setattr(read_sources, "state", lambda file: (next(states),))
    with closing(read_sources.open_store()) as source:
        problems = [finding for finding in store_check.findings(source) if finding.wrong]
    assert {finding.text for finding in problems} == {
        "the file changes faster than it can be read",
        "reading stopped: the file changes faster than it can be read",
    }


def test_file_deleted_during_check_is_reported(file):
    at_rest(file)
    with closing(read_sources.open_store()) as source:
        file.unlink()
        assert {finding.kind for finding in store_check.findings(source)} == {"unreadable"}


def test_wal_of_a_killed_writer_is_read_and_preserved(file):
    at_rest(file)
    script = (
        "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1]);"
        "c.execute('UPDATE task_records SET checkpoint_count = 9'); c.commit(); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", script, file], check=False)
    before = {path.name: path.read_bytes() for path in file.parent.glob("tasks.db*")}
    assert len(before["tasks.db-wal"]) > 0
    with closing(read_sources.open_store()) as source:
        problems = {finding.kind for finding in store_check.findings(source) if finding.wrong}
    assert problems == {"count"}
    for name in ("tasks.db", "tasks.db-wal"):
        assert (file.parent / name).read_bytes() == before[name]


def test_unexpected_table_schema(file, capsys):
    build(
        file,
        """ALTER TABLE task_records ADD COLUMN extra TEXT;
        ALTER TABLE task_records DROP COLUMN last_error;
        CREATE TRIGGER watcher AFTER DELETE ON task_records BEGIN SELECT 1; END;
        ALTER TABLE task_checkpoints RENAME TO moved;
        CREATE VIEW task_checkpoints AS SELECT * FROM moved;""",
    )
    status, lines = check(capsys)
    assert status == 1
    assert [line for line in lines if line.startswith(("trigger", "column", "table:"))] == [
        "trigger: task_records: has the trigger watcher",
        "column: task_records last_error: is missing",
        "column: task_records extra: is not part of the store",
        "table: task_checkpoints: is a view, not a table",
    ]


@pytest.fixture
def execute_in_shadow_schema(store):
    """Yield a function that executes SQL while a second schema shadows the store's schema."""
    with store.cursor() as cursor:
        cursor.execute("CREATE SCHEMA odd")
        for table in ("task_records", "task_checkpoints"):
            cursor.execute(f"CREATE TABLE odd.{table} (LIKE public.{table} INCLUDING ALL)")
        cursor.execute("SET search_path TO odd, public")
        yield cursor.execute
    with store.cursor() as cursor:
        cursor.execute("DROP SCHEMA odd CASCADE")


@on_both
@only_postgresql
def test_unexpected_table_schema_on_postgresql(execute_in_shadow_schema, capsys):
    task("orphaned")
    execute_in_shadow_schema("INSERT INTO task_checkpoints VALUES (7, 'gone', 1, NULL, '[]', '')")
    execute_in_shadow_schema(
        "ALTER TABLE task_records ADD COLUMN extra text, DROP COLUMN last_error"
    )
    execute_in_shadow_schema("ALTER TABLE task_records ALTER COLUMN checkpoint_count TYPE text")
    execute_in_shadow_schema(
        "CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
    )
    execute_in_shadow_schema(
        "CREATE TRIGGER watcher AFTER DELETE ON task_records EXECUTE FUNCTION watch()"
    )
    status, lines = check(capsys)
    assert (status, lines[:-1]) == (
        1,
        [
            "trigger: task_records: has the trigger watcher",
            "column: task_records last_error: is missing",
            "column: task_records extra: is not part of the store",
            "type: task_records 'orphaned' checkpoint_count: text instead of integer",
            "timestamp: task_checkpoints 7 created_at: not a timestamp in the store's format: ''",
            "orphan: task_checkpoints 7 task_id: there is no task 'gone'",
        ],
    )


@on_both
@only_postgresql
@pytest.mark.parametrize("kind", ["view", "materialized view"])
def test_views_in_place_of_tables_on_postgresql(execute_in_shadow_schema, capsys, kind):
    for table in ("task_records", "task_checkpoints"):
        execute_in_shadow_schema(f"DROP TABLE odd.{table}")
        execute_in_shadow_schema(f"CREATE {kind} odd.{table} AS SELECT * FROM public.{table}")
    status, lines = check(capsys)
    assert (status, lines[:-1]) == (
        1,
        [
            f"table: task_records: is a {kind}, not a table",
            f"table: task_checkpoints: is a {kind}, not a table",
        ],
    )


@on_both
@only_postgresql
def test_missing_tables_on_postgresql(execute_in_shadow_schema, capsys):
    execute_in_shadow_schema("SET search_path TO pg_catalog")
    status, lines = check(capsys)
    assert (status, lines[:-1]) == (
        1,
        ["table: task_records: is missing", "table: task_checkpoints: is missing"],
    )


def test_missing_tables(file, capsys):
    build(file, "DROP TABLE task_checkpoints; DROP TABLE task_records;")
    status, lines = check(capsys)
    assert (status, lines[:-1]) == (
        1,
        ["table: task_records: is missing", "table: task_checkpoints: is missing"],
    )


def test_damaged_pages(file, capsys):
    size = file.stat().st_size
    with file.open("r+b") as stream:
        stream.seek(size // 2)
        stream.write(b"\xa5" * (size // 2))
    status, lines = check(capsys)
    assert status == 1
    assert any(line.startswith(("integrity: ", "unreadable: ")) for line in lines)


@pytest.mark.parametrize("content", [None, b"no database at all, only text" * 9])
def test_missing_or_invalid_store(file, capsys, content):
    file.unlink()
    if content is None:
        with pytest.raises(CommandError, match="cannot be opened"):
            call_command("check_store")
        assert not file.exists()
    else:
        file.write_bytes(content)
        assert check(capsys)[0] == 1


def test_last_sqlite_version_with_the_wal_reset_bug(file, monkeypatch):
    def is_reported(*version):
        monkeypatch.setattr(sqlite3, "sqlite_version_info", version)
        with closing(read_sources.open_store()) as source:
            return "wal-reset" in {finding.kind for finding in source.database_findings()}

    assert [is_reported(3, 51, 2), is_reported(3, 51, 3)] == [True, False]


@on_both
def test_healthy_store_has_no_findings(store, capsys):
    service.save_snapshot(snapshot())
    service.record_checkpoint(update())
    status, lines = check(capsys)
    assert (status, len(lines)) == (0, 1)
    assert ": no problems, " in lines[0]


@on_both
def test_invalid_rows_are_reported_and_not_changed(store, capsys):
    checkpoint(task("t\n1", status="paused", checkpoint_count=2))
    overwrite(store, "task_records", "created_at", "2026")
    for column in ("execution_history_json", "resumable_history_json"):
        overwrite(store, "task_records", column, "{")
    overwrite(store, "task_checkpoints", "items_json", "[1]")
    before = rows(store, "task_records"), rows(store, "task_checkpoints")
    status, lines = check(capsys)
    number, row = before[1][0]["id"], r"task_records 't\n1'"
    assert (rows(store, "task_records"), rows(store, "task_checkpoints")) == before
    assert (status, sorted(lines[:-1])) == (
        1,
        sorted(
            [
                f"note: status: {row} status: unknown status 'paused', read as running",
                f"json: {row} execution_history_json: Input data was truncated",
                f"json: {row} resumable_history_json: Input data was truncated",
                f"timestamp: {row} created_at: not a timestamp in the store's format: '2026'",
                f"count: {row} checkpoint_count: is 2, but there are 1 checkpoints",
                f"json: task_checkpoints {number} items_json: [0] is not an object",
            ]
        ),
    )


@on_both
def test_limit_and_json(store, capsys, monkeypatch):
    monkeypatch.setattr(store_check, "CHUNK", 2)
    for number in range(5):
        task(f"t{number}", checkpoint_count=7)
    status, lines = check(capsys, "--limit", "2", "--json")
    objects = [json.loads(line) for line in lines]
    counts = [(line["key"], line["text"]) for line in objects if line["kind"] == "count"]
    text = "is 7, but there are 0 checkpoints"
    assert (status, counts) == (1, [("'t0'", text), ("'t1'", text), ("", "and 3 more")])
    assert (objects[-1]["kind"], objects[-1]["wrong"]) == ("summary", True)


def test_orphans(file, capsys):
    build(file, "INSERT INTO task_checkpoints VALUES (99, 'gone', 1, NULL, '[]', '2026')")
    assert "orphan: task_checkpoints 99 task_id: there is no task 'gone'" in check(capsys)[1]
