"""Tests that `manage.py serve` answers heavy requests in processes that end with them."""

import json
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import pytest
from django.test import RequestFactory

from gloamy_site import heavy_requests
from gloamy_site.compression import CompressionMiddleware
from gloamy_site.middleware import MaskingMiddleware
from tests.support.factories import DATA
from tests.support.sample_secrets import TOKEN
from tests.support.server import Server, sign_in

SECRET = f"the token {TOKEN} is secret"
EXPORT = "/thread/export/?id=telegram_42&format=jsonl"  # of 30 MB, more than sockets can buffer


@pytest.fixture
def browse(server: Server) -> Callable[..., Any]:
    """A function that opens a page of a running server; its store has a history of 30 MB."""
    history = json.dumps([["user", SECRET], *[["assistant", "words " * 1_000]] * 5_000])
    with closing(sqlite3.connect(server.store_file)) as connection, connection:
        connection.executescript((DATA / "original.sql").read_text(encoding="utf-8"))
        connection.execute(
            "UPDATE task_records SET execution_history_json = ? WHERE task_id = 'telegram_42'",
            [history],
        )
    server.start()
    opener = sign_in(server.link())
    return lambda path: opener.open(f"http://127.0.0.1:{server.port}{path}", timeout=60)


def descendants(server: Server, depth: int) -> list[int]:
    """Return process ids: 1 for the server's children such as the worker, 2 for theirs, etc."""
    command = ["ps", "-A", "-o", "pid=,ppid="]
    pairs = [
        tuple(map(int, line.split()))
        for line in subprocess.check_output(command, text=True).splitlines()
    ]
    generation = [server.running.pid]
    for _ in range(depth):
        generation = [child for child, parent in pairs if parent in generation]
    return generation


def heavy_processes(server: Server) -> list[int]:
    return descendants(server, 3)  # the fork server's children; it is a child of the worker


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def piped(*messages: Any) -> Connection:
    """Return a pipe from a process that has sent these messages and ended."""
    reader, writer = multiprocessing.Pipe(duplex=False)
    with writer:
        for message in messages:
            (writer.send_bytes if isinstance(message, bytes) else writer.send)(message)
    return reader


def test_response_is_relayed_unchanged():
    page = f"<p>{TOKEN}</p>".encode()
    head = ("201 Created", [("Content-Type", "text/html"), ("Set-Cookie", "a=b; Path=/")])
    heads: list[Any] = []

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        response: Any = heavy_requests.RelayedResponse(piped(head, page, page, b""))
        request = RequestFactory().get("/", headers={"Accept-Encoding": "gzip"})
        for middleware in (MaskingMiddleware, CompressionMiddleware):
            response = middleware(partial(lambda response, request: response, response))(request)
        start_response("200 OK", list(response.items()))
        return response

    content = heavy_requests._handle(application, {}, lambda *head: heads.append(head))

    assert (b"".join(content), heads) == (page + page, [head])


def test_incomplete_response_says_so():
    response = heavy_requests.RelayedResponse(piped(("200 OK", []), b"[1, "))

    assert response.getvalue() == b"[1, \n\nThis is not complete: the server could not finish it.\n"


def test_process_that_ends_early_is_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        heavy_requests, "_answer", sys.exit
    )  # fails because it gets several arguments
    response = heavy_requests._relay({}, RequestFactory().get("/"))

    assert response.status_code == 503


def test_heavy_request_has_a_process_until_the_visitor_leaves_or_it_is_killed(
    server: Server, browse: Callable[..., Any]
):
    export = browse(EXPORT)
    start = export.read(1_000)
    processes = heavy_processes(server)
    page = browse("/").read().decode()
    export.close()
    wait_until(lambda: not heavy_processes(server))

    assert (
        export.headers["Content-Disposition"] == 'attachment; filename="gloamy-telegram_42.jsonl"'
    )
    assert b"the token [masked] is secret" in start
    assert len(processes) == 1
    assert "telegram_42" in page

    export = browse(EXPORT)
    [process] = heavy_processes(server)
    os.kill(process, signal.SIGKILL)
    content = export.read()
    status = browse("/").status
    _, error = server.stop()

    assert content.endswith(b"\nThis is not complete: the server could not finish it.\n")
    assert status == 200
    assert error == ("The process of a heavy request ended early, in the middle of its response.\n")


def test_killed_server_leaves_no_heavy_process_behind(server: Server, browse: Callable[..., Any]):
    with browse(EXPORT), server.running as process:
        process.kill()
        assert process.stdout
        process.stdout.read()  # returns once all processes have ended


def test_server_stops_while_a_heavy_request_runs(server: Server, browse: Callable[..., Any]):
    with browse(EXPORT):
        output, _ = server.stop()

    assert output.endswith("Stopped.\n")
    assert heavy_processes(server) == []


def test_killed_worker_is_replaced(server: Server, browse: Callable[..., Any]):
    browse(EXPORT).close()
    for process in descendants(server, 1):  # the worker and Python's resource tracker
        os.kill(process, signal.SIGKILL)
    wait_until(lambda: is_served(browse))

    assert browse(EXPORT).status == 200
    assert server.running.poll() is None


def is_served(browse: Callable[..., Any]) -> bool:
    try:
        return bool(browse("/").status == 200)
    except OSError:
        return False
