"""Tests that forms that never finish uploading block neither pages nor known browsers' forms."""

import http.client
import select
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse, UnreadablePostError
from django.test import Client, RequestFactory

from gloamy_site import request_body
from gloamy_site.sign_in import limiter
from tasks.views import limits
from tests.support.server import Server

pytestmark = pytest.mark.django_db

UNFINISHED = (
    "POST /sign-in/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n"
    "Content-Type: application/x-www-form-urlencoded\r\n"
    f"Cookie: gloamy_csrf={'t' * 32}\r\n\r\na=b"
)


class Stuck:
    """A request body that calls a function while it is being read."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        self.meanwhile = meanwhile

    def read(self, size: int = -1) -> bytes:
        self.meanwhile()
        return b"a=b"[:size]

    def close(self) -> None:
        pass


def form(address: str, meanwhile: Callable[[], object] = lambda: None, length: int = 3) -> Any:
    request: Any = RequestFactory().post(
        "/sign-in/",
        content_type="application/x-www-form-urlencoded",
        CONTENT_LENGTH=str(length),
        REMOTE_ADDR=address,
    )
    request._stream = Stuck(meanwhile)
    return request


def with_known_browser_cookie(request: HttpRequest) -> Any:
    response = HttpResponse()
    limiter.remember_browser(request, response, "owner")
    request.COOKIES[limiter.COOKIE] = response.cookies[limiter.COOKIE].value
    return request


def statuses_of(*requests: Any) -> list[int]:
    """Return the statuses of requests that each start while the previous body is being read."""
    statuses: list[int] = []

    def start(remaining: list[Any]) -> None:
        if remaining:
            request = remaining[0]
            request._stream = Stuck(lambda: start(remaining[1:]))
            refused = request_body.read(request, 3)
            if refused is not None:
                start(remaining[1:])
            statuses.insert(0, refused.status_code if refused else 200)

    start(list(requests))
    return statuses


def test_bodies_per_address_are_limited():
    assert statuses_of(*[form("192.0.2.1") for _ in range(6)]) == [200] * 4 + [503] * 2


def test_strangers_bodies_leave_half_of_the_threads():
    statuses = statuses_of(*[form(f"192.0.2.{number}") for number in range(10)])

    assert statuses == [200] * 8 + [503] * 2
    assert limits.SERVER_THREADS == 16


def test_ipv6_network_counts_as_one_address():
    statuses = statuses_of(*[form(f"2001:db8::{number}") for number in range(1, 6)])

    assert statuses == [200] * 4 + [503]


def test_known_browser_does_not_use_strangers_slots():
    strangers = [form(f"192.0.2.{number}") for number in range(9)]

    assert statuses_of(*strangers, with_known_browser_cookie(form("192.0.2.1")))[-2:] == [503, 200]


def test_rejected_address_holds_no_slot():
    statuses_of(*[form(f"192.0.2.{number}") for number in range(20)])

    assert request_body._strangers._held == {}


def test_slow_form_keeps_its_slot(monkeypatch: pytest.MonkeyPatch):
    for _ in range(request_body.MAX_PER_NETWORK):
        request_body._strangers.acquire("192.0.2.1")
    later = time.monotonic() + limits.SLOT_LIFETIME * 10
    monkeypatch.setattr(time, "monotonic", lambda: later)

    assert request_body._strangers.acquire("192.0.2.1") is None


def fail() -> None:
    raise UnreadablePostError


@pytest.mark.parametrize(("meanwhile", "length"), [(fail, 3), (lambda: None, 4)])
def test_incomplete_body_is_an_error_and_releases_its_slot(
    meanwhile: Callable[[], object], length: int
):
    refused = request_body.read(form("192.0.2.1", meanwhile, length), length)

    assert refused is not None and refused.status_code == 400
    assert "Only part of the request arrived" in refused.content.decode()
    assert request_body._strangers._held == {}


def test_rejection_is_a_page_and_reads_nothing(client: Client):
    for _ in range(request_body.MAX_PER_NETWORK):
        request_body._strangers.acquire("127.0.0.1")
    response = client.post("/sign-in/", {"username": "x", "password": "x"})

    assert (response.status_code, response["Retry-After"]) == (503, "5")
    assert "Try again in 5 seconds" in response.content.decode()
    assert "Content-Security-Policy" in response.headers
    assert client.get("/sign-in/").status_code == 200


def test_unfinished_forms_do_not_block_pages(server: Server):
    server.start()
    server.link()
    refused: list[bytes] = []
    with ExitStack() as stack:
        waiting = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            for _ in range(24)
        ]
        for sock in waiting:
            sock.sendall(UNFINISHED.encode())
        while len(waiting) > request_body.MAX_PER_NETWORK:
            ready, _, _ = select.select(waiting, [], [], 30)
            assert ready
            refused += [sock.recv(12) for sock in ready]
            waiting = [sock for sock in waiting if sock not in ready]
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        connection.request("GET", "/sign-in/")
        status = connection.getresponse().status
        connection.close()

    assert (set(refused), status) == ({b"HTTP/1.1 503"}, 200)
