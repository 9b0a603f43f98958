"""Moving stores: to a file and back, and from one database to another."""

import io
import json
import stat
import tracemalloc
import uuid
from contextlib import contextmanager
from urllib.parse import quote

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.core.management.base import OutputWrapper
from django.db.backends.base.base import BaseDatabaseWrapper

from tasks import transfer
from tasks.progress import Progress
from tasks.service import record_checkpoint, save_snapshot
from tests.factories import checkpoint, only_sqlite, overwrite, rows, snapshot, task, update

pytestmark = pytest.mark.django_db(databases="__all__")

NUL = "\0"


def run(command, *args, **options):
    """What the command says: (whether it succeeded, standard output, standard error)."""
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


def stored(store):
    """Both tables but for the checkpoints' ids, which are there as an order only."""
    steps = [
        {name: value for name, value in row.items() if name != "id"}
        for row in rows(store, "task_checkpoints")
    ]
    # a stable sort: within a task, the order of ids
    return rows(store, "task_records"), sorted(steps, key=lambda row: row["task_id"])


def empty(store):
    with store.cursor() as cursor:
        cursor.execute("DELETE FROM task_records")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "threads.jsonl"


@contextmanager
def url_of_new(kind, tmp_path, store):
    """The address of an empty database of that kind."""
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


# Out and in


def test_round_trip_keeps_every_byte(store, file):
    fill()
    before = stored(store)

    assert run("export_threads", file) == (True, "", "")
    empty(store)
    assert run("import_threads", file) == (True, "3 imported\n", "")

    assert stored(store) == before
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_export_of_some_threads(store, file):
    fill()

    done, _, said = run("export_threads", file, "--thread", "b /ü", "--thread", "none")

    lines = [json.loads(line) for line in file.read_bytes().splitlines()]
    assert [line.get("task_id") for line in lines] == [None, "b /ü", None]
    assert lines[0] == {"line": "header", "format": "gloamy tasks", "version": 1}
    assert lines[-1] == {"line": "end", "tasks": 1, "checkpoints": 1}
    assert (done, said) == (False, "There is no thread 'none'.\nNot everything was exported.")


def test_export_to_standard_output(store, file, capfdbinary):
    fill()
    run("export_threads", file)
    run("export_threads")
    assert capfdbinary.readouterr().out == file.read_bytes()


def test_failed_export_leaves_the_file_there_was(store, file, monkeypatch):
    file.write_text("before")
    fill()
    monkeypatch.setattr(transfer, "read", lambda task_id: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run("export_threads", file)
    assert [path.read_text() for path in file.parent.iterdir()] == ["before"]


def test_all_pages_of_ids_are_read(store, monkeypatch):
    monkeypatch.setattr(transfer, "PAGE", 2)
    names = ["", "a", "b", "é", "🚀"]
    for name in names:
        task(name)
    assert list(transfer.task_ids()) == names


def test_second_import_writes_nothing(store, file, store_queries):
    fill()
    run("export_threads", file)
    with store_queries() as queries:
        assert run("import_threads", file) == (True, "3 there already\n", "")
    verbs = {query["sql"].split()[0] for query in queries}
    assert verbs <= {"SELECT", "BEGIN", "COMMIT", "SAVEPOINT", "RELEASE"}


def test_other_content_is_refused_unless_replaced(store, file):
    fill()
    run("export_threads", file)
    before = stored(store)
    record_checkpoint(update(step_index=9))
    changed = stored(store)

    done, out, said = run("import_threads", file)
    assert (done, out) == (False, "2 there already\n")
    assert "Line 4: 'telegram_42' is there with other content." in said
    assert stored(store) == changed

    assert run("import_threads", file, "--replace")[:2] == (True, "2 there already, 1 imported\n")
    assert stored(store) == before


def test_interrupted_import_goes_on_when_run_again(store, file, monkeypatch):
    fill()
    before = stored(store)
    run("export_threads", file)
    empty(store)
    put, calls = transfer.put, iter([True, False])

    def put_once(task, **options):
        if not next(calls):
            raise KeyboardInterrupt
        return put(task, **options)

    monkeypatch.setattr(transfer, "put", put_once)
    with pytest.raises(KeyboardInterrupt):
        run("import_threads", file)
    monkeypatch.setattr(transfer, "put", put)

    assert run("import_threads", file)[:2] == (True, "1 there already, 2 imported\n")
    assert stored(store) == before


@pytest.mark.parametrize(
    ("change", "said"),
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
            "field updated_at: '2026-02-30T00:00:00+00:00' is no timestamp",
        ),
        ({"completed_at": "yesterday"}, "field completed_at: 'yesterday' is no timestamp"),
        ({"checkpoints": [{}]}, "field checkpoints[0]: Object missing required field `step_index`"),
    ],
)
def test_bad_line_is_named_and_the_good_ones_are_stored(store, file, change, said):
    fill()
    before = stored(store)
    run("export_threads", file)
    header, *lines, end = file.read_text(encoding="utf-8").strip("\n").split("\n")
    bad = json.loads(lines[0]) | {"task_id": "bad"} | change
    bad = {name: value for name, value in bad.items() if value is not ...}
    file.write_text("\n".join([header, json.dumps(bad), *lines, end]), encoding="utf-8")
    empty(store)

    assert run("import_threads", file, "--dry-run")[1] == "3 valid\n"
    assert stored(store) == ([], [])
    done, out, heard = run("import_threads", file)

    assert (done, out) == (False, "3 imported\n")
    assert f"Line 2: {said}" in heard
    assert stored(store) == before


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("step_index", -1, "step_index: -1 is less than 0"),
        ("items_json", "{}", "items_json: "),
        ("created_at", "", "created_at: '' is no timestamp"),
    ],
)
def test_bad_checkpoint_is_named(store, file, name, value, said):
    checkpoint(task())
    overwrite(store, "task_checkpoints", name, value)
    run("export_threads", file)
    assert f"Line 2: field checkpoints[0].{said}" in run("import_threads", file)[2]


@pytest.mark.parametrize("lost", [1, 60, 700])
def test_file_cut_off_is_said_to_be(store, file, lost):
    fill()
    run("export_threads", file)
    file.write_bytes(file.read_bytes()[: -50 - lost])
    done, _, said = run("import_threads", file)
    assert not done
    assert "The file was cut off: its last line is missing." in said


@pytest.mark.parametrize("text", ["", "{}", '{"line":"header","format":"x","version":1}', "PK\x03"])
def test_what_is_no_export_is_refused(store, file, text):
    file.write_text(text)
    done, _, said = run("import_threads", file)
    assert not done
    assert "This is no export" in said or "cut off" in said


def test_missing_file_is_named(store, file):
    assert run("import_threads", file) == (False, "", f"{file}: No such file or directory.")


@only_sqlite
def test_what_json_cannot_hold_is_named_and_left_out(store, file):
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
    done, _, said = run("export_threads", file)
    assert not done
    assert said.splitlines() == [
        "Left out: b'a\\xff' field task_id: Expected `str`, got `bytes`.",
        "Left out: 'blob' field model: Expected `str`, got `bytes`.",
        "1 tasks have no text for an id, and are left out.",
        "Not everything was exported.",
    ]
    assert json.loads(file.read_bytes().splitlines()[-1])["tasks"] == 2


def test_large_history_takes_memory_for_one_task(store, file):
    large = json.dumps([{"role": "user", "content": "x" * 30_000_000}])
    for name in ("a", "b", "c"):
        task(name, execution_history_json=large)
    before = stored(store)
    tracemalloc.start()
    try:
        run("export_threads", file)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    empty(store)
    assert peak < 5 * len(large)  # of the three, 90 MB are stored
    assert run("import_threads", file)[1] == "3 imported\n"
    assert stored(store) == before


# From one database to another


@pytest.fixture
def other(monkeypatch):
    """Lets a test open the one database that Django did not prepare for it."""
    usual = BaseDatabaseWrapper.ensure_connection

    def ensure_connection(self):
        if self.alias != "other":
            usual(self)
        elif self.connection is None:
            self.connect()

    monkeypatch.setattr(BaseDatabaseWrapper, "ensure_connection", ensure_connection)


@pytest.mark.parametrize(
    ("store", "kind"),
    [("sqlite", "sqlite"), ("postgresql", "sqlite"), ("postgresql", "postgresql")],
    indirect=["store"],
)
def test_copy_there_and_back(store, kind, tmp_path, other):
    fill()
    before = stored(store)
    with url_of_new(kind, tmp_path, store) as url:
        done, out, _ = run("copy_store", "--to", url)
        source, target, verdict = out.splitlines()
        assert (done, verdict) == (True, "The two are the same.")
        assert source.removeprefix("source") == target.removeprefix("target")
        empty(store)
        done, again, _ = run("copy_store", "--from", url)
        assert (done, again) == (True, out)
    assert stored(store) == before


def test_copy_refuses_a_target_with_other_tasks_unless_replaced(store, tmp_path, other):
    url = f"sqlite:///{tmp_path}/copy.db"
    fill()
    run("copy_store", "--to", url)
    empty(store)
    task("another")
    done, _, said = run("copy_store", "--to", url)
    assert (done, said) == (False, "The target holds other tasks, such as ''; see --replace.")
    assert run("copy_store", "--to", url, "--replace")[0]
    assert run("copy_store", "--from", url)[0]
    assert [row["task_id"] for row in rows(store, "task_records")] == ["another"]


def test_copy_from_a_file_that_is_not_there(store, tmp_path):
    file = tmp_path / "none.db"
    assert run("copy_store", "--from", f"sqlite:///{file}")[2] == f"There is no file {file}."
    assert not file.exists()


def test_nul_is_named_where_the_database_cannot_hold_it(store, file):
    fill()
    run("export_threads", file)
    lines = file.read_text(encoding="utf-8").strip("\n").split("\n")
    changed = json.loads(lines[1]) | {"task_id": "n", "last_error": f"a{NUL}"}
    file.write_text("\n".join([lines[0], json.dumps(changed), lines[-1]]), encoding="utf-8")
    done, _, said = run("import_threads", file)
    assert done == (store.vendor == "sqlite")
    assert ("'n' field last_error: PostgreSQL holds no NUL" in said) != done


# The bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("total", "bar"), [(4, "[###############               ]  50% "), (0, "")])
def test_progress_is_shown_on_a_terminal(total, bar):
    terminal = Terminal()
    progress = Progress(OutputWrapper(terminal), total)
    progress.show(2, "2 tasks")
    progress.clear()
    assert terminal.getvalue() == f"\r\x1b[K{bar}2 tasks\r\x1b[K"
