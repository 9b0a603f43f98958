"""Tests how the store is prepared and checked at startup, and how its location is displayed."""

import stat
from pathlib import Path

import pytest
from django.db import connections

from tasks.store import workspace
from tasks.store.sqlite_uri import read_only_uri
from tests.support.factories import only_postgresql, only_sqlite

pytestmark = pytest.mark.django_db(databases="__all__")


def locate(monkeypatch: pytest.MonkeyPatch, alias: str, **fields: str) -> None:
    for name, value in fields.items():
        monkeypatch.setitem(connections[alias].settings_dict, name, value)


def test_store_passes_its_check(store):
    workspace.check_databases()
    workspace.check_store()


@only_sqlite
@pytest.mark.django_db(databases="__all__", transaction=True)
@pytest.mark.parametrize(
    ("pragma", "setting"),
    [
        ("synchronous = FULL", "synchronous = 2, but 1"),
        ("busy_timeout = 5000", "busy_timeout = 5000, but 30000"),
        ("foreign_keys = OFF", "foreign_keys = 0, but 1"),
        ("journal_mode = DELETE", "journal_mode = delete, but wal"),
    ],
)
def test_store_with_other_pragmas_is_refused(store, pragma: str, setting: str):
    with store.cursor() as cursor:
        cursor.execute(f"PRAGMA {pragma}")

    with pytest.raises(workspace.WorkspaceError, match=f"SQLite has {setting} is needed"):
        workspace.check_store()
    store.close()


@only_sqlite
def test_prepare_creates_the_folder_and_a_private_file(
    store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings
):
    settings.WORKSPACE = tmp_path / "new"
    folder, site = tmp_path / "new" / "state", tmp_path / "site.sqlite3"
    locate(monkeypatch, "tasks", NAME=str(folder / "tasks.db"))
    locate(monkeypatch, "default", NAME=str(site))

    workspace.prepare()
    workspace.prepare()

    assert (folder / "tasks.db").read_bytes() == b""
    assert stat.S_IMODE(site.stat().st_mode) == 0o600


@only_sqlite
def test_prepare_names_the_path_that_cannot_be_created(
    store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings
):
    (tmp_path / "file").touch()
    settings.WORKSPACE = tmp_path / "file"
    locate(monkeypatch, "tasks", NAME=str(tmp_path / "file" / "state" / "tasks.db"))

    with pytest.raises(workspace.WorkspaceError, match="cannot be created: Not a directory"):
        workspace.prepare()


@only_sqlite
def test_prepare_does_not_create_the_folder_of_a_url(
    store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    locate(monkeypatch, "tasks", NAME=str(tmp_path / "elsewhere" / "tasks.db"))

    with pytest.raises(workspace.WorkspaceError, match="cannot be created: No such file"):
        workspace.prepare()

    assert not (tmp_path / "elsewhere").exists()


def test_read_only_file_is_immutable_only_without_a_writer(tmp_path: Path):
    file = tmp_path / "a b" / "tasks.db"
    quiet = read_only_uri(file)
    file.parent.mkdir()
    file.with_name("tasks.db-wal").touch()

    assert quiet == f"file://{tmp_path}/a%20b/tasks.db?mode=ro&immutable=1"
    assert read_only_uri(file) == f"file://{tmp_path}/a%20b/tasks.db?mode=ro"


@only_sqlite
def test_read_only_store_follows_its_writers(
    store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings
):
    settings.TASKS_READ_ONLY = True
    locate(monkeypatch, "tasks", NAME=f"file://{tmp_path}/tasks.db?mode=ro&immutable=1")
    (tmp_path / "tasks.db-wal").touch()

    workspace.reopen_read_only_store()

    assert store.settings_dict["NAME"] == f"file://{tmp_path}/tasks.db?mode=ro"


@only_sqlite
@pytest.mark.parametrize(
    ("name", "location"),
    [
        ("/home/ops/.gloamy/workspace/state/tasks.db", "~/.gloamy/workspace"),
        ("/home/opsy/w/state/tasks.db", "/home/opsy/w"),
        ("/srv/w/state/tasks.db", "/srv/w"),
        ("/srv/elsewhere.db", "/srv/elsewhere.db"),
        ("file:///srv/a%20b/state/tasks.db?mode=ro", "/srv/a b"),
    ],
)
def test_location_of_a_file_is_its_workspace(
    store, name: str, location: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", "/home/ops")
    locate(monkeypatch, "tasks", NAME=name)

    assert workspace.location() == location


@only_postgresql
def test_location_of_a_server_omits_the_password(store, monkeypatch: pytest.MonkeyPatch):
    locate(monkeypatch, "postgresql", NAME="tasks", HOST="db.example.org", PASSWORD="secret")

    assert workspace.location() == "tasks on db.example.org"
