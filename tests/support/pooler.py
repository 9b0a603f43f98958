"""A temporary connection pooler in front of a test server, in transaction mode."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.support import postgres

PORT = 6432
SESSIONS = 2  # fewer than the tests have connections, so that these share them
_CONFIGURATION = """
[databases]
* = host={host} port=5432 user=postgres
[pgbouncer]
listen_addr =
listen_port = {port}
unix_socket_dir = {host}
auth_type = any
pool_mode = transaction
default_pool_size = {sessions}
"""


def missing_reason() -> str | None:
    """Return why there is no pooler and what to do about it, else None."""
    return None if _program() else "pgbouncer is missing: apt-get install pgbouncer"


@contextmanager
def running_pooler(server: dict[str, Any], sessions: int = SESSIONS) -> Iterator[dict[str, Any]]:
    """Run a pooler until the block ends, and yield its settings for DATABASES."""
    program = _program()
    assert program is not None
    host = server["HOST"]
    file = Path(host, "pgbouncer.ini")
    file.write_text(_CONFIGURATION.format(host=host, port=PORT, sessions=sessions))
    file.chmod(0o644)
    pooler = subprocess.Popen([program, "-q", file], **postgres._account())
    try:
        _wait_for(Path(host, f".s.PGSQL.{PORT}"))
        yield server | {"PORT": str(PORT)}
    finally:
        pooler.terminate()
        pooler.wait(10)


def _program() -> str | None:
    return shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            return
        time.sleep(0.02)
    raise RuntimeError("pgbouncer did not start")
