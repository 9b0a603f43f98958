"""Runs `manage.py serve` in a separate process."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.processes import ROOT


def sign_in(link: str) -> urllib.request.OpenerDirector:
    """Sign in with a link, and return an opener that sends the session's cookie."""
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    page = opener.open(link).read().decode()
    fields = dict(re.findall(r'name="(csrfmiddlewaretoken|token)" value="([^"]*)"', page))
    opener.open(link.partition("?")[0], urllib.parse.urlencode(fields).encode()).close()
    return opener


class Server:
    """A `manage.py serve` process whose workspace and site database are in one folder."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.workspace = folder / "workspace"
        self.store_file = self.workspace / "state" / "tasks.db"
        self.open_files: int | None = None  # the most that it may open, if limited
        self.process: subprocess.Popen[str] | None = None

    @classmethod
    @contextmanager
    def on_free_port(cls, folder: Path) -> Iterator["Server"]:
        """Yield a server that has not been started yet. If it is running at the end, stop it."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            server = cls(folder, probe.getsockname()[1])
        server.store_file.parent.mkdir(parents=True)
        yield server
        if server.process is not None and server.process.poll() is None:
            server.stop()

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        limit = (
            ("sh", "-c", 'ulimit -n "$0"; exec "$@"', str(self.open_files))
            if self.open_files
            else ()
        )
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("DJANGO_")}
        own = {
            "SITE_DATABASE_URL": f"sqlite:///{self.folder}/site.sqlite3",
            "GLOAMY_WORKSPACE": str(self.workspace),
            "SECRET_KEY": "of the tests",
        }
        self.process = subprocess.Popen(
            [
                *limit,
                sys.executable,
                "-u",
                ROOT / "manage.py",
                "serve",
                "--port",
                str(self.port),
                *arguments,
            ],
            env=inherited | own | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        return self.process

    def link(self) -> str:
        """Wait until the server is ready and prints its sign-in link; return the link."""
        for line in self.running.stdout or ():
            if match := re.search(r"https?://\S+token=\S+", line):
                return match[0]
        raise AssertionError(self.running.communicate())

    def stop(self, signal_: signal.Signals = signal.SIGINT) -> tuple[str, str]:
        """Stop the server (by default the way Ctrl-C does) and return its remaining output."""
        with self.running as process:
            process.send_signal(signal_)
            # communicate() would lose buffered output
            output = process.stdout.read() if process.stdout else ""
            error = process.stderr.read() if process.stderr else ""
            process.wait(timeout=30)
        return output, error

    def refusal(self) -> str:
        """Wait until the server has failed to start, and return its one-line error message."""
        _, error = self.running.communicate(timeout=30)
        assert (self.running.returncode, error.count("\n")) == (1, 1), error
        return error.strip()

    @property
    def running(self) -> subprocess.Popen[str]:
        assert self.process is not None
        return self.process
