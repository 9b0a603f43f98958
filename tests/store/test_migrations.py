import io
import os
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from django.core.management import call_command
from django.db import connections
from django.db.migrations.recorder import MigrationRecorder

from gloamy_site import routers
from tasks import service
from tasks.store import own_index
from tests.support import original_writer
from tests.support.factories import DATA, TABLES, snapshot, update
from tests.support.store_faults import locked

ORIGINAL = (DATA / "original.sql").read_text(encoding="utf-8")
ORIGINAL_DDL = ORIGINAL[: ORIGINAL.index("INSERT INTO")]
OURS = {own_index.NAME}  # the index that we add to those of the original store
FORMER = """
    CREATE INDEX idx_task_records_status ON task_records(status, updated_at DESC, task_id DESC);
    CREATE INDEX idx_task_records_created ON task_records(created_at DESC, task_id DESC);
    CREATE INDEX idx_task_records_steps ON task_records(checkpoint_count DESC, task_id DESC);
"""


def on_postgresql(test):
    store = pytest.mark.parametrize("store", ["postgresql"], indirect=True)
    return pytest.mark.django_db(databases="__all__")(store(test))


@pytest.fixture
def file(tmp_path):
    return tmp_path / "tasks.db"


@pytest.fixture
def scratch(file, monkeypatch, django_db_blocker):
    """The database alias of a store in `file`; the verbs use this store during the test."""
    monkeypatch.setitem(
        connections.settings, "scratch", connections.settings["tasks"] | {"NAME": file}
    )
    monkeypatch.setattr(routers, "STORE", "scratch")
    with django_db_blocker.unblock():
        yield "scratch"
        connections["scratch"].close()
    del connections["scratch"]


@pytest.fixture
def original(file):
    """A store file with the schema and rows that the original program would write."""
    build(file, ORIGINAL)
    return file


def build(file, script):
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(script)


def ask(file, sql):
    with closing(sqlite3.connect(file)) as connection:
        connection.text_factory = bytes  # some text in the file is not valid UTF-8
        return connection.execute(sql).fetchall()


def migrate(alias, *target):
    call_command("migrate", "tasks", *target, database=alias, verbosity=0)


def described(file):
    """Return SQLite's description of both tables, leaving out the indexes that we add."""
    with closing(sqlite3.connect(file)) as connection:

        def pragma(name, of):
            return connection.execute(f"PRAGMA {name}({of})").fetchall()

        def indexes(table):
            # Omit row[0], the index's sequence number, which depends on the other indexes.
            rows = {row[1]: row[2:] for row in pragma("index_list", table) if row[1] not in OURS}
            return {
                name: (kind, pragma("index_info", name), pragma("index_xinfo", name))
                for name, kind in rows.items()
            }

        return {
            table: {
                "table_info": pragma("table_info", table),
                "table_xinfo": pragma("table_xinfo", table),
                "indexes": indexes(table),
                "foreign_key_list": pragma("foreign_key_list", table),
            }
            for table in TABLES
        }


def contents(file):
    """Return the last id, and the type, bytes and SQL literal of every value in both tables."""
    data = {"ids": ask(file, "SELECT seq FROM sqlite_sequence WHERE name = 'task_checkpoints'")}
    for table, columns in TABLES.items():
        values = ", ".join(f"typeof({c}), hex({c}), quote({c})" for c in columns)
        data[table] = ask(file, f"SELECT rowid, {values} FROM {table} ORDER BY rowid")
    return data


def schema(file):
    """Return the SQL of the tables and indexes that also exist in the original store."""
    rows = ask(file, "SELECT name, tbl_name, type, sql FROM sqlite_master ORDER BY name")
    return [row for row in rows if row[1].decode() in TABLES and row[0].decode() not in OURS]


# Store files created by our migrations


def test_new_file_has_the_tables_of_the_original(scratch, file, tmp_path):
    migrate(scratch)
    build(tmp_path / "original.db", ORIGINAL_DDL)
    assert described(file) == described(tmp_path / "original.db")


def test_new_file_has_only_the_store_and_the_migration_table(scratch, file):
    migrate(scratch)
    names = ask(file, "SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'")
    assert sorted(names) == [
        (b"index", b"idx_task_checkpoints_task_step"),
        (b"index", b"idx_task_records_thread"),
        (b"index", b"idx_task_records_updated"),
        (b"table", b"django_migrations"),
        (b"table", b"task_checkpoints"),
        (b"table", b"task_records"),
    ]


def test_new_file_works_in_the_original(scratch, file):
    migrate(scratch)
    before = schema(file)
    build(file, ORIGINAL)
    assert schema(file) == before
    assert [len(rows) for rows in contents(file).values()] == [1, 12, 7]


# Store files created by the original program


def test_migration_changes_no_value_of_the_file(scratch, original):
    before, tables = contents(original), schema(original)
    assert [len(rows) for rows in before.values()] == [1, 12, 7]
    migrate(scratch)
    assert contents(original) == before
    assert schema(original) == tables
    assert ask(original, "PRAGMA integrity_check") == [(b"ok",)]


def test_migrated_file_works(scratch, original):
    migrate(scratch)
    service.record_checkpoint(update())
    service.save_snapshot(snapshot(task_id="new", thread_id="new"))
    loaded = service.load_by_thread_id("telegram_42")
    assert loaded is not None
    assert (loaded.checkpoint_count, len(loaded.checkpoints)) == (3, 3)
    assert ask(original, "SELECT max(id) FROM task_checkpoints") == [(21,)]
    service.delete_by_thread_id("telegram_42")
    assert ask(original, "SELECT count(*) FROM task_checkpoints") == [(5,)]


def test_migrating_twice_does_nothing_more(scratch, original):
    migrate(scratch)
    before = [ask(original, "SELECT * FROM sqlite_master"), contents(original)]
    version = ask(original, "PRAGMA schema_version")
    migrate(scratch)
    assert [ask(original, "SELECT * FROM sqlite_master"), contents(original)] == before
    assert ask(original, "PRAGMA schema_version") == version


def test_migrating_a_file_without_its_migration_table_does_nothing_more(scratch, original):
    migrate(scratch)
    before = [ask(original, "SELECT * FROM sqlite_master"), contents(original)]
    MigrationRecorder(connections[scratch]).flush()
    migrate(scratch)
    assert [ask(original, "SELECT * FROM sqlite_master"), contents(original)] == before


def test_migrating_back_leaves_the_tables(scratch, original):
    before, tables = contents(original), schema(original)
    migrate(scratch)
    migrate(scratch, "zero")
    assert (contents(original), schema(original)) == (before, tables)
    assert MigrationRecorder(connections[scratch]).applied_migrations() == {}
    migrate(scratch)
    assert contents(original) == before


def test_orphaned_checkpoints_are_migrated_too(scratch, original):
    # Programs such as SQLite's shell do not enforce foreign keys by default.
    build(original, "DELETE FROM task_records WHERE task_id = 'telegram_42'")
    before = contents(original)
    migrate(scratch)
    assert contents(original) == before


# PostgreSQL


@on_postgresql
def test_postgresql_has_the_columns_of_the_store(store):
    with store.cursor() as cursor:
        cursor.execute(
            """
            SELECT table_name, column_name, data_type, is_nullable, column_default,
                collation_name, is_identity
            FROM information_schema.columns WHERE table_name IN ('task_records', 'task_checkpoints')
            ORDER BY table_name DESC, ordinal_position"""
        )
        columns = cursor.fetchall()
    text, number = ("text", "NO", None, None, "NO"), ("bigint", "NO", None, None, "NO")
    optional, bytewise = ("text", "YES", None, None, "NO"), ("text", "NO", None, "C", "NO")
    assert columns == [
        ("task_records", "task_id", *bytewise),
        ("task_records", "thread_id", *bytewise),
        ("task_records", "channel", *text),
        ("task_records", "provider", *text),
        ("task_records", "model", *text),
        ("task_records", "status", *text),
        ("task_records", "execution_history_json", *text),
        ("task_records", "resumable_history_json", *text),
        ("task_records", "latest_checkpoint_note", *optional),
        ("task_records", "checkpoint_count", "bigint", "NO", "0", None, "NO"),
        ("task_records", "final_response", *optional),
        ("task_records", "last_error", *optional),
        ("task_records", "created_at", *bytewise),
        ("task_records", "updated_at", *bytewise),
        ("task_records", "completed_at", "text", "YES", None, "C", "NO"),
        ("task_checkpoints", "id", "bigint", "NO", None, None, "YES"),
        ("task_checkpoints", "task_id", *bytewise),
        ("task_checkpoints", "step_index", *number),
        ("task_checkpoints", "checkpoint_note", *optional),
        ("task_checkpoints", "items_json", *text),
        ("task_checkpoints", "created_at", *bytewise),
    ]


@on_postgresql
def test_postgresql_has_the_keys_and_the_cascade(store):
    with store.cursor() as cursor:
        cursor.execute(
            """
            SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint
            WHERE conrelid IN ('task_records'::regclass, 'task_checkpoints'::regclass)
                AND contype IN ('p', 'f', 'u', 'c') ORDER BY 1, 2"""
        )
        constraints = cursor.fetchall()
        cursor.execute(
            """
            SELECT indexname, substring(indexdef FROM 'USING .*') FROM pg_indexes
            WHERE tablename IN ('task_records', 'task_checkpoints') AND indexname LIKE 'idx%'
            ORDER BY 1"""
        )
        indexes = cursor.fetchall()
    assert constraints == [
        (
            "task_checkpoints",
            "FOREIGN KEY (task_id) REFERENCES task_records(task_id) ON DELETE CASCADE",
        ),
        ("task_checkpoints", "PRIMARY KEY (id)"),
        ("task_records", "PRIMARY KEY (task_id)"),
    ]
    assert indexes == [
        ("idx_task_checkpoints_task_step", "USING btree (task_id, step_index)"),
        ("idx_task_records_thread", "USING btree (thread_id, updated_at DESC)"),
        ("idx_task_records_updated", "USING btree (updated_at DESC, task_id DESC)"),
    ]


@on_postgresql
def test_postgresql_migrates_back_and_forth_without_loss(store):
    service.record_checkpoint(update())
    before = service.load_by_thread_id("telegram_42")
    migrate(store.alias, "zero")
    migrate(store.alias)
    assert service.load_by_thread_id("telegram_42") == before


# The command


@pytest.mark.parametrize("is_new", [True, False], ids=["new workspace", "original's workspace"])
def test_plain_migrate_brings_both_databases_up_to_date(tmp_path, is_new):
    store, site = tmp_path / "state" / "tasks.db", tmp_path / "site.sqlite3"
    if not is_new:
        store.parent.mkdir()
        build(store, ORIGINAL)
    before = None if is_new else contents(store)
    environment = {
        **os.environ,
        "GLOAMY_WORKSPACE": str(tmp_path),
        "SITE_DATABASE_URL": f"sqlite:///{site}",
        "DJANGO_SETTINGS_MODULE": "gloamy_site.settings",
    }
    process = subprocess.run(
        [sys.executable, DATA.parent.parent / "manage.py", "migrate", "--verbosity=0"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")
    assert {b"auth_user", b"django_session"} < tables(site)
    assert tables(site) & {b"task_records", b"task_checkpoints"} == set()
    assert tables(store) == {b"task_records", b"task_checkpoints", b"django_migrations"}
    assert ask(store, "PRAGMA journal_mode") == [(b"wal",)]
    assert is_new or contents(store) == before


def tables(file):
    rows = ask(file, "SELECT name FROM sqlite_master WHERE type = 'table'")
    return {name for (name,) in rows if not name.startswith(b"sqlite_")}


# Our index


def index_names(file):
    rows = ask(file, "SELECT name FROM sqlite_master WHERE name LIKE 'idx_task_records_%'")
    return {name.decode() for (name,) in rows} - {"idx_task_records_thread"}


def errors_of(alias):
    errors = io.StringIO()
    call_command("migrate", "tasks", database=alias, verbosity=0, stderr=errors)
    return errors.getvalue()


def test_indexes_of_earlier_versions_are_dropped(scratch, original):
    migrate(scratch)
    build(original, FORMER)
    MigrationRecorder(connections[scratch]).record_unapplied("tasks", "0003_one_index")
    before = contents(original)

    migrate(scratch)

    assert index_names(original) == {own_index.NAME}
    assert contents(original) == before
    assert ask(original, "PRAGMA integrity_check") == [(b"ok",)]


def test_index_of_a_large_store_is_left_until_nobody_has_it_open(scratch, original, monkeypatch):
    monkeypatch.setattr(own_index, "LOCK_SECONDS", 0)
    monkeypatch.setattr(own_index, "CALLBACK_STEPS", 1)
    monkeypatch.setattr(own_index, "MAX_ROWS_TO_DROP", 0)
    build(original, FORMER)
    before = contents(original)

    with original_writer.writing(original):
        assert errors_of(scratch).startswith("The store's index was not created")
    assert index_names(original) == set(own_index.FORMER)
    build(original, "DELETE FROM task_records WHERE task_id LIKE 'writer %'")
    build(original, "DELETE FROM task_checkpoints WHERE task_id LIKE 'writer %'")
    assert {**contents(original), "ids": None} == {**before, "ids": None}

    assert errors_of(scratch) == ""
    assert index_names(original) == {own_index.NAME}


def test_index_of_a_small_store_is_made_beside_a_writer(scratch, original):
    build(original, FORMER)
    with original_writer.writing(original):
        assert errors_of(scratch) == ""
    assert index_names(original) == {own_index.NAME}


def test_index_is_left_for_later_where_the_lock_is_held(scratch, original):
    migrate(scratch)
    build(original, f"DROP INDEX {own_index.NAME}")
    with connections[scratch].cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout = 1")
    with locked(original):
        assert not own_index.settle(scratch)
    assert own_index.settle(scratch)
    assert index_names(original) == {own_index.NAME}


@pytest.mark.parametrize("option", ["--plan", "--check"])
def test_plan_of_migrations_changes_nothing(scratch, original, option):
    migrate(scratch)
    build(original, f"DROP INDEX {own_index.NAME}")
    call_command("migrate", "tasks", option, database=scratch, stdout=io.StringIO())
    assert index_names(original) == set()


@pytest.mark.django_db(databases="__all__", transaction=True)
@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
@pytest.mark.parametrize("damage", ["", f"CREATE INDEX {own_index.NAME} ON task_records(status);"])
def test_postgresql_gets_our_index_alone(store, damage):
    with store.cursor() as cursor:
        cursor.execute(f"DROP INDEX {own_index.NAME}; {FORMER} {damage}")
        cursor.execute(  # as after a failure to make it
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = to_regclass(%s)",
            [own_index.NAME],
        )
    migrate(store.alias)
    with store.cursor() as cursor:
        cursor.execute("SELECT indexdef FROM pg_indexes WHERE tablename = 'task_records'")
        definitions = {name.partition("USING ")[2] for (name,) in cursor.fetchall()}
    assert definitions == {
        "btree (task_id)",
        "btree (thread_id, updated_at DESC)",
        "btree (updated_at DESC, task_id DESC)",
    }
