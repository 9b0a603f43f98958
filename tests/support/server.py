"""The task browser as a person starts it: `manage.py serve`, a process of its own."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.processes import ROOT


class Server:
    """A server for one folder, which gets its workspace and its site.sqlite3."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.workspace = folder / "workspace"
        self.store_file = self.workspace / "state" / "tasks.db"
        self.process: subprocess.Popen[str] | None = None

    @classmethod
    @contextmanager
    def on_free_port(cls, folder: Path) -> Iterator["Server"]:
        """One that is not started yet, and is stopped in the end."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            server = cls(folder, probe.getsockname()[1])
        server.store_file.parent.mkdir(parents=True)
        yield server
        if server.process is not None and server.process.poll() is None:
            server.stop()

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("DJANGO_")}
        own = {
            "SITE_DATABASE_URL": f"sqlite:///{self.folder}/site.sqlite3",
            "GLOAMY_WORKSPACE": str(self.workspace),
            "SECRET_KEY": "of the tests",
        }
        self.process = subprocess.Popen(
            [
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
        """The sign-in link that the server prints when it is ready to start."""
        for line in self.running.stdout or ():
            if found := re.search(r"https?://\S+token=\S+", line):
                return found[0]
        raise AssertionError(self.running.communicate())

    def stop(self, signal_: signal.Signals = signal.SIGINT) -> tuple[str, str]:
        """End the server as Ctrl-C does; what it has printed since its link."""
        with self.running as process:
            process.send_signal(signal_)
            # not communicate(): that passes by what has been read ahead of the link
            output = process.stdout.read() if process.stdout else ""
            error = process.stderr.read() if process.stderr else ""
            process.wait(timeout=30)
        return output, error

    def refusal(self) -> str:
        """What a server that does not start says: one line, and it ends with status 1."""
        _, error = self.running.communicate(timeout=30)
        assert (self.running.returncode, error.count("\n")) == (1, 1), error
        return error.strip()

    @property
    def running(self) -> subprocess.Popen[str]:
        assert self.process is not None
        return self.process
