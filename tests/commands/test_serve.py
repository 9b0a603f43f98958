"""Tests that `manage.py serve` sets everything up, or explains in one line why it cannot."""

import html
import os
import re
import socket
import sqlite3
import stat
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.support.factories import DATA, skip
from tests.support.processes import run_python
from tests.support.server import Server, sign_in

ORIGINAL = (DATA / "original.sql").read_text(encoding="utf-8")


def make_store(file: Path, change: str = "") -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(ORIGINAL + change)


def dump(file: Path) -> list[tuple[object, ...]]:
    """Return a database's schema and task rows, for comparison."""
    with closing(sqlite3.connect(file)) as connection:
        connection.text_factory = bytes
        rows = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
        return rows + connection.execute("SELECT * FROM task_records").fetchall()


def get(address: str) -> str:
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    with opener.open(address) as response:
        content: str = response.read().decode()
        return content


def test_serve_sets_everything_up_and_stops_on_ctrl_c(server: Server):
    server.start()
    page = get(server.link())
    static = f"http://127.0.0.1:{server.port}/static"
    styles = get(f"{static}/tasks/css/tokens.css"), get(f"{static}/admin/css/base.css")
    output, error = server.stop()

    assert ("--accent" in styles[0], "body" in styles[1]) == (True, True)
    assert "signs you in once, as <b>admin</b>" in page
    assert (server.running.returncode, error) == (0, "")
    assert output.endswith("Stopped.\n")
    assert stat.S_IMODE((server.folder / "site.sqlite3").stat().st_mode) == 0o600
    assert server.store_file.is_file()
    assert not (server.folder / "site.sqlite3-wal").exists()


def test_serve_accepts_a_workspace_option(server: Server, tmp_path: Path):
    other = tmp_path / "other"
    other.mkdir()

    server.start("--workspace", str(other))
    server.link()

    assert (other / "state" / "tasks.db").is_file()
    assert not server.store_file.exists()


def test_demo_fills_its_own_workspace(server: Server, tmp_path: Path):
    demo = tmp_path / "demo"

    server.start("--demo", "--workspace", str(demo))
    server.link()

    with closing(sqlite3.connect(demo / "state" / "tasks.db")) as connection:
        [count] = connection.execute("SELECT count(*) FROM task_records").fetchone()
    assert count > 24
    assert not server.store_file.exists()
    assert not (tmp_path / "daemon_state.json").exists()  # where another agent's would be


def test_demo_has_a_daemon(server: Server, tmp_path: Path):
    server.start("--demo", "--workspace", str(tmp_path / "demo"))

    page = sign_in(server.link()).open(f"http://127.0.0.1:{server.port}/").read().decode()

    assert 'class="daemon alive"' in page


def test_demo_rejects_a_workspace_it_did_not_create(server: Server):
    make_store(server.store_file)
    before = dump(server.store_file)

    server.start("--demo", "--workspace", str(server.workspace))

    assert server.refusal() == (
        f"{server.workspace} is not a demo: --demo needs a folder that does not exist yet."
    )
    assert dump(server.store_file) == before


@pytest.mark.parametrize("option", ["--dem", "--work=/nowhere"])
def test_serve_rejects_abbreviated_options(server: Server, option: str):
    _, error = server.start(option).communicate(timeout=30)

    assert f"unrecognized arguments: {option}" in error
    assert not server.store_file.exists()


def test_killed_server_leaves_no_worker_behind(server: Server):
    process = server.start()
    address = server.link()
    with process:
        process.kill()
        # read() returns once the worker has ended
        output = process.stdout.read() if process.stdout else ""

    assert "Stopped." not in output
    with pytest.raises(urllib.error.URLError, match="refused"):
        get(address)


def test_server_opens_every_row_of_a_damaged_store(server: Server):
    make_store(server.store_file)
    server.start()
    browser = signed_in(server.link())
    root = f"http://127.0.0.1:{server.port}"

    lists = ("/", "/admin/tasks/taskrecord/", "/admin/tasks/taskcheckpoint/")
    links = [
        html.unescape(link)
        for page in lists
        for link in re.findall(
            r'href="(/(?:thread/\?|admin/tasks/\w+/[^"/]+/change)[^"]*)"', browser(root + page)[1]
        )
    ]
    statuses = [browser(root + link)[0] for link in links]
    with closing(sqlite3.connect(server.store_file)) as connection, connection:
        connection.execute("DROP TABLE task_checkpoints")
        connection.execute("DROP TABLE task_records")
    broken = browser(root + "/")
    _, error = server.stop()

    assert len(links) > 20
    assert set(statuses) <= {200, 404}  # a task whose id is not text has no page
    assert statuses.count(200) > statuses.count(404)
    assert (broken[0], "The store is unavailable" in broken[1]) == (503, True)
    assert "no such table: task_records" in error


def test_server_survives_a_deleted_replaced_or_truncated_file(server: Server):
    make_store(server.store_file)
    intact = server.store_file.read_bytes()
    server.start()
    browser = signed_in(server.link())
    page = f"http://127.0.0.1:{server.port}/thread/?id=telegram_42"

    def status_with(content: bytes | None) -> int:
        for file in server.store_file.parent.glob("tasks.db*"):
            file.unlink(missing_ok=True)  # the server may already have deleted it
        if content is not None:
            server.store_file.write_bytes(content)
        return browser(page)[0]

    assert browser(page)[0] == 200
    assert status_with(None) == 503
    assert not server.store_file.exists()
    assert status_with(intact) == 200
    assert status_with(intact[:5_000]) == 503
    assert status_with(b"") == 503
    assert status_with(b"no database") == 503
    assert status_with(intact) == 200


def test_server_notices_that_the_site_database_was_replaced(server: Server):
    server.start()
    browser = signed_in(server.link())
    page, site = f"http://127.0.0.1:{server.port}/", server.folder / "site.sqlite3"
    assert "Sign in" not in browser(page)[1]

    with closing(sqlite3.connect(site)) as old, closing(sqlite3.connect(f"{site}-new")) as new:
        old.backup(new)
        new.execute("DELETE FROM django_session")
        new.commit()
    os.replace(f"{site}-new", site)
    for name in ("wal", "shm"):
        Path(f"{site}-{name}").unlink(missing_ok=True)

    assert "Sign in" in browser(page)[1]


def signed_in(link: str) -> Callable[[str], tuple[int, str]]:
    """Sign in, and return a function that fetches a URL and returns the status and the page."""
    opener = sign_in(link)

    def browse(address: str) -> tuple[int, str]:
        try:
            with opener.open(address) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    return browse


def test_migrate_rejects_a_foreign_file_without_changing_it(server: Server):
    with closing(sqlite3.connect(server.store_file)) as connection:
        connection.execute("CREATE TABLE foo (bar)")

    result = run_python(
        "manage.py",
        "migrate",
        GLOAMY_WORKSPACE=str(server.workspace),
        SITE_DATABASE_URL=f"sqlite:///{server.folder}/site.sqlite3",
        SECRET_KEY="of the tests",
    )

    with closing(sqlite3.connect(server.store_file)) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master")]
    assert result.stderr.splitlines()[-1] == (
        f"CommandError: {server.workspace}: the store has no table task_records."
    )
    assert names == ["foo"]


def test_serve_rejects_an_invalid_site_database(server: Server):
    site = server.folder / "site.sqlite3"
    site.write_text("Not a database, this.")
    server.start()

    assert server.refusal() == f"{site} is not an SQLite database."


def test_serve_rejects_a_port_in_use(server: Server):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", server.port))
        listener.listen()
        server.start()

        assert server.refusal() == (
            f"Cannot listen on 127.0.0.1 port {server.port}: Address already in use."
            " Choose another with --port."
        )


@pytest.mark.parametrize("port", ["0", "99999", "-1"])
def test_serve_rejects_an_invalid_port(server: Server, port: str):
    server.start(f"--port={port}")

    assert server.refusal() == f"{port} is not a port; choose one from 1 to 65535."


def test_serve_rejects_a_missing_workspace(server: Server):
    server.start("--workspace", "/nowhere")

    assert server.refusal() == (
        "There is no workspace /nowhere; GLOAMY_WORKSPACE or --workspace must name the"
        " agent's folder."
    )


def test_serve_rejects_a_file_that_is_not_a_database(server: Server):
    server.store_file.write_text("These are not the rows you are looking for.")
    server.start()

    assert server.refusal() == f"{server.store_file} is not an SQLite database."
    assert server.store_file.read_text() == "These are not the rows you are looking for."


def test_serve_rejects_a_folder_in_place_of_the_file(server: Server):
    server.store_file.mkdir()
    server.start()

    assert server.refusal() == f"{server.store_file} cannot be read: Is a directory."


def test_serve_rejects_a_damaged_file(server: Server):
    server.store_file.write_bytes(b"SQLite format 3\x00" + b"\xff" * 4_000)
    server.start()

    assert server.refusal().startswith(f"{server.workspace}: the store cannot be opened: ")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("DROP TABLE task_checkpoints", "the store has no table task_checkpoints."),
        (
            "ALTER TABLE task_records DROP COLUMN last_error",
            "the table task_records has no column last_error.",
        ),
        (
            "ALTER TABLE task_checkpoints RENAME COLUMN items_json TO items",
            "the table task_checkpoints has no column items_json.",
        ),
    ],
)
def test_serve_rejects_another_schema_without_changing_it(
    server: Server, change: str, sentence: str
):
    make_store(server.store_file, change)
    before = dump(server.store_file)
    server.start()

    assert server.refusal() == f"{server.workspace}: {sentence}"
    assert dump(server.store_file) == before


@pytest.mark.parametrize("url", ["foo://host/tasks", "mysql://host/tasks", "nonsense"])
def test_serve_rejects_unsupported_databases(server: Server, url: str):
    server.start(TASKS_DATABASE_URL=url)

    assert server.refusal().startswith("TASKS_DATABASE_URL: ")


def test_serve_reports_an_unreachable_database_server(server: Server):
    server.start(TASKS_DATABASE_URL="postgres://u:secret@127.0.0.1:1/tasks")
    sentence = server.refusal()

    assert sentence.startswith("tasks on 127.0.0.1: the store cannot be opened: ")
    assert "secret" not in sentence


def test_serve_warns_that_a_read_only_store_cannot_be_cleared(server: Server):
    make_store(server.store_file)
    before = server.store_file.read_bytes()

    with read_only(server.store_file):
        server.start()
        server.link()
        output, _ = server.stop()

    assert "The store is read-only: clearing is off." in output
    assert server.store_file.read_bytes() == before


@contextmanager
def read_only(file: Path) -> Iterator[None]:
    """Make a file read-only within the block, even for root if the file system supports that."""
    file.chmod(0o444)
    if not os.access(file, os.W_OK):
        yield
        return
    chattr = subprocess.run(["chattr", "+i", file], capture_output=True)  # noqa: S607 - chattr is a system command
    if chattr.returncode:
        skip("root may write any file here: run the tests as another user")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", file], check=True)  # noqa: S607 - chattr is a system command
