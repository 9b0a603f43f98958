"""Tests with a PostgreSQL server that stops, restarts, or refuses connections or writes."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from django.test import Client

from tasks import service
from tasks.service import (
    StoreBusyError,
    StoreError,
    StoreFullError,
    StoreMissingError,
    StoreReadOnlyError,
    StoreUnavailableError,
    StoreUncertainError,
)
from tasks.store import workspace
from tests.support import postgres
from tests.support.factories import loaded, only_postgresql, rows, snapshot, update

pytestmark = [pytest.mark.django_db(databases="__all__", transaction=True), only_postgresql]

VERBS: list[Callable[[], object]] = [
    lambda: service.record_checkpoint(update(step_index=2)),
    lambda: service.save_snapshot(snapshot()),
    lambda: service.delete_by_thread_id("telegram_42"),
    lambda: service.load_by_thread_id("telegram_42"),
    lambda: service.load_resumable_state("telegram_42"),
]


@contextmanager
def settings_of(store, **changed: Any) -> Iterator[None]:
    before = {name: store.settings_dict[name] for name in changed}
    store.close()
    store.settings_dict.update(changed)
    try:
        yield
    finally:
        store.close()
        store.settings_dict.update(before)


def page(store, client: Client) -> tuple[int, str]:
    response = client.get("/")
    store.close()
    return response.status_code, response.content.decode()


class Restartable:
    """A running PostgreSQL server that can be stopped and restarted."""

    def __init__(self, folder: str):
        self.pid_file = Path(folder, "data", "postmaster.pid")
        pid = self.pid_file.read_text().split()[0]
        self.command = Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]
        self.again: subprocess.Popen[bytes] | None = None

    def stop(self) -> None:
        os.kill(int(self.pid_file.read_text().split()[0]), signal.SIGINT)
        while self.pid_file.exists():
            time.sleep(0.02)
        if self.again is not None:
            self.again.wait(10)

    def start(self) -> None:
        self.again = subprocess.Popen(
            self.command, cwd="/", stderr=subprocess.DEVNULL, **postgres._account()
        )


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="Linux tells how to restart.")
def test_verbs_recover_when_the_server_restarts(store, viewer: Client, tmp_path: Path):
    with postgres.running_postgres(tmp_path) as server, settings_of(store, **server):
        workspace.open_store()
        service.record_checkpoint(update())
        running = Restartable(server["HOST"])
        running.stop()

        start = time.monotonic()
        for verb in VERBS * 2:
            with pytest.raises(StoreUnavailableError, match="cannot be opened or does not respond"):
                verb()
        code, content = page(store, viewer)
        assert (code, workspace.location() in content) == (503, True)
        assert time.monotonic() - start < 5

        running.start()
        try:
            wait_for(lambda: service.load_by_thread_id("telegram_42"))
            service.record_checkpoint(update(step_index=2))
            assert [step.step_index for step in loaded().checkpoints] == [1, 2]
            assert page(store, viewer)[0] == 200
        finally:
            store.close()
            running.stop()


def wait_for(call: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            call()
            return
        except StoreUnavailableError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.parametrize("verb", VERBS, ids=["record", "save", "delete", "load", "resume"])
def test_verb_whose_connection_was_closed_runs_once_on_another(store, verb: Callable[[], object]):
    service.record_checkpoint(update())
    with store.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        [ended] = cursor.fetchone()
    other = store.copy()
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", (ended,))
    other.close()

    verb()

    steps = {VERBS[0]: [1, 2], VERBS[2]: []}.get(verb, [1])
    assert [row["step_index"] for row in rows(store, "task_checkpoints")] == steps


@contextmanager
def failing(store, body: str, when: str = "TRIGGER fail BEFORE INSERT", how: str = "") -> Iterator:
    """Let the statements of `body` run on the server for each new checkpoint."""
    with store.cursor() as cursor:
        cursor.execute(
            "CREATE SEQUENCE attempts; CREATE FUNCTION fail() RETURNS trigger AS $$"
            f" BEGIN {body} RETURN NEW; END $$ LANGUAGE plpgsql;"
            f"CREATE {when} ON task_checkpoints {how} FOR EACH ROW EXECUTE FUNCTION fail()"
        )
    try:
        yield
    finally:
        with store.cursor() as cursor:
            cursor.execute("DROP FUNCTION fail CASCADE; DROP SEQUENCE attempts")


@pytest.mark.parametrize("state", ["40001", "40P01"])
def test_write_that_met_another_is_repeated(store, state: str):
    conflict = f"RAISE EXCEPTION 'as asked' USING ERRCODE = '{state}';"
    with failing(store, f"IF nextval('attempts') < 3 THEN {conflict} END IF;"):
        service.record_checkpoint(update())
    assert loaded().checkpoint_count == len(rows(store, "task_checkpoints")) == 1


def test_write_in_a_transaction_of_the_caller_is_not_repeated(store):
    conflict = "PERFORM nextval('attempts'); RAISE EXCEPTION 'as asked' USING ERRCODE = '40001';"
    with failing(store, conflict), store.cursor() as cursor:
        with pytest.raises(StoreBusyError), transaction.atomic(store.alias):
            service.record_checkpoint(update())
        cursor.execute("SELECT last_value FROM attempts")
        assert cursor.fetchone() == (1,)


def test_connection_lost_during_the_commit_leaves_the_outcome_open(store):
    how = "DEFERRABLE INITIALLY DEFERRED"
    with (
        failing(
            store,
            "PERFORM pg_terminate_backend(pg_backend_pid());",
            "CONSTRAINT TRIGGER fail AFTER INSERT",
            how,
        ),
        pytest.raises(StoreUncertainError, match="the write may be in it; load the thread"),
    ):
        service.record_checkpoint(update())
    service.record_checkpoint(update())
    assert loaded().checkpoint_count == 1


def test_server_that_never_answers_times_out_as_configured(store, viewer: Client):
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        address = {"HOST": "127.0.0.1", "PORT": mute.getsockname()[1], "PASSWORD": "secret"}
        with settings_of(store, **address, OPTIONS={"connect_timeout": 2}):
            start = time.monotonic()
            with pytest.raises(StoreUnavailableError) as caught:
                service.load_by_thread_id("telegram_42")
            assert time.monotonic() - start < 10
            assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"HOST": "127.0.0.1", "PORT": 1}, StoreUnavailableError),  # refuses connections
        ({"HOST": "/nowhere"}, StoreUnavailableError),
        ({"NAME": "no_such_database"}, (StoreMissingError, StoreUnavailableError)),
        ({"USER": "nobody_we_know"}, StoreUnavailableError),
    ],
)
def test_unreachable_server_is_reported(store, viewer: Client, changed, error):
    with settings_of(store, **changed):
        for verb in VERBS:
            with pytest.raises(error, match=r"^The store at "):
                verb()
        code, content = page(store, viewer)

    assert code == 503
    assert "The store at" in content
    assert page(store, viewer)[0] == 200


def test_read_only_server_is_reported(store):
    service.record_checkpoint(update())
    for statement in (
        "SET default_transaction_read_only = on",
        "CREATE ROLE reader; GRANT SELECT ON task_records TO reader; SET ROLE reader",
    ):
        with store.cursor() as cursor:
            cursor.execute(statement)
        with pytest.raises(StoreReadOnlyError, match="cannot be written"):
            service.record_checkpoint(update(step_index=2))
    with store.cursor() as cursor:
        cursor.execute("DROP OWNED BY reader; DROP ROLE reader")

    service.record_checkpoint(update(step_index=2))
    assert loaded().checkpoint_count == 2


@pytest.mark.parametrize(
    ("state", "error"),
    [
        ("53100", StoreFullError),
        ("53300", StoreUnavailableError),
        ("40P01", StoreBusyError),
        ("40001", StoreBusyError),
        ("57014", StoreBusyError),
        ("57P01", StoreUnavailableError),
        ("08006", StoreUnavailableError),
        ("XX001", service.StoreDamagedError),
        ("P0001", StoreError),
    ],
)
def test_each_sqlstate_has_its_error(store, state: str, error: type[StoreError]):
    """Each SQLSTATE is raised by a trigger because a test cannot cause all of them for real."""
    with store.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION fail() RETURNS trigger AS $$"
            f" BEGIN RAISE EXCEPTION 'as asked' USING ERRCODE = '{state}'; END $$ LANGUAGE plpgsql;"
            "CREATE TRIGGER fail BEFORE INSERT ON task_checkpoints EXECUTE FUNCTION fail()"
        )
    try:
        with pytest.raises(error, match="as asked") as caught:
            service.record_checkpoint(update())
    finally:
        with store.cursor() as cursor:
            cursor.execute("DROP FUNCTION fail CASCADE")

    assert type(caught.value) is error
    assert rows(store, "task_records") == []
