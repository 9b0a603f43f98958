"""Tests of the index when its disk is full, its process is killed, or its file is deleted."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import generated, original
from benchmarks.audit import Store
from tests.store import test_index
from tests.support import odd_rows
from tests.support.processes import ROOT, run_python

TASKS = 600
BEGIN = """
import json, os, resource, sys, time
import django
django.setup()
from tasks.index import following
from tasks.index.models import IndexedTask
from tasks.listing.filters import Filters
from tasks.listing.thread_list import ThreadList
from tasks.models import TaskRecord

def listed():
    return [record.task_id for record in ThreadList(Filters()).page(5).records]
"""
EQUALS = """
from tests.store.test_index import full_scan, index
print(json.dumps([index() == full_scan(), IndexedTask.objects.count(), following.problem]))
"""


@pytest.fixture
def urls(tmp_path: Path) -> dict[str, str]:
    """The environment for programs that use a store with many tasks."""
    original.on_sqlite(tmp_path / "tasks.db").connection.close()
    generated.fill(Store.on_sqlite(tmp_path), TASKS, 300)
    return {
        "TASKS_DATABASE_URL": f"sqlite:///{tmp_path}/tasks.db",
        "SITE_DATABASE_URL": f"sqlite:///{tmp_path}/site.sqlite3",
        "DJANGO_SETTINGS_MODULE": "gloamy_site.settings",
    }


def run(code: str, urls: dict[str, str]) -> list[Any]:
    """Run a program, and return what it printed as JSON."""
    result = run_python("-c", BEGIN + code, **urls)
    assert (result.returncode, "Traceback" in result.stderr) == (0, False), result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.parametrize("size", [60_000, 300_000])
def test_list_goes_on_without_a_disk_for_the_index(urls: dict[str, str], size: int):
    # larger files cannot be written, as on a full disk
    limit = f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))\n"
    pages = "for _ in range(2): print(json.dumps([listed(), following.problem]))\n"

    *limited, equality = run(f"{limit}{pages}following.follow()\n{EQUALS}", urls)
    [[page, problem]] = run("print(json.dumps([listed(), following.problem]))", urls)

    assert (len(page), problem) == (5, "")
    assert [page for page, _ in limited] == [page, page]
    assert all("disk I/O error" in problem for _, problem in limited)
    assert equality[:2] == [True, TASKS]


def test_all_threads_go_on_when_the_disk_is_full(urls: dict[str, str]):
    code = """
from concurrent.futures import ThreadPoolExecutor
following.BUILD_SECONDS = 0
with ThreadPoolExecutor(1) as other:
    other.submit(listed).result()  # which opens the file
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
    following.follow()
    newest = listed()
    TaskRecord.objects.filter(task_id=newest[0]).delete()
    print(json.dumps([newest[1:], other.submit(listed).result()[:4], following.problem]))
"""

    [[expected, page, problem]] = run(code, urls)

    assert page == expected
    assert "disk I/O error" in problem


def test_command_says_that_the_disk_is_full(urls: dict[str, str]):
    code = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (700_000, 700_000))
os.execv(sys.executable, [sys.executable, "manage.py", "index"])"""

    result = run_python("-c", code, **urls)

    assert result.returncode == 1
    assert "The index cannot be written: disk I/O error" in result.stderr
    assert "Traceback" not in result.stderr


def test_index_whose_process_was_killed_is_completed_by_the_next(urls: dict[str, str]):
    code = """
following.CHUNK = 100
following.BUILD_SECONDS = 0
while True:
    state = following.catch_up(background=False)
    with following.transaction.atomic(following._alias()):
        following._build(state)
        print(IndexedTask.objects.count(), flush=True)"""
    command = [sys.executable, "-c", BEGIN + code]
    counts: list[int] = []
    for _ in range(3):
        with subprocess.Popen(
            command, env=os.environ | urls, cwd=ROOT, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            for count in map(int, process.stdout):
                if count >= len(counts) * 150 + 150:
                    process.send_signal(signal.SIGKILL)
                    break
        assert process.returncode == -signal.SIGKILL
        counts.append(count)

    [result] = run(f"following.follow()\n{EQUALS}", urls)

    assert result == [True, TASKS, ""]
    assert counts == sorted(counts)
    assert counts[-1] < TASKS


def test_index_that_is_deleted_meanwhile_is_built_again(urls: dict[str, str], tmp_path: Path):
    code = """
listed()
following.follow()
for end in ("", "-wal", "-shm"):
    os.unlink(os.environ["INDEX"] + end)
TaskRecord.objects.filter(task_id=listed()[0]).delete()
TaskRecord.objects.update_or_create(task_id=listed()[0], defaults={"status": "failed"})
listed()
following.follow()"""
    file = tmp_path / "index.sqlite3"

    [result] = run(f"{code}\n{EQUALS}", urls | {"INDEX": str(file)})

    assert result == [True, TASKS - 1, ""]
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.django_db(databases="__all__")
def test_odd_rows_are_indexed_as_they_are(store):
    ids = odd_rows.fill(store)
    test_index.look()

    test_index.assert_equals_a_full_scan()
    assert {row["thread_id"] for row in test_index.index()} >= set(ids)
