"""Tells whether another program has the store's SQLite file open.

In WAL mode, every open connection holds a shared lock on a byte of the -shm file. The system tells
which process holds it without a lock being taken, and also sees processes in other containers. A
heartbeat cannot tell this: not every agent writes one.
"""

import fcntl
import os
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from django.db.backends.base.base import BaseDatabaseWrapper

from tasks.store import workspace

_LOCK = struct.Struct("@hhqqi4x")  # `struct flock` on 64-bit Linux
UNKNOWN = "Apparently another program"
_BYTE = 128  # the position of the byte in the -shm file (SQLite's UNIX_SHM_DMS)


@contextmanager
def watching(connection: BaseDatabaseWrapper) -> Iterator[Callable[[], str]]:
    """Yield a function that returns the name of another program that has the file open, or "".

    The connection is closed at the end of the block, and this process must have no other open.
    """
    file = workspace.file_of(connection)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM sqlite_master")  # creates the -shm file
    try:
        handle = os.open(f"{file}-shm", os.O_RDONLY)
    except OSError:  # the file is not in WAL mode, as on some network disks
        yield lambda: UNKNOWN
        return
    try:
        yield partial(_user, handle)
    finally:
        connection.close()  # first, because closing the handle drops the locks of this process
        os.close(handle)


def _user(handle: int) -> str:
    if sys.platform != "linux":
        return UNKNOWN
    wanted = _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _BYTE, 1, 0)
    kind, *_, pid = _LOCK.unpack(fcntl.fcntl(handle, fcntl.F_GETLK, wanted))
    if kind == fcntl.F_UNLCK:
        return ""
    return f"Process {pid}" if pid > 0 else "A program outside this container"
