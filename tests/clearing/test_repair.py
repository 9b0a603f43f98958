"""Tests that a crash at any point leaves no thread half cleared, and that records are repaired."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.factories import DATA
from tests.support.processes import ROOT

THREADS = ("first", "second", "third")

# This program clears all threads in one batch, but kills itself at the point named by argv[2].
PROGRAM = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
os.environ["DJANGO_SETTINGS_MODULE"] = "gloamy_site.settings"
import django
django.setup()
from tasks import service
from tasks.clearing import batches, lifecycle
from archive.models import Source

def killed(*args, **options):
    os.kill(os.getpid(), signal.SIGKILL)

def after_one(delete, done=[]):
    def deleting(*args, **options):
        killed() if done else None
        done.append(delete(*args, **options))
    return deleting

point = sys.argv[2]
if point == "after the intent":
    service.delete_by_thread_id = killed
elif point in ("within a transaction", "between transactions"):
    batches.GROUP_BYTES = 0 if point == "between transactions" else batches.GROUP_BYTES
    service.delete_by_thread_id = after_one(service.delete_by_thread_id)
elif point == "before the result":
    batches._record_result = killed
elif point == "before the intent":
    batches._record_intent = killed
lifecycle.clear(["first", "second", "third"], lifecycle.Actor(Source.COMMAND))
"""


class Site:
    """A site whose workspace has three threads."""

    before: dict[str, list[Any]]

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "workspace" / "state" / "tasks.db"

    def fill(self) -> None:
        self.file.parent.mkdir(parents=True)
        with closing(sqlite3.connect(self.file)) as connection, connection:
            connection.executescript((DATA / "original.sql").read_text(encoding="utf-8"))
            connection.execute("DELETE FROM task_checkpoints WHERE task_id <> 'telegram_42'")
            connection.execute("DELETE FROM task_records WHERE task_id IS NOT 'telegram_42'")
            for name in THREADS:
                copy = "INSERT INTO {0} SELECT {1} FROM {0} WHERE task_id = 'telegram_42'"
                task = [f"'{name}'", f"'{name}'", *columns(connection, "task_records")[2:]]
                step = ["NULL", f"'{name}'", *columns(connection, "task_checkpoints")[2:]]
                connection.execute(copy.format("task_records", ", ".join(task)))
                connection.execute(copy.format("task_checkpoints", ", ".join(step)))
            connection.execute("DELETE FROM task_checkpoints WHERE task_id = 'telegram_42'")
            connection.execute("DELETE FROM task_records WHERE task_id = 'telegram_42'")
        self.manage("migrate")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("DJANGO_")}
        own = {
            "GLOAMY_WORKSPACE": str(self.folder / "workspace"),
            "SITE_DATABASE_URL": f"sqlite:///{self.folder}/site.sqlite3",
            "SECRET_KEY": "of the tests",
        }
        return subprocess.run(
            [sys.executable, *command], env=inherited | own, capture_output=True, text=True
        )

    def manage(self, *arguments: str) -> str:
        result = self.run(str(ROOT / "manage.py"), *arguments)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def rows(self) -> dict[str, list[Any]]:
        """Return the task row and the checkpoint rows of each thread."""
        with closing(sqlite3.connect(self.file)) as connection:
            tasks = connection.execute("SELECT * FROM task_records").fetchall()
            steps = connection.execute("SELECT * FROM task_checkpoints").fetchall()
        assert {step[1] for step in steps} == {task[0] for task in tasks}
        return {task[0]: [task, *(s for s in steps if s[1] == task[0])] for task in tasks}

    def record(self) -> dict[str, tuple[str, bool]]:
        """Return each thread's recorded fate, such as "cleared", and whether it is archived."""
        with closing(sqlite3.connect(self.folder / "site.sqlite3")) as connection:
            rows = connection.execute(
                "SELECT stored_id, fate, EXISTS (SELECT 1 FROM archive_threadarchive a"
                " WHERE a.thread_id = t.id) FROM archive_clearedthread t"
            ).fetchall()
        return {bytes(name).decode(): (fate, bool(archived)) for name, fate, archived in rows}


def columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    site = Site(tmp_path_factory.mktemp("filled"))
    site.fill()
    return site.folder


@pytest.fixture
def site(filled: Path, tmp_path: Path) -> Site:
    shutil.copytree(filled, tmp_path, dirs_exist_ok=True)
    site = Site(tmp_path)
    site.before = site.rows()
    return site


KEPT, CLEARED = ("planned", False), ("cleared", True)


@pytest.mark.parametrize(
    ("point", "open_count", "expected"),
    [
        ("before the intent", 0, [KEPT, KEPT, KEPT]),
        ("after the intent", 3, [KEPT, KEPT, KEPT]),
        ("within a transaction", 3, [KEPT, KEPT, KEPT]),
        ("between transactions", 3, [CLEARED, KEPT, KEPT]),
        ("before the result", 3, [CLEARED, CLEARED, CLEARED]),
    ],
)
def test_repair_corrects_the_record_after_a_kill(
    site: Site, point: str, open_count: int, expected: list
):
    killed = site.run("-c", PROGRAM, str(ROOT), point)
    assert killed.returncode == -9, killed.stderr
    assert [fate for fate, _ in site.record().values()].count("started") == open_count

    output = site.manage("repair_clearings", "--now")

    assert f"{open_count} threads checked" in output
    assert site.record() == dict(zip(THREADS, expected, strict=True))
    remaining = {name: rows for name, rows in site.before.items() if site.record()[name] == KEPT}
    assert site.rows() == remaining


def test_repair_skips_clearings_under_way(site: Site):
    site.run("-c", PROGRAM, str(ROOT), "after the intent")

    assert site.manage("repair_clearings") == (
        "1 skipped: in progress in another process; see --now.\n"
    )
    assert {fate for fate, _ in site.record().values()} == {"started"}


def test_thread_recreated_before_the_repair_counts_as_cleared(site: Site):
    site.run("-c", PROGRAM, str(ROOT), "before the result")
    with closing(sqlite3.connect(site.file)) as connection, connection:
        task = list(site.before["first"][0])
        task[12] = "2026-11-20T00:00:00+00:00"
        connection.execute(f"INSERT INTO task_records VALUES ({', '.join('?' * 15)})", task)
        step = site.before["first"][1]
        connection.execute("INSERT INTO task_checkpoints VALUES (?, ?, ?, ?, ?, ?)", step)

    site.manage("repair_clearings", "--now")

    assert site.record()["first"] == CLEARED


def test_repair_of_an_intact_site_does_nothing(site: Site):
    assert site.manage("repair_clearings") == ""
    assert site.rows() == site.before
