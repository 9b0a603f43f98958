"""`python -m benchmarks.polling` measures the server's CPU use while browsers poll the thread list.

It starts `manage.py serve` on a store with 200 threads, and polls as 50 tabs do. The store is first
idle, for a whole minute, and then an agent writes five times a second.
"""

import argparse
import gzip
import http.client
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path

import msgspec

from benchmarks import workload
from benchmarks.isolation import temporary_folder
from gloamy_site import connect

ROOT = Path(__file__).resolve().parent.parent
THREADS = 200
POLL_SECONDS = 2
WRITES_PER_SECOND = 5
HEADERS = {"HX-Request": "true", "HX-Target": "threads", "Accept-Encoding": "gzip"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.polling", description=__doc__)
    parser.add_argument("--folder", type=Path, help="where to put the store, on a disk")
    parser.add_argument("--tabs", type=int, default=50)
    parser.add_argument("--spread", type=float, default=0.1, help="seconds; 2 is any moment (0.1)")
    parser.add_argument("--seconds", type=int, default=60, help="length of each measurement")
    options = parser.parse_args()
    with temporary_folder(options.folder) as folder:
        workspace = folder / "workspace"
        (workspace / "state").mkdir(parents=True)
        os.environ["SITE_DATABASE_URL"] = f"sqlite:///{folder}/site.sqlite3"
        connect(workspace)
        for number in range(THREADS):
            _write(number, number % 20)
        with _server(workspace) as (pid, port):
            tabs = [_Tab(port, cookie, options.spread) for cookie in _sessions(options.tabs)]
            for tab in tabs:
                tab.start()
            while not all(tab.answers[204] for tab in tabs):
                time.sleep(1)
            _report("idle", pid, tabs, options.seconds)
            threading.Thread(target=_keep_writing, daemon=True).start()
            _report(f"{WRITES_PER_SECOND} writes a second", pid, tabs, options.seconds)
            for tab in tabs:
                tab.stopping.set()
            for tab in tabs:
                tab.join()


def _write(number: int, step: int) -> None:
    from tasks import service
    from tasks.service import TaskCheckpointUpdate

    history = workload.history(workload.SIZES[1])
    update = workload.update(f"thread-{number}", history, step, "a step is done")
    service.record_checkpoint(msgspec.convert(update, TaskCheckpointUpdate))


def _keep_writing() -> None:
    rng = random.Random(0)
    while True:
        _write(rng.randrange(10), 0)
        time.sleep(1 / WRITES_PER_SECOND)


@contextmanager
def _server(workspace: Path) -> Iterator[tuple[int, int]]:
    """Run the site on a free port, and yield its process id and port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    serve = [sys.executable, "-u", str(ROOT / "manage.py"), "serve", "--port", str(port)]
    command = [*serve, "--workspace", str(workspace)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - itself
        assert process.stdout is not None  # noqa: S101 - for mypy
        next(line for line in process.stdout if "Ctrl-C" in line)
        try:
            yield process.pid, port
        finally:
            process.terminate()
            process.communicate()


def _sessions(number: int) -> list[str]:
    """Sign an operator in `number` times, and return the cookies."""
    from django.conf import settings
    from django.contrib.auth import get_user_model
    from django.contrib.auth.models import Group
    from django.test import Client

    user, cookies = get_user_model().objects.create_user("operator"), []
    user.groups.add(Group.objects.get(name="Operators"))
    for _ in range(number):
        client = Client()
        client.force_login(user, "django.contrib.auth.backends.ModelBackend")
        cookies.append(client.cookies[settings.SESSION_COOKIE_NAME].OutputString().split(";")[0])
    return cookies


class _Tab(threading.Thread):
    """An open page of the thread list, which polls up to `spread` seconds after even seconds."""

    def __init__(self, port: int, cookie: str, spread: float) -> None:
        super().__init__()
        self._connection = http.client.HTTPConnection("127.0.0.1", port)
        self._cookie, self._delay = cookie, random.uniform(0, spread)
        self.stopping = threading.Event()
        self.answers: Counter[int] = Counter()
        self.slowest = 0.0  # seconds

    def run(self) -> None:
        address = self._address(self._get("/"))
        # like tasks/static/tasks/js/live_list.js
        while not self.stopping.wait(POLL_SECONDS - time.time() % POLL_SECONDS + self._delay):
            address = self._address(self._get(address)) or address

    def _get(self, address: str) -> str:
        start = time.perf_counter()
        self._connection.request("GET", address, headers=HEADERS | {"Cookie": self._cookie})
        response = self._connection.getresponse()
        content = response.read()
        text = (gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content).decode()
        self.slowest = max(self.slowest, time.perf_counter() - start)
        self.answers[response.status] += 1
        return text

    @staticmethod
    def _address(page: str) -> str:
        match = re.search(r'hx-get="([^"]*)"', page)
        return unescape(match[1]) if match else ""


def _report(label: str, pid: int, tabs: list[_Tab], seconds: int) -> None:
    for tab in tabs:
        tab.slowest = 0
    before, answers = _cpu_seconds(pid), _answers(tabs)
    start = time.monotonic()
    time.sleep(seconds)
    share = (_cpu_seconds(pid) - before) / (time.monotonic() - start)
    counts = ", ".join(f"{n} × {status}" for status, n in (_answers(tabs) - answers).items())
    slowest = max(tab.slowest for tab in tabs)
    print(f"{label:20} {share:6.1%} of a core; slowest {slowest * 1e3:,.0f} ms; {counts}")


def _answers(tabs: list[_Tab]) -> Counter[int]:
    return sum((tab.answers for tab in tabs), Counter())


def _cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and of its children, in seconds."""
    task = Path(f"/proc/{pid}")
    fields = (task / "stat").read_text().rpartition(")")[2].split()
    children = (task / "task" / str(pid) / "children").read_text().split()
    ticks = int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK") + sum(_cpu_seconds(int(child)) for child in children)


if __name__ == "__main__":
    main()
