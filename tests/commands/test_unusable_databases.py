"""Tests that commands end with a sentence where a database is missing, new or unreadable."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from django.core.management import get_commands
from django.db import DEFAULT_DB_ALIAS, connections

import manage
from tasks.store.sqlite_uri import existing_uri

STORE_ONLY = ["check_store", "export_threads out", "index", "reclaim_space", "copy_store --to URL"]
SITE_ONLY = ["empty_archive", "sign_in_link", "reclaim_space --site"]
BOTH = ["clear_threads --all", "repair_clearings", "restore_threads 1"]
DJANGOS = [  # commands of Django's own that read or write the site's database
    "changepassword admin",
    "clearsessions",
    "createsuperuser --noinput --username=a --email=a@example.org",
    "dumpdata",
    "remove_stale_contenttypes --noinput",
]
CREATING = ["import_threads in", "migrate", "serve --port=8"]  # these make what is missing


def unreadable(file: Path) -> None:
    file.write_text("This is no database. " * 100)


def of_another_version(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE auth_user (id)")


MISSING = [("missing", lambda file: None), ("empty", Path.touch)]
UNREADABLE = [("text", unreadable), ("folder", Path.mkdir)]
STATES = [*MISSING, *UNREADABLE, ("other tables", of_another_version)]


@pytest.fixture
def databases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, django_db_setup: None, django_db_blocker
) -> Iterator[Callable[[str, Path], None]]:
    """A function that makes an alias lead to another file until the end of the test."""
    before = {}
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").write_bytes(b"")

    def lead(alias: str, file: Path) -> None:
        before[alias] = connections[alias]
        changed = before[alias].settings_dict | {"NAME": existing_uri(file)}
        connections[alias] = type(before[alias])(changed, alias)

    with django_db_blocker.unblock():
        yield lead
        for alias, connection in before.items():
            connections[alias].close()
            connections[alias] = connection


def run(command: str, monkeypatch, capfd) -> tuple[object, str]:
    """Run the command as a terminal would; return its exit status and what it writes."""
    url = f"sqlite:///{Path.cwd()}/copy.db"
    monkeypatch.setattr("sys.argv", ["manage.py", *command.replace("URL", url).split()])
    try:
        manage.main()
    except SystemExit as end:
        if isinstance(end.code, str):
            return 1, end.code
        return end.code, capfd.readouterr().err.strip()
    return 0, ""


@pytest.mark.parametrize("state", STATES, ids=lambda state: state[0])
@pytest.mark.parametrize("command", [*SITE_ONLY, *BOTH, *DJANGOS])
def test_command_names_what_is_wrong_with_the_site(
    command, state, tmp_path, databases, monkeypatch, capfd
):
    site, (name, make) = tmp_path / "site.sqlite3", state
    make(site)
    databases(DEFAULT_DB_ALIAS, site)

    status, message = run(command, monkeypatch, capfd)

    assert status not in (0, None)
    assert message and "\n" not in message
    assert site.exists() == (name != "missing")
    if command in (*SITE_ONLY, *BOTH):
        expected = {"text": "is not an SQLite database", "folder": "Is a directory"}
        assert expected.get(name, "un `manage.py migrate` first") in message


@pytest.mark.parametrize("state", STATES, ids=lambda state: state[0])
@pytest.mark.parametrize("command", [*STORE_ONLY, *BOTH])
def test_command_names_what_is_wrong_with_the_store(
    command, state, tmp_path, databases, monkeypatch, capfd
):
    store, (name, make) = tmp_path / "tasks.db", state
    make(store)
    databases("tasks", store)

    status, message = run(command, monkeypatch, capfd)

    assert status not in (0, None)
    assert "\n" not in message
    assert store.exists() == (name != "missing")
    assert not (tmp_path / "copy.db").exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("state", UNREADABLE, ids=lambda state: state[0])
@pytest.mark.parametrize("alias", [DEFAULT_DB_ALIAS, "tasks"])
@pytest.mark.parametrize("command", CREATING)
def test_command_does_not_replace_an_unreadable_database(
    command, alias, state, tmp_path, databases, monkeypatch, capfd
):
    file, (_, make) = tmp_path / "file", state
    make(file)
    before = file.read_bytes() if file.is_file() else b""
    databases(alias, file)

    status, message = run(command, monkeypatch, capfd)

    assert status not in (0, None)
    assert message and "Traceback" not in message
    assert not file.is_file() or file.read_bytes() == before


def test_every_command_is_covered():
    own = {name for name, app in get_commands().items() if app in ("tasks", "gloamy_site")}
    covered = {command.split()[0] for command in [*STORE_ONLY, *SITE_ONLY, *BOTH, *CREATING]}

    assert own - covered == {"flush", "loaddata", "sqlflush"}  # Django's, see DJANGOS
