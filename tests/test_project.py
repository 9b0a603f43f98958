"""Runs the static checks, and tests the commands and the example in the README."""

import re
from pathlib import Path

import pytest
from django.contrib import admin
from django.core import checks
from django.core.management import call_command
from django.urls import resolve

from gloamy_site.settings import database_at
from tasks.models import TaskRecord
from tests.support.processes import ROOT, run_python

README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "command",
    [
        "-m ruff check",
        "-m ruff format --check",
        "-m mypy .",
    ],
)
def test_check_passes(command: str):
    result = run_python(*command.split())

    assert result.returncode == 0, result.stdout + result.stderr


def test_system_checks_find_nothing():
    resolve("/")  # loads the admin's pages, which are checked, too

    assert admin.site.is_registered(TaskRecord)
    assert checks.run_checks() == []


@pytest.mark.django_db(databases="__all__")
def test_migrations_are_complete():
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


def test_every_suppressed_check_has_a_reason():
    files = [p for p in ROOT.rglob("*.py") if ".venv" not in p.parts and p != Path(__file__)]
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    suppressed = [line for line in lines if re.search(r"# noqa\b", line)]
    rules = (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("per-file-ignores]")[1]
    ignored = re.findall(r'.*"[A-Z]{1,3}\d{3}".*', rules.split("\n\n")[0])

    assert len(suppressed) > 10 and len(ignored) > 10
    reasoned = r"# noqa: [A-Z0-9, ]+[^A-Z0-9, ]"
    assert [line for line in suppressed if not re.search(reasoned, line)] == []
    assert [line for line in ignored if "#" not in line] == []


MIGRATE = "from django.core.management import call_command; call_command('migrate', verbosity=0)\n"


def test_readme_examples_run(tmp_path: Path):
    write, clear = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert '"~/.gloamy/workspace"' in write

    program = write.replace("~/.gloamy/workspace", str(tmp_path)) + MIGRATE + clear
    result = run_python("-c", program, SITE_DATABASE_URL=f"sqlite:///{tmp_path}/site.sqlite3")

    assert result.stderr == ""
    assert result.stdout == (
        "([ChatMessage(role='user', content='Water the plants'),"
        " ChatMessage(role='assistant', content='Done.')], None)\n"
        "Cleared 1 thread\n"
    )


def test_ci_runs_the_readme_test_command():
    commands = re.findall(r"```sh\n(.*?)\n```", README, re.DOTALL)

    assert (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()[-1] in commands


def test_database_url_has_timeouts_and_can_override_them():
    mine = database_at("postgres://me@host/tasks?connect_timeout=20", "x")["OPTIONS"]
    plain = database_at("postgres://me@host/tasks", "x")["OPTIONS"]

    assert (int(plain["connect_timeout"]), int(mine["connect_timeout"])) == (5, 20)
    assert plain["tcp_user_timeout"] == mine["tcp_user_timeout"] == 30_000
