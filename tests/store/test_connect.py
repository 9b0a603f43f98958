"""Tests `gloamy_site.connect` in separate processes that use the store without the website."""

import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.factories import only_postgresql
from tests.support.processes import run_python

RECORD = """
from tasks.service import *
record_checkpoint(TaskCheckpointUpdate(
    task_id="a", thread_id="a", channel="cli", provider="p", model="m", step_index=1,
    execution_history=[ChatMessage("user", "hi")], items=[]))
print(load_by_thread_id("a").checkpoint_count)
"""


def agent(call: str, then: str = RECORD, **environment: str) -> subprocess.CompletedProcess[str]:
    return run_python("-c", f"from gloamy_site import connect\n{call}\n{then}", **environment)


def test_agent_creates_and_uses_the_store_of_a_workspace(tmp_path: Path):
    first = agent(f"connect({str(tmp_path)!r})")
    second = agent(f"connect({str(tmp_path)!r})")

    assert (first.stdout, first.stderr) == ("1\n", "")
    assert (second.stdout, second.stderr) == ("2\n", "")
    assert sorted(os.listdir(tmp_path / "state")) == ["tasks.db"]


def test_agent_uses_the_workspace_of_the_environment(tmp_path: Path):
    assert agent("connect()", GLOAMY_WORKSPACE=str(tmp_path)).stdout == "1\n"


def test_agent_workspace_overrides_the_environment(tmp_path: Path):
    process = agent(
        f"connect({str(tmp_path)!r})", TASKS_DATABASE_URL="postgres://nowhere.invalid/x"
    )

    assert process.stdout == "1\n"


def test_agent_opens_no_site_database(tmp_path: Path):
    process = agent(
        f"connect({str(tmp_path)!r})", SITE_DATABASE_URL=f"sqlite:///{tmp_path}/site.db"
    )

    assert process.stdout == "1\n"
    assert not (tmp_path / "site.db").exists()


@only_postgresql
@pytest.mark.django_db(databases="__all__", transaction=True)
def test_agent_uses_a_database_url(store):
    settings = store.settings_dict
    url = f"postgres://{settings['USER']}@/{settings['NAME']}?host={settings['HOST']}"

    process = agent(f"connect(database_url={url!r})")

    assert (process.stdout, process.stderr) == ("1\n", "")


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("connect('/nowhere')", "ImproperlyConfigured: There is no workspace folder /nowhere."),
        ("connect(database_url='foo://x')", "ImproperlyConfigured: TASKS_DATABASE_URL: "),
        ("import django.conf as c; c.settings.configure(); connect()", "RuntimeError: Django is"),
    ],
)
def test_connect_reports_what_is_wrong(call: str, error: str):
    lines = agent(call).stderr.splitlines()

    assert lines[-1].removeprefix("django.core.exceptions.").startswith(error)
    assert len(lines) < 10


def test_connect_refuses_a_file_that_is_not_a_store(tmp_path: Path):
    (tmp_path / "state").mkdir()
    with closing(sqlite3.connect(tmp_path / "state" / "tasks.db")) as connection:
        connection.execute("CREATE TABLE foo (bar)")

    assert agent(f"connect({str(tmp_path)!r})").stderr.splitlines()[-1] == (
        f"tasks.store.workspace.WorkspaceError: {tmp_path}: the store has no table task_records."
    )
