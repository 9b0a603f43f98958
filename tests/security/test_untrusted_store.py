"""Tests for malicious stores: symlinked files, tables that run code, and huge values."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from django.contrib.messages import get_messages
from django.core.management import CommandError, call_command
from django.db import connections
from django.db.backends.signals import connection_created
from django.test import Client
from django.urls import reverse

from tasks import service
from tasks.addresses import thread_token
from tasks.models import TaskCheckpoint, TaskRecord
from tasks.store import untrusted, workspace
from tests.support.clearing_forms import clear_thread, confirm
from tests.support.factories import (
    DATA,
    TABLES,
    checkpoint,
    loaded,
    only_postgresql,
    only_sqlite,
    snapshot,
    task,
    update,
)
from tests.support.server import Server

pytestmark = pytest.mark.django_db(databases="__all__")

ORIGINAL = (DATA / "original.sql").read_text(encoding="utf-8")
ALLOW = "If this is intended, set GLOAMY_LINKED_STORE=1."


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings) -> Path:
    """The path of a workspace's store file, which does not exist yet."""
    settings.WORKSPACE = tmp_path / "workspace"
    file = tmp_path / "workspace" / "state" / "tasks.db"
    file.parent.mkdir(parents=True)
    (tmp_path / "elsewhere.db").write_bytes(b"SQLite format 3\x00")
    monkeypatch.setitem(connections["tasks"].settings_dict, "NAME", str(file))
    return file


def refusal() -> str:
    with pytest.raises(workspace.WorkspaceError) as caught:
        workspace.check_store()
    return str(caught.value)


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", "-journal"])
def test_link_outside_the_workspace_is_refused(file: Path, tmp_path: Path, suffix: str):
    link = file.with_name(file.name + suffix)
    link.symlink_to(tmp_path / "elsewhere.db")
    target = f"{tmp_path}/elsewhere.db, outside {tmp_path}/workspace"

    assert refusal() == f"{link} is really {target}. {ALLOW}"


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", "-journal"])
def test_dangling_link_is_refused_without_creating_its_target(
    file: Path, tmp_path: Path, suffix: str
):
    link, target = file.with_name(file.name + suffix), tmp_path / "new.db"
    link.symlink_to(target)

    with pytest.raises(workspace.WorkspaceError) as caught:
        workspace.check_databases()

    message = f"{link} is really {target}, outside {tmp_path}/workspace. {ALLOW}"
    assert str(caught.value) == message
    assert not target.exists()


def test_serve_does_not_create_the_target_of_a_link(server: Server):
    server.store_file.symlink_to(server.folder / "new.db")
    server.start()

    assert ", outside " in server.refusal()
    assert not (server.folder / "new.db").exists()


def test_linked_folder_without_a_store_is_refused(file: Path, tmp_path: Path):
    file.parent.rmdir()
    (tmp_path / "state").mkdir()
    file.parent.symlink_to(tmp_path / "state")

    with pytest.raises(workspace.WorkspaceError, match=", outside "):
        workspace.check_databases()
    assert list((tmp_path / "state").iterdir()) == []


@pytest.mark.parametrize("is_linked_store", [True, False])
def test_link_to_itself_is_refused(file: Path, settings, is_linked_store: bool):
    settings.ALLOW_LINKED_STORE = is_linked_store
    file.symlink_to(file)

    assert refusal() == f"{file} is a link that leads to itself."


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", "-journal"])
def test_hard_link_is_refused(file: Path, tmp_path: Path, suffix: str):
    link = file.with_name(file.name + suffix)
    link.hardlink_to(tmp_path / "elsewhere.db")

    assert refusal() == f"{link} has another hard link elsewhere. {ALLOW}"


def test_linked_folder_is_refused(file: Path, tmp_path: Path):
    file.parent.rmdir()
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "tasks.db").touch()
    file.parent.symlink_to(tmp_path / "state")

    assert refusal().startswith(f"{file} is really {tmp_path}/state/tasks.db, outside ")


def test_link_is_opened_if_the_setting_allows_it(file: Path, tmp_path: Path, settings):
    settings.ALLOW_LINKED_STORE = True
    file.symlink_to(tmp_path / "elsewhere.db")

    workspace._check_sqlite_file(connections["tasks"])


def test_workspace_may_be_a_link_and_contain_links(
    file: Path, tmp_path: Path, settings, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "link").symlink_to(tmp_path / "workspace")
    settings.WORKSPACE = tmp_path / "link"
    linked_file = tmp_path / "link" / "state" / "tasks.db"
    monkeypatch.setitem(connections["tasks"].settings_dict, "NAME", str(linked_file))
    (file.parent / "real.db").write_bytes(b"SQLite format 3\x00")
    file.symlink_to("real.db")

    workspace._check_sqlite_file(connections["tasks"])


@pytest.mark.parametrize("command", ["serve", "check_store"])
def test_pipe_is_refused_without_blocking(file: Path, command: str):
    os.mkfifo(file)

    if command == "serve":
        assert refusal() == f"{file} is not a regular file."
    else:
        with pytest.raises(CommandError, match="it is not a regular file"):
            call_command("check_store")


def test_site_database_is_refused_as_a_store(file: Path, settings, monkeypatch):
    settings.ALLOW_LINKED_STORE = True
    file.symlink_to(connections["default"].settings_dict["NAME"])

    with pytest.raises(workspace.WorkspaceError, match="is the site's own database"):
        workspace.check_databases()


SQLITE: dict[str, str | tuple[str, ...]] = {
    "the trigger t on task_records": (
        "CREATE TRIGGER t AFTER DELETE ON task_records BEGIN SELECT 1; END"
    ),
    "the trigger T on TASK_CHECKPOINTS": (
        "CREATE TRIGGER T AFTER INSERT ON TASK_CHECKPOINTS BEGIN SELECT 1; END"
    ),
    "the trigger t on django_migrations": (
        "CREATE TRIGGER t AFTER INSERT ON django_migrations BEGIN DELETE FROM task_records; END"
    ),
    "the trigger a\\nb on task_records": (
        'CREATE TRIGGER "a\nb" AFTER DELETE ON task_records BEGIN SELECT 1; END'
    ),
    "a view in place of django_migrations": (
        "ALTER TABLE django_migrations RENAME TO other",
        "CREATE VIEW django_migrations AS SELECT * FROM other",
    ),
    "a view in place of task_checkpoints": (
        "ALTER TABLE task_checkpoints RENAME TO other",
        "CREATE VIEW task_checkpoints AS SELECT * FROM other",
    ),
    "a virtual table in place of task_checkpoints": (
        "DROP TABLE task_checkpoints",
        "CREATE VIRTUAL TABLE task_checkpoints USING fts4"
        " (id, task_id, step_index, checkpoint_note, items_json, created_at)",
    ),
    "the generated column more": (
        "ALTER TABLE task_records ADD COLUMN more TEXT AS (upper(task_id))"
    ),
}
POSTGRESQL: dict[str, str | tuple[str, ...]] = {
    "the trigger t on task_records": (
        "CREATE TRIGGER t BEFORE UPDATE ON task_records"
        " FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()"
    ),
    "the trigger t on django_migrations": (
        "CREATE TRIGGER t BEFORE UPDATE ON django_migrations"
        " FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()"
    ),
    "the rule r on task_records": ("CREATE RULE r AS ON DELETE TO task_records DO ALSO SELECT 1"),
    "something that is no table in place of task_checkpoints": (
        "ALTER TABLE task_checkpoints RENAME TO other",
        "CREATE VIEW task_checkpoints AS SELECT * FROM other",
    ),
    "the generated column more": (
        "ALTER TABLE task_records ADD COLUMN more text GENERATED ALWAYS AS (upper(task_id)) STORED"
    ),
}


def check_refuses(store, problem: str, statements: str | tuple[str, ...]) -> None:
    for statement in (statements,) if isinstance(statements, str) else statements:
        with store.cursor() as cursor:
            cursor.execute(statement)

    with pytest.raises(workspace.WorkspaceError) as caught:
        workspace._check_tables(store, may_be_empty=False)
    assert str(caught.value).endswith(f": the store has {problem}, which gloamy never creates.")


@only_sqlite
@pytest.mark.parametrize("problem", SQLITE)
def test_schema_that_runs_code_is_refused_on_sqlite(store, problem: str):
    check_refuses(store, problem, SQLITE[problem])


@only_postgresql
@pytest.mark.parametrize("problem", POSTGRESQL)
def test_schema_that_runs_code_is_refused_on_postgresql(store, problem: str):
    check_refuses(store, problem, POSTGRESQL[problem])


def test_migrated_schema_has_no_problem(store):
    assert untrusted.schema_problem(store) == ""


@only_sqlite
def test_connection_distrusts_schemas_and_extensions(store):
    with store.cursor() as cursor:
        assert cursor.execute("PRAGMA trusted_schema").fetchone() == (0,)
        assert cursor.execute("PRAGMA cell_size_check").fetchone() == (1,)
    limit = store.connection.getlimit(sqlite3.SQLITE_LIMIT_LENGTH)
    assert limit == untrusted.MAX_VALUE_SIZE
    with pytest.raises(sqlite3.OperationalError, match="not authorized"):
        store.connection.execute("SELECT load_extension('x')")


def test_unsafe_function_in_a_schema_does_not_run(tmp_path: Path):
    with closing(sqlite3.connect(tmp_path / "x.db")) as connection:
        connection.execute("CREATE VIEW v AS SELECT load_extension('x')")
        assert connection.execute("PRAGMA trusted_schema").fetchone() == (1,)
        untrusted.harden_sqlite(connection)

        with pytest.raises(sqlite3.OperationalError, match="unsafe use of load_extension"):
            connection.execute("SELECT * FROM v").fetchall()


@pytest.fixture
def page_connection(monkeypatch: pytest.MonkeyPatch):
    """The store's underlying SQLite connection, configured as it is in the web application."""
    connections["tasks"].ensure_connection()
    raw = connections["tasks"].connection
    text_factory = raw.text_factory
    connection_created.connect(workspace.replace_invalid_utf8)
    workspace.replace_invalid_utf8(None, connections["tasks"])
    yield raw
    connection_created.disconnect(workspace.replace_invalid_utf8)
    raw.text_factory = text_factory


def test_page_truncates_and_marks_large_values(
    viewer: Client, page_connection, monkeypatch: pytest.MonkeyPatch
):
    task(execution_history_json='[{"role":"user","content":"' + "x" * 3_000 + '"}]')
    task("other", resumable_history_json="[]", final_response="y" * 3_000)
    monkeypatch.setattr(untrusted, "MAX_DISPLAY_SIZE", 2_000)
    monkeypatch.setattr(untrusted, "DISPLAY_CUT", 100)

    pages = [
        viewer.get("/"),
        *(viewer.get(f"/thread/?id={id_}") for id_ in ("telegram_42", "other")),
    ]

    assert [page.status_code for page in pages] == [200] * 3
    marked = ["bytes are too many to show" in page.content.decode() for page in pages]
    assert marked == [False, True, False]  # pages read only the start of a final response


def test_agent_reads_values_too_large_for_a_page(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(untrusted, "MAX_DISPLAY_SIZE", 20)
    service.save_snapshot(snapshot())

    assert loaded().execution_history[0].content == "hello"


def test_value_too_large_for_sqlite_gets_an_error_page(viewer: Client, page_connection):
    task(execution_history_json="x" * 3_000)
    page = "/thread/?id=telegram_42"
    limit = page_connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 2_000)
    try:
        response = viewer.get(page)
    finally:
        page_connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, limit)

    assert response.status_code == 503
    assert "A value in the store is larger than SQLite can read" in response.content.decode()
    assert viewer.get(page).status_code == 200


def test_check_names_a_row_that_is_too_large(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    file = tmp_path / "tasks.db"
    with closing(sqlite3.connect(file)) as copy, copy:
        for table, columns in TABLES.items():
            copy.execute(f"CREATE TABLE {table} ({', '.join(columns)})")
        values = ["x" * 3_000 if c == "last_error" else c for c in TABLES["task_records"]]
        marks = ", ".join("?" * len(values))
        copy.execute(f"INSERT INTO task_records VALUES ({marks})", values)
    monkeypatch.setitem(connections["tasks"].settings_dict, "NAME", str(file))
    monkeypatch.setattr(untrusted, "MAX_VALUE_SIZE", 2_000)

    with pytest.raises(SystemExit):
        call_command("check_store")

    assert "task_records rowid 1: string or blob too big" in capsys.readouterr().out


# Triggers created while the site runs

DELETES = "CREATE TRIGGER t AFTER {} BEGIN DELETE FROM task_records; END"
EVERY_WRITE = [
    DELETES.format("DELETE ON task_records"),
    DELETES.format("INSERT ON task_records"),
    DELETES.format("UPDATE ON task_records"),
    DELETES.format("DELETE ON task_checkpoints"),
    DELETES.format("INSERT ON task_checkpoints"),
    "CREATE TRIGGER t AFTER INSERT ON task_checkpoints"
    " BEGIN UPDATE task_records SET status = 'completed'; END",
    "CREATE TRIGGER t AFTER UPDATE ON task_records"
    " BEGIN INSERT INTO task_checkpoints (task_id, step_index, items_json, created_at)"
    " VALUES ('telegram_42', 1, '[]', ''); END",
]


def write_everything() -> None:
    service.record_checkpoint(update())
    service.save_snapshot(snapshot(status="completed"))
    service.delete_by_thread_id("telegram_42")


@only_sqlite
@pytest.mark.parametrize("trigger", EVERY_WRITE)
def test_trigger_that_writes_raises_and_writes_nothing(store, trigger: str):
    task("other")
    with store.cursor() as cursor:
        cursor.execute(trigger)

    with pytest.raises(service.StoreTriggerError, match=r"^The store at .* has a trigger, "):
        write_everything()

    assert TaskRecord.objects.get(pk="other").status == "running"
    assert TaskCheckpoint.objects.filter(task="other").count() == 0


@only_sqlite
def test_trigger_that_writes_nothing_is_allowed(store):
    with store.cursor() as cursor:
        cursor.execute("CREATE TRIGGER t AFTER DELETE ON task_records BEGIN SELECT 1; END")

    write_everything()

    assert TaskRecord.objects.count() == 0


@pytest.mark.parametrize("is_single", [True, False], ids=["one thread", "chosen threads"])
def test_clearing_widened_by_a_trigger_fails_and_clears_nothing(operator: Client, is_single: bool):
    for name in ("a", "b", "kept"):
        checkpoint(task(name, status="failed"))
    with connections["tasks"].cursor() as cursor:
        cursor.execute(DELETES.format("DELETE ON task_checkpoints"))

    if is_single:
        answer = clear_thread(operator, "a")
        messages = [str(message) for message in get_messages(answer.wsgi_request)]
    else:
        tokens = {"thread": [thread_token("a"), thread_token("b")]}
        clearing = confirm(operator, operator.post(reverse("clear-selected"), tokens))
        messages = [clearing.error]

    assert len(messages) == 1
    assert "has a trigger, which gloamy never creates" in messages[0]
    assert (TaskRecord.objects.count(), TaskCheckpoint.objects.count()) == (3, 3)


# Schemas that `manage.py serve` refuses


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            "CREATE VIEW django_migrations AS SELECT 1 AS id, 'tasks' AS app, '0001' AS name;",
            "the store has a view in place of django_migrations, which gloamy never creates.",
        ),
        (
            "CREATE TABLE django_migrations (a);",
            "its tables cannot be migrated: no such column: django_migrations.id.",
        ),
        (
            "CREATE TABLE django_migrations (id, app, name, applied);"
            "INSERT INTO django_migrations VALUES (1, 'tasks', '0001_initial', x'00');",
            "its tables cannot be migrated: ",
        ),
        (
            "CREATE TABLE django_migrations (id, app, name, applied);"
            "INSERT INTO django_migrations VALUES (1, 'tasks', '0002_list_indexes', NULL);",
            "its tables cannot be migrated: ",
        ),
    ],
)
@pytest.mark.parametrize("is_empty", [False, True], ids=["with tables", "new"])
def test_serve_reports_a_schema_that_cannot_be_migrated(
    server: Server, change: str, sentence: str, is_empty: bool
):
    with closing(sqlite3.connect(server.store_file)) as connection:
        connection.executescript(change if is_empty else ORIGINAL + change)
    server.start()

    assert server.refusal().startswith(f"{server.workspace}: {sentence}")


def test_serve_reports_a_table_named_like_an_index(server: Server):
    with closing(sqlite3.connect(server.store_file)) as connection:
        connection.executescript(ORIGINAL + "CREATE TABLE idx_task_records_updated (a);")
    server.start()

    assert server.refusal() == (
        f"{server.workspace}: its tables cannot be migrated:"
        " there is already a table named idx_task_records_updated."
    )


COLLATED = {
    "a column": (
        "PRAGMA writable_schema = ON;"
        "UPDATE sqlite_master SET sql = replace(sql, 'status TEXT', 'status TEXT COLLATE NOPE')"
        " WHERE name = 'task_records'"
    ),
    "an index": "CREATE INDEX i ON task_checkpoints (created_at COLLATE NOPE)",
}


@pytest.mark.parametrize("owner", COLLATED)
def test_serve_refuses_an_unknown_collation(server: Server, owner: str):
    with closing(sqlite3.connect(server.store_file)) as connection:
        connection.create_collation("NOPE", lambda one, other: 0)
        connection.executescript(ORIGINAL + COLLATED[owner])
    server.start()

    assert server.refusal() == (
        f"{server.workspace}: the store cannot be opened: no such collation sequence: NOPE."
    )
