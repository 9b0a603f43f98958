"""Closes the connections of `manage.py serve` that hold up others.

granian itself closes a connection only if no complete request arrives for HEADER_TIMEOUT. It waits
forever for bodies and for clients that read slowly, and stops accepting if too many are connected.
It does not tell what a connection is waiting for, so this asks the system. Only Linux answers.
"""

import errno
import os
import socket
import stat
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import inf
from typing import Any, NamedTuple

from gloamy_site.sign_in.limiter import network_of

HEADER_TIMEOUT = 10  # seconds
STUCK = 1  # second during which a client accepts no data
INTERVAL = 0.1  # seconds between checks
OPEN_FILES = "/proc/self/fd"
# From Linux's struct tcp_info: the connection's state, packets in flight, milliseconds since data
# was sent and since it was received, bytes acknowledged and received, bytes that are yet to be sent
TCP_INFO = struct.Struct("=B23xI16xI4xI64xQQ8xI")
ESTABLISHED = 1

_bodies: dict[object, tuple[str, float, float]] = {}  # network, seconds allowed, deadline


class Connection(NamedTuple):
    """A connection to a client. If no data was sent or received yet, time counts from its start."""

    file: int
    peer: tuple[Any, ...]
    since_sent: float  # seconds
    since_received: float  # seconds
    has_sent: bool  # whether the client has acknowledged any data
    has_received: bool
    is_sending: bool  # whether the client has not acknowledged all data yet

    @property
    def network(self) -> str:
        return network_of(self.peer[0])

    @property
    def idle(self) -> float:
        return min(self.since_sent, self.since_received)

    @property
    def is_stuck(self) -> bool:
        return not self.has_received or (self.is_sending and self.since_sent > STUCK)

    @property
    def is_being_answered(self) -> bool:
        """Return whether no byte has moved for so long that granian would have closed it."""
        return not self.is_stuck and self.idle > HEADER_TIMEOUT + 1


def most_connections() -> int:
    """Return how many connections to accept: at most half the files that a process may open."""
    return min(1_024, os.sysconf("SC_OPEN_MAX") // 2) if hasattr(os, "sysconf") else 1_024


@contextmanager
def body_timeout(address: str, seconds: float) -> Iterator[None]:
    """If the block takes longer, close the connections from its address that got no answer yet."""
    body = object()
    _bodies[body] = network_of(address), seconds, time.monotonic() + seconds
    try:
        yield
    finally:
        del _bodies[body]


def watch(port: int) -> None:
    """Start to close connections to this port, in a thread."""
    if sys.platform == "linux":
        threading.Thread(target=_watch, args=(port, most_connections() // 2), daemon=True).start()


def _watch(port: int, enough: int) -> None:
    while True:
        time.sleep(INTERVAL)
        with suppress(OSError):  # no more files can be opened at the moment
            close_some(port, enough)


def close_some(port: int, enough: int) -> None:
    """Close connections of overdue bodies and, if more than `enough` are open, the surplus."""
    now, bodies = time.monotonic(), list(_bodies.values())
    overdue = {network: seconds for network, seconds, deadline in bodies if deadline < now}
    files = os.listdir(OPEN_FILES)
    if not overdue and len(files) <= enough:
        return
    connections = list(_connections(files, port))
    slow = [c for c in connections if c.since_sent > overdue.get(c.network, inf)]
    for connection in slow + surplus(connections, enough):
        with suppress(OSError), _socket(connection.file) as ours:  # granian may have closed it
            if ours.getpeername() == connection.peer:
                ours.shutdown(socket.SHUT_RDWR)


def _connections(files: list[str], port: int) -> Iterator[Connection]:
    for file in map(int, files):
        with suppress(OSError), _socket(file) as ours:  # skip other files
            info = ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO.size)
            state, in_flight, sent, received, acked, read, unsent = TCP_INFO.unpack(info)
            if state == ESTABLISHED and ours.getsockname()[1] == port:
                times = sent / 1_000, received / 1_000
                bytes_moved = acked > 0, read > 0, in_flight + unsent > 0
                yield Connection(file, ours.getpeername(), *times, *bytes_moved)


def _socket(file: int) -> socket.socket:
    """Return a copy of a file that is a socket. Raises OSError if it is none or is closed."""
    if not stat.S_ISSOCK(os.fstat(file).st_mode):
        raise OSError(errno.ENOTSOCK, os.strerror(errno.ENOTSOCK))
    return socket.fromfd(file, socket.AF_INET, socket.SOCK_STREAM)


def surplus(connections: list[Connection], enough: int) -> list[Connection]:
    """Return the connections to close so that `enough` are left.

    The networks that have most lose most. Of each network's, those that never sent a byte or accept
    none are closed first, then those that have not got an answer before, then the longest idle.
    """
    waiting = [connection for connection in connections if not connection.is_being_answered]
    seen: Counter[str] = Counter()
    ranks: dict[Connection, int] = {}
    for connection in sorted(waiting, key=lambda c: (c.is_stuck, not c.has_sent, c.idle)):
        seen[connection.network] += 1
        ranks[connection] = seen[connection.network]
    number = max(0, len(connections) - enough)
    return sorted(waiting, key=ranks.__getitem__, reverse=True)[:number]
