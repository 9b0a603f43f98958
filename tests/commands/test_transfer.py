"""Tests of exporting, importing and copying threads."""

import gc
import io
import json
import os
import re
import signal
import sqlite3
import stat
import subprocess
import sys
import time
import tracemalloc
import uuid
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import quote

import msgspec
import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.core.management.base import OutputWrapper
from django.db import connections
from psycopg.rows import dict_row

from gloamy_site import routers
from tasks.maintenance import transfer
from tasks.maintenance.export_format import Checkpoint as TransferCheckpoint
from tasks.maintenance.export_format import End, Header, Task
from tasks.maintenance.progress import Progress
from tasks.models import TaskRecord
from tasks.service import record_checkpoint, save_snapshot
from tasks.store import workspace
from tasks.store.statements import TaskRow
from tests.support.factories import (
    checkpoint,
    only_postgresql,
    only_sqlite,
    overwrite,
    rows,
    snapshot,
    task,
    update,
)
from tests.support.processes import ROOT, run_python

pytestmark = pytest.mark.django_db(databases="__all__")

NUL = "\0"
TIME = "2026-01-01T00:00:00+00:00"


def run(command, *args, **options):
    """Run a management command, and return (success, standard output, standard error)."""
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command(command, *map(str, args), stdout=out, stderr=err, **options)
    except CommandError as error:
        return False, out.getvalue(), err.getvalue() + str(error)
    return True, out.getvalue(), err.getvalue()


def fill():
    record_checkpoint(update(step_index=2, checkpoint_note="second first"))
    record_checkpoint(update(step_index=1))
    save_snapshot(snapshot(status="completed", final_response="é 🚀 \x1b \u2028"))
    record_checkpoint(update(task_id="b /ü", thread_id="b /ü"))
    task("", status="Paused ", execution_history_json='[ {"content":"\\u0000","role":"user"} ]')


def store_rows(store):
    """Return the rows of both tables, leaving out the checkpoints' ids but keeping their order."""
    steps = [
        {name: value for name, value in row.items() if name != "id"}
        for row in rows(store, "task_checkpoints")
    ]
    # the sort is stable, so the checkpoints of each task stay in id order
    return rows(store, "task_records"), sorted(steps, key=lambda row: row["task_id"])


def empty(store):
    with store.cursor() as cursor:
        cursor.execute("DELETE FROM task_records")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "threads.jsonl"


@contextmanager
def url_of_new(kind, tmp_path, store):
    """Create an empty database and yield its URL."""
    if kind == "sqlite":
        yield f"sqlite:///{tmp_path}/copy.db"
        return
    server, name = store.settings_dict, f"copy_{uuid.uuid4().hex}"
    address = {"host": server["HOST"], "port": 5432, "user": "postgres"}
    with psycopg.connect(**address, dbname="postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield f"postgres://postgres@{quote(server['HOST'], safe='')}:5432/{name}"
    with psycopg.connect(**address, dbname="postgres", autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


# Export and import


def test_round_trip_preserves_every_byte(store, file):
    fill()
    before = store_rows(store)

    assert run("export_threads", file) == (True, "", "")
    empty(store)
    assert run("import_threads", file) == (True, "3 imported\n", "")

    assert store_rows(store) == before
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_export_selected_threads(store, file):
    fill()

    succeeded, _, error = run("export_threads", file, "--thread", "b /ü", "--thread", "none")

    lines = [json.loads(line) for line in file.read_bytes().splitlines()]
    assert [line.get("task_id") for line in lines] == [None, "b /ü", None]
    assert lines[0] == {"line": "header", "format": "gloamy tasks", "version": 1}
    assert lines[-1] == {"line": "end", "tasks": 1, "checkpoints": 1}
    assert (succeeded, error) == (
        False,
        "There is no thread 'none'.\nSome threads could not be exported.",
    )


def test_export_to_standard_output(store, file, capfdbinary):
    fill()
    run("export_threads", file)
    run("export_threads")
    assert capfdbinary.readouterr().out == file.read_bytes()


def test_export_does_not_overwrite_the_files_of_the_site(store, tmp_path, monkeypatch, settings):
    settings.BASE_DIR = tmp_path
    names = ["secret_key", "tasks.db", "site.sqlite3", "site.sqlite3-wal", "link", "second name"]
    files = [tmp_path / name for name in names]
    for file in files[:-2]:
        file.write_bytes(b"before")
    files[-2].symlink_to(files[1])
    files[-1].hardlink_to(files[1])
    for alias, file in (("tasks", files[1]), ("default", files[2])):
        monkeypatch.setitem(connections[alias].settings_dict, "NAME", str(file))
    monkeypatch.setattr(workspace, "require_store", lambda: None)  # it is not a real one
    monkeypatch.setattr("tasks.management.commands.export_threads.Command.requires", ())

    for file in [*files, tmp_path / "tasks.db-wal", tmp_path / "x" / ".." / "tasks.db"]:
        for command in (["export_threads", file], ["copy_store", "--to", f"sqlite:///{file}"]):
            succeeded, _, error = run(*command)
            assert (succeeded, error.endswith("which the site needs. Choose another file.")) == (
                False,
                True,
            ), error

    assert {file.read_bytes() for file in files} == {b"before"}
    assert not (tmp_path / "tasks.db-wal").exists()


def test_failed_export_preserves_the_previous_file(store, file, monkeypatch):
    file.write_text("before")
    fill()
    monkeypatch.setattr(transfer, "read_task", lambda task_id: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run("export_threads", file)
    assert [path.read_text() for path in file.parent.iterdir()] == ["before"]


def test_task_ids_reads_all_pages(store, monkeypatch):
    monkeypatch.setattr(transfer, "PAGE_SIZE", 2)
    names = ["", "a", "b", "é", "🚀"]
    for name in names:
        task(name)
    assert list(transfer.task_ids()) == names


def test_second_import_writes_nothing(store, file, store_queries):
    fill()
    run("export_threads", file)
    with store_queries() as queries:
        assert run("import_threads", file) == (True, "3 already stored\n", "")
    verbs = {query["sql"].split()[0] for query in queries}
    assert verbs <= {"SELECT", "BEGIN", "COMMIT", "SAVEPOINT", "RELEASE"}


def test_different_content_is_rejected_unless_replaced(store, file):
    fill()
    run("export_threads", file)
    before = store_rows(store)
    record_checkpoint(update(step_index=9))
    modified = store_rows(store)

    succeeded, out, error = run("import_threads", file)
    assert (succeeded, out) == (False, "2 already stored\n")
    assert "Line 4: 'telegram_42' already exists with other content." in error
    assert store_rows(store) == modified

    assert run("import_threads", file, "--replace")[:2] == (True, "2 already stored, 1 imported\n")
    assert store_rows(store) == before


def test_interrupted_import_can_be_repeated(store, file, monkeypatch):
    fill()
    before = store_rows(store)
    run("export_threads", file)
    empty(store)
    put, calls = transfer.write_task, iter([True, False])

    def put_once(task, **options):
        if not next(calls):
            raise KeyboardInterrupt
        return put(task, **options)

    monkeypatch.setattr(transfer, "write_task", put_once)
    with pytest.raises(KeyboardInterrupt):
        run("import_threads", file)
    monkeypatch.setattr(transfer, "write_task", put)

    assert run("import_threads", file)[:2] == (True, "1 already stored, 2 imported\n")
    assert store_rows(store) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task_id": 1}, "field task_id: Expected `str`, got `int`"),
        ({"surplus": 1}, "Object contains unknown field `surplus`"),
        ({"model": ...}, "Object missing required field `model`"),
        ({"checkpoint_count": "1"}, "field checkpoint_count: Expected `int`, got `str`"),
        ({"checkpoint_count": -1}, "field checkpoint_count: -1 is less than 0"),
        ({"checkpoint_count": 2**63}, "field checkpoint_count: Expected `int` <= "),
        ({"execution_history_json": "[1]"}, "field execution_history_json: [0] is not an object"),
        ({"resumable_history_json": "{"}, "field resumable_history_json: Input data was truncated"),
        ({"created_at": "2026-01-01T00:00:00Z"}, "field created_at: '2026-01-01T00:00:00Z' is no"),
        (
            {"updated_at": "2026-02-30T00:00:00+00:00"},
            "field updated_at: '2026-02-30T00:00:00+00:00' is not a timestamp",
        ),
        ({"completed_at": "yesterday"}, "field completed_at: 'yesterday' is not a timestamp"),
        ({"checkpoints": [{}]}, "field checkpoints[0]: Object missing required field `step_index`"),
    ],
)
def test_invalid_line_is_reported_and_valid_ones_are_stored(store, file, change, message):
    fill()
    before = store_rows(store)
    run("export_threads", file)
    header, *lines, end = file.read_text(encoding="utf-8").strip("\n").split("\n")
    invalid = json.loads(lines[0]) | {"task_id": "bad"} | change
    invalid = {name: value for name, value in invalid.items() if value is not ...}
    file.write_text("\n".join([header, json.dumps(invalid), *lines, end]), encoding="utf-8")
    empty(store)

    assert run("import_threads", file, "--dry-run")[1] == "3 valid\n"
    assert store_rows(store) == ([], [])
    succeeded, out, output = run("import_threads", file)

    assert (succeeded, out) == (False, "3 imported\n")
    assert f"Line 2: {message}" in output
    assert store_rows(store) == before


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("step_index", -1, "step_index: -1 is less than 0"),
        ("items_json", "{}", "items_json: "),
        ("created_at", "", "created_at: '' is not a timestamp"),
    ],
)
def test_invalid_checkpoint_is_reported(store, file, name, value, message):
    checkpoint(task())
    overwrite(store, "task_checkpoints", name, value)
    run("export_threads", file)
    assert f"Line 2: field checkpoints[0].{message}" in run("import_threads", file)[2]


@pytest.mark.parametrize("name", ["model", "step_index"])
def test_repeated_field_is_reported(store, file, name):
    checkpoint(task())
    run("export_threads", file)
    lines = re.sub(rf'("{name}":)([^,]+)', r"\1\2,\1\2", file.read_text(encoding="utf-8"))
    file.write_text(lines, encoding="utf-8")
    assert run("import_threads", file)[2].startswith(f"Line 2: field {name}: is given twice.")


def test_file_with_spaces_is_imported(store, file):
    fill()
    run("export_threads", file)
    lines = map(json.loads, file.read_bytes().splitlines())
    file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    assert run("import_threads", file) == (True, "3 already stored\n", "")


@pytest.mark.parametrize("missing", [1, 60, 700])
def test_truncated_file_is_reported(store, file, missing):
    fill()
    run("export_threads", file)
    file.write_bytes(file.read_bytes()[: -50 - missing])
    succeeded, _, error = run("import_threads", file)
    assert not succeeded
    assert "The file is truncated: its last line is missing." in error


@pytest.mark.parametrize("text", ["", "{}", '{"line":"header","format":"x","version":1}', "PK\x03"])
def test_other_file_formats_are_rejected(store, file, text):
    file.write_text(text)
    succeeded, _, error = run("import_threads", file)
    assert not succeeded
    assert "This is not an export" in error or "truncated" in error


def test_pipe_is_rejected_without_waiting_for_a_writer(store, file):
    os.mkfifo(file)
    succeeded, _, error = run("import_threads", file)
    assert (succeeded, error) == (
        False,
        f"{file} is not a regular file. Redirect it to standard input.",
    )


def test_terminal_is_rejected_without_waiting_for_input(store, monkeypatch):
    device = os.open("/dev/zero", os.O_RDONLY)
    monkeypatch.setattr("os.fstat", lambda handle, fstat=os.fstat: fstat(handle or device))
    assert run("import_threads")[2] == "Standard input is a device: name a file, or redirect one."
    os.close(device)


def test_missing_file_is_reported(store, file):
    assert run("import_threads", file) == (False, "", f"{file}: No such file or directory.")


@only_sqlite
def test_values_json_cannot_hold_are_reported_and_skipped(store, file):
    fill()
    task("blob")
    with store.cursor() as cursor:
        cursor.execute("UPDATE task_records SET model = x'ff' WHERE task_id = 'blob'")
        cursor.execute("UPDATE task_records SET task_id = CAST(x'61ff' AS TEXT) WHERE task_id = ''")
        cursor.execute(
            "INSERT INTO task_records SELECT NULL, thread_id, channel, provider, model,"
            " status, '', '', NULL, 0, NULL, NULL, '', '', NULL FROM task_records"
            " LIMIT 1"
        )
    succeeded, _, error = run("export_threads", file)
    assert not succeeded
    assert error.splitlines() == [
        "Skipped: b'a\\xff' field task_id: Expected `str`, got `bytes`.",
        "Skipped: 'blob' field model: Expected `str`, got `bytes`.",
        "Tasks skipped because their IDs are not text: 1.",
        "Some threads could not be exported.",
    ]
    assert json.loads(file.read_bytes().splitlines()[-1])["tasks"] == 2


def test_import_into_new_workspace_and_export_from_missing_one(tmp_path):
    def manage(*arguments):
        own = {"GLOAMY_WORKSPACE": f"{tmp_path}/w", "SITE_DATABASE_URL": f"sqlite:///{tmp_path}/s"}
        return run_python("manage.py", *map(str, arguments), **own)

    (tmp_path / "w").mkdir()
    source = tmp_path / "w" / "state" / "tasks.db"
    result = manage("export_threads")
    assert (result.stdout, result.stderr) == ("", f"CommandError: There is no file {source}.\n")
    result = manage("copy_store", "--to", f"sqlite:///{tmp_path}/copy.db")
    assert (result.stdout, result.stderr) == ("", f"CommandError: There is no file {source}.\n")
    assert os.listdir(tmp_path) == ["w"]
    (tmp_path / "e").write_bytes(b"\n".join(map(msgspec.json.encode, [Header(), End(0, 0)])))
    assert manage("import_threads", "--dry-run", tmp_path / "e").stdout == "0 tasks\n"
    assert not source.exists()
    result = manage("import_threads", tmp_path / "e")
    assert (result.stdout, result.stderr, source.exists()) == ("0 tasks\n", "", True)
    assert manage("check_store").returncode == 0


def test_killed_import_can_be_repeated(store, file, tmp_path):
    """Kill an import that has received only part of the file, then import the complete file."""
    history, threshold = json.dumps([{"role": "user", "content": "x" * 200_000}]), 8
    lines = [msgspec.json.encode(Header())]
    for number in range(60):
        steps = [TransferCheckpoint(9 - i, f"{i}", "[]", TIME) for i in range(3)]
        ids = dict(zip(TaskRow._fields, [f"t{number:02}"] * 15, strict=True))
        texts = {"execution_history_json": history, "resumable_history_json": "[]"}
        times = {"created_at": TIME, "updated_at": TIME, "completed_at": None}
        fields: dict[str, Any] = ids | texts | times | {"checkpoint_count": 3}
        lines.append(msgspec.json.encode(Task(**fields, checkpoints=steps)))
    lines.append(msgspec.json.encode(End(60, 180)))
    file.write_bytes(b"".join(line + b"\n" for line in lines))

    with url_of_new(store.vendor, tmp_path, store) as url:
        own = {"TASKS_DATABASE_URL": url, "SITE_DATABASE_URL": f"sqlite:///{tmp_path}/site"}
        exported = tmp_path / "again"
        partial = lines[: threshold + 10]
        with subprocess.Popen(
            [sys.executable, "manage.py", "import_threads"],
            cwd=ROOT,
            env={k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"} | own,
            stdin=subprocess.PIPE,
        ) as killed:
            assert killed.stdin is not None
            killed.stdin.write(b"\n".join([*partial, lines[threshold + 10][:99]]))
            killed.stdin.flush()
            try:
                wait_for_tasks(url, threshold)
            finally:
                killed.kill()
        assert killed.returncode == -signal.SIGKILL
        assert threshold <= count_tasks(url) < len(partial)

        count = count_tasks(url)
        result = run_python("manage.py", "import_threads", str(file), **own)
        assert (result.stdout, result.stderr) == (
            f"{count} already stored, {60 - count} imported\n",
            "",
        )
        assert run_python("manage.py", "export_threads", str(exported), **own).returncode == 0
        assert exported.read_bytes() == file.read_bytes()


def count_tasks(url):
    """Count the tasks over a separate connection; return 0 if there is no table yet."""
    open_ = psycopg.connect if url.startswith("postgres") else sqlite3.connect
    name = url if url.startswith("postgres") else url.removeprefix("sqlite:///")
    with closing(open_(name)) as connection:
        try:
            [[count]] = connection.execute("SELECT count(*) FROM task_records")
            return count
        except (psycopg.errors.UndefinedTable, sqlite3.OperationalError):
            return 0


def wait_for_tasks(url, number):
    deadline = time.monotonic() + 60
    while count_tasks(url) < number:
        assert time.monotonic() < deadline
        time.sleep(0.005)


@contextmanager
def peak_of_memory():
    """Yield a list; when the block ends, its peak memory use in bytes is added to the list."""
    peaks: list[int] = []
    gc.collect()
    tracemalloc.start()
    try:
        yield peaks
        peaks.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("command", ["export_threads", "import_threads", "copy_store"])
def test_memory_does_not_grow_with_the_number_of_tasks(store, file, tmp_path, other, command):
    size = 1_000_000
    peaks: list[int] = []
    history = json.dumps([{"role": "user", "content": "x" * size}])
    for number in (2, 12):
        for index in range(number):
            task(f"t{index}", execution_history_json=history)
        arguments = ["--to", f"sqlite:///{tmp_path}/{number}.db"]
        if command != "copy_store":
            arguments = [file]
        if command == "import_threads":
            run("export_threads", file)
            empty(store)
        with peak_of_memory() as peak:
            assert run(command, *arguments)[0]
        peaks += peak
        empty(store)
    assert size < peaks[0]
    assert peaks[1] < peaks[0] + size / 2  # the second run had ten more tasks


# Copying between databases


@pytest.mark.parametrize(
    ("store", "kind"),
    [("sqlite", "sqlite"), ("postgresql", "sqlite"), ("postgresql", "postgresql")],
    indirect=["store"],
)
def test_copy_to_another_database_and_back(store, kind, tmp_path, other):
    fill()
    before = store_rows(store)
    with url_of_new(kind, tmp_path, store) as url:
        succeeded, out, _ = run("copy_store", "--to", url)
        source, target, summary = out.splitlines()
        copy = tmp_path / "copy.db"
        assert not copy.exists() or stat.S_IMODE(copy.stat().st_mode) == 0o600
        assert (succeeded, summary) == (True, "The stores are identical.")
        assert source.removeprefix("source") == target.removeprefix("target")
        empty(store)
        succeeded, out_back, _ = run("copy_store", "--from", url)
        assert (succeeded, out_back) == (True, out)
    assert store_rows(store) == before


@only_postgresql
def test_copy_from_sqlite_to_postgresql_and_back(store, tmp_path, other, monkeypatch):
    with url_of_new("postgresql", tmp_path, store) as url:
        monkeypatch.setattr(routers, "STORE", "tasks")
        sqlite = connections["tasks"]
        fill()
        before = store_rows(sqlite)
        succeeded, out, _ = run("copy_store", "--to", url)
        assert succeeded
        with psycopg.connect(url, row_factory=dict_row) as connection:
            execute = connection.execute
            tasks = execute("SELECT * FROM task_records ORDER BY task_id").fetchall()
            steps = execute("SELECT * FROM task_checkpoints ORDER BY task_id, id").fetchall()
        assert (tasks, [row | {"id": 0} for row in steps]) == (
            before[0],
            [row | {"id": 0} for row in before[1]],
        )
        empty(sqlite)
        succeeded, out_back, _ = run("copy_store", "--from", url)
        assert (succeeded, out_back) == (True, out)
        assert re.fullmatch(
            r"source: (3 tasks [0-9a-f]{32}, 3 checkpoints [0-9a-f]{32})\n"
            r"target: \1\nThe stores are identical\.\n",
            out_back,
        )
    assert store_rows(sqlite) == before


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE task_checkpoints SET step_index = step_index + 1 WHERE task_id = 'b /ü'",
        "UPDATE task_records SET last_error = '' WHERE task_id = 'b /ü'",
        "DELETE FROM task_checkpoints WHERE task_id = 'b /ü'",
    ],
)
def test_copy_reports_differences(store, tmp_path, other, monkeypatch, statement):
    fill()
    original = transfer.unreachable_rows

    def modify_target(using):
        with connections["other"].cursor() as cursor:
            cursor.execute(statement)
        return original(using)

    monkeypatch.setattr(transfer, "unreachable_rows", modify_target)
    succeeded, out, error = run("copy_store", "--to", f"sqlite:///{tmp_path}/copy.db")
    source, target = out.splitlines()
    assert (succeeded, error) == (False, "The stores differ.")
    assert source.removeprefix("source") != target.removeprefix("target")


def test_copy_rejects_a_target_with_extra_tasks_unless_replaced(store, tmp_path, other):
    url = f"sqlite:///{tmp_path}/copy.db"
    fill()
    run("copy_store", "--to", url)
    empty(store)
    task("another")
    succeeded, _, error = run("copy_store", "--to", url)
    assert (succeeded, error) == (False, "The target has other tasks, such as ''; see --replace.")
    assert run("copy_store", "--to", url, "--replace")[0]
    assert run("copy_store", "--from", url)[0]
    assert [row["task_id"] for row in rows(store, "task_records")] == ["another"]


def test_copy_from_a_missing_file(store, tmp_path):
    file = tmp_path / "none.db"
    assert run("copy_store", "--from", f"sqlite:///{file}")[2] == f"There is no file {file}."
    assert not file.exists()


@pytest.mark.parametrize("command", ["import_threads", "copy_store"])
def test_long_lock_causes_a_warning(store, file, tmp_path, other, monkeypatch, command):
    fill()
    run("export_threads", file)
    empty(store)
    task("slow")
    monkeypatch.setattr(transfer, "AGENT_TIMEOUT", 0)
    arguments = ["--to", f"sqlite:///{tmp_path}/copy.db"] if command == "copy_store" else [file]
    succeeded, _, error = run(command, *arguments)
    assert succeeded
    is_shared = store.vendor == "sqlite" or command == "copy_store"
    expected = "kept the file locked for 0 seconds: an agent waits 0, and may have lost a write."
    assert (expected in error) == is_shared


def test_nul_is_replaced_where_the_database_cannot_store_it(store, file):
    fill()
    run("export_threads", file)
    lines = file.read_text(encoding="utf-8").strip("\n").split("\n")
    changed = json.loads(lines[1]) | {"task_id": "n", "last_error": f"a{NUL}"}
    file.write_text("\n".join([lines[0], json.dumps(changed), lines[-1]]), encoding="utf-8")
    assert run("import_threads", file)[0]
    expected = {"sqlite": f"a{NUL}", "postgresql": "a\ufffd"}[store.vendor]
    assert TaskRecord.objects.get(task_id="n").last_error == expected
    assert run("import_threads", file)[0]  # the thread is recognized as already imported


# The progress bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("total", "bar"), [(4, "[###############               ]  50% "), (0, "")])
def test_progress_bar_on_a_terminal(total, bar):
    terminal = Terminal()
    progress = Progress(OutputWrapper(terminal), total)
    progress.show(2, "2 tasks")
    progress.clear()
    assert terminal.getvalue() == f"\r\x1b[K{bar}2 tasks\r\x1b[K"
