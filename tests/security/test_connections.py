"""Tests which connections the server closes so that others are served."""

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from gloamy_site import connections
from gloamy_site.connections import Connection
from tests.support.factories import skip

STALE = connections.HEADER_TIMEOUT + 5
CLIENT = {"has_sent": False, "has_received": True, "is_sending": False}


def client(name: str, address: str = "192.0.2.1", idle: float = 3, **values: Any) -> Connection:
    return Connection(
        file=0, peer=(address, name), since_sent=idle, since_received=idle, **(CLIENT | values)
    )


SILENT = client("silent", idle=0.2, has_received=False)
STUCK = client("stuck", idle=2, has_sent=True, is_sending=True)
UNKNOWN = client("unknown", idle=1)
KNOWN = client("known", has_sent=True)
READER = client("reader", idle=0.5, has_sent=True, is_sending=True)
ANSWERED = client("answered", idle=STALE)  # the server is still answering it
OTHER = client("other", "2001:db8::1", has_received=False)
NEIGHBOR = client("neighbor", "2001:db8::2", idle=1)


@pytest.mark.parametrize(
    ("open_now", "closed"),
    [
        ([KNOWN, READER], []),
        ([KNOWN, READER, UNKNOWN], ["unknown"]),
        ([KNOWN, READER, SILENT], ["silent"]),
        ([STUCK, UNKNOWN, KNOWN], ["stuck"]),
        ([STUCK, SILENT, UNKNOWN, KNOWN], ["silent", "stuck"]),
        ([ANSWERED, ANSWERED, KNOWN, READER], ["known", "reader"]),
        ([ANSWERED, ANSWERED, ANSWERED], []),
        ([OTHER, KNOWN, READER, UNKNOWN], ["unknown", "known"]),
        ([OTHER, NEIGHBOR, KNOWN], ["other"]),
    ],
)
def test_surplus_connections_are_those_that_wait_longest(
    open_now: list[Connection], closed: list[str]
):
    assert [c.peer[1] for c in connections.surplus(open_now, 2)] == closed


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    if sys.platform != "linux":
        skip("only Linux tells what a connection is waiting for")
    with ExitStack() as stack:
        yield stack


def connect(stack: ExitStack, number: int) -> tuple[int, list[socket.socket]]:
    """Connect to a port of this process; return the port and the clients' ends."""
    listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    port = listener.getsockname()[1]
    clients = []
    for _ in range(number):
        clients.append(stack.enter_context(socket.create_connection(("127.0.0.1", port))))
        stack.enter_context(listener.accept()[0])
    return port, clients


def closed(clients: list[socket.socket]) -> list[int]:
    """Return the numbers of the connections whose other end is closed."""
    numbers = []
    for number, client in enumerate(clients):
        client.setblocking(False)
        try:
            assert client.recv(1) == b""
            numbers.append(number)
        except BlockingIOError:
            pass
    return numbers


def test_connections_without_a_byte_are_closed_first(stack: ExitStack):
    port, clients = connect(stack, 5)
    for number in (0, 2, 4):
        clients[number].sendall(b"GET")

    connections.close_some(port + 1, 0)
    assert closed(clients) == []
    connections.close_some(port, 3)
    assert closed(clients) == [1, 3]


def test_overdue_body_ends_connections_from_its_address(stack: ExitStack):
    port, clients = connect(stack, 1)
    clients[0].sendall(b"POST")

    with (
        connections.body_timeout("127.0.0.1", 100),
        connections.body_timeout("192.0.2.1", -1),
    ):
        connections.close_some(port, 10_000)
        assert closed(clients) == []
        with connections.body_timeout("127.0.0.1", -1):
            connections.close_some(port, 10_000)
            assert closed(clients) == [0]
