"""Tests that agents' text cannot put control codes or forged lines into terminals and logs."""

import io
import json
import logging
import re

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from gloamy_site.logs import Formatter
from tasks.escaping import one_line
from tasks.store.workspace import store_connection
from tests.support import payloads
from tests.support.payload_store import fill_store

pytestmark = pytest.mark.django_db(databases="__all__")

FORGING = [
    *payloads.TERMINAL,
    *payloads.UNSEEN,
    *(text for text in payloads.LINES if not text.isprintable()),
]


def run(*command: str) -> str:
    """Run a management command and return everything that it writes to the terminal."""
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command(*command, stdout=out, stderr=err)
    except CommandError as error:
        err.write(str(error))
    except SystemExit:
        pass  # the command found problems and exited with an error status
    return out.getvalue() + err.getvalue()


def assert_plain(text: str) -> None:
    lines = text.split("\n")
    assert [line for line in lines if not line.isprintable()] == []
    assert not [line for line in lines if line.startswith(("FORGED", "Set-Cookie", "1b"))]


def test_one_line_escapes_non_printable_characters():
    assert one_line("plain · ünï 🦉") == "plain · ünï 🦉"
    assert one_line("a\x1b[31m\n\u202e\x9b\U000e0041") == r"a\x1b[31m\n\u202e\x9b\U000e0041"


@pytest.mark.parametrize(
    "command",
    [
        "check_store --limit 10000",
        "check_store --limit 10000 --json",
        "clear_threads --all --running",
        "clear_threads --all --running --yes",
        "clear_threads --all --yes",
        "repair_clearings --now",
        "reclaim_space",
        "empty_archive",
    ],
)
def test_commands_escape_terminal_controls(store, command: str):
    fill_store(store, FORGING)

    assert_plain(run(*command.split()))


def test_export_and_import_escape_terminal_controls(tmp_path):
    fill_store(store_connection(), FORGING)
    file = tmp_path / "threads.jsonl"

    assert_plain(run("export_threads", str(file), "--thread", FORGING[0], "--thread", "\x1b[31m"))
    head = b'{"line":"header"}\n'
    for text in FORGING:
        task = json.dumps({"line": "task", "task_id": text, text: text}).encode()
        for lines in (head + task, json.dumps({"line": text}).encode(), text.encode()):
            file.write_bytes(lines)
            output = run("import_threads", str(file))
            assert output
            assert_plain(output)


@pytest.mark.parametrize("text", ["\x1b[31m", "a\nFORGED", "\u202ex"])
@pytest.mark.parametrize(
    "command",
    [
        ["restore_threads", "1", "--{}"],
        ["clear_threads", "--{}"],
        ["clear_threads", "--older-than", "{}"],
        ["export_threads", "/no/{}"],
        ["export_threads", "--thread", "{}", "/dev/null"],
        ["import_threads", "{}"],
        ["copy_store", "--to", "{}:x"],
        ["copy_store", "--from", "sqlite:////{}"],
        ["sign_in_link", "{}"],
        ["migrate", "--{}"],
    ],
)
def test_commands_escape_their_arguments(store, command: list[str], text: str):
    output = run(*(part.format(text) for part in command))

    assert output
    assert_plain(output)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """A buffer that captures the server's log, formatted as the settings specify."""
    buffer = io.StringIO()
    for name in ("django", ""):
        [handler] = [
            candidate
            for candidate in logging.getLogger(name).handlers
            if isinstance(candidate.formatter, Formatter)
        ]
        monkeypatch.setattr(handler, "stream", buffer)
    return buffer


def test_request_cannot_forge_log_lines(log: io.StringIO, admin_client, monkeypatch):
    def fail(*args):
        raise RuntimeError("\n".join(FORGING))

    monkeypatch.setattr("tasks.views.threads.daemon", fail)
    admin_client.raise_request_exception = False
    for text in FORGING:
        path = "/no/" + text
        admin_client.get("/", {"q": text})
        admin_client.get(path, headers={"Host": "x" + re.sub("[\r\n]", "\x1b", text)})
        Client(enforce_csrf_checks=True).post("/sign-in/" + path, {"username": text})
        logging.getLogger("tasks").warning("A text: %s", text)

    assert "RuntimeError" in log.getvalue()
    assert_plain(log.getvalue())
    starts = {line.split(" ")[0] for line in log.getvalue().split("\n") if line[:2] != "  "}
    assert starts <= {"", "A", "Internal", "Invalid", "Forbidden", "Not", "Bad"}
