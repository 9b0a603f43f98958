"""Makes requests to the site inside this process, and measures their times and memory."""

import re
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

from benchmarks.calls import clock

WARM_UP, ROUNDS = 2, 7
LOOP = "(a fixed loop)"  # the row of the results that tells how busy the machine is


@dataclass(frozen=True)
class Result:
    seconds: float  # median
    megabytes: int = 0  # additional memory at its peak
    note: str = ""


def sign_in() -> Any:
    """Create the site's database and return a client of Django's, signed in as an operator."""
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from django.test import Client

    from tasks.store import workspace

    workspace.prepare()
    call_command("migrate", database="default", verbosity=0)
    client = Client(headers={"host": "localhost"})
    client.force_login(
        get_user_model().objects.create_superuser("benchmark"),
        "django.contrib.auth.backends.ModelBackend",
    )
    return client


def measure(
    client: Any, url: str, *, rounds: int = ROUNDS, warm_up: int = WARM_UP, **headers: str
) -> Result:
    """Request a page several times. A response other than a page or a 304 or 204 is an error."""
    for _ in range(min(warm_up, rounds)):
        read(client.get(url, headers=headers))
    before = reset_peak_memory()
    times = [_timed(lambda: read(client.get(url, headers=headers))) for _ in range(rounds)]
    return Result(statistics.median(times), (peak_memory() - before) // 1_000)


def _timed(call: Callable[[], object]) -> float:
    start = clock()
    call()
    return clock() - start


def read(response: Any) -> Any:
    """Read a response to its end."""
    if response.status_code not in (200, 204, 304):
        raise RuntimeError(f"{response.request['PATH_INFO']}: status {response.status_code}")
    if response.streaming:
        for _ in response.streaming_content:
            pass
    return response


def fixed_loop() -> Result:
    """Measure a loop that is always the same, which tells how busy the machine is."""
    return Result(
        statistics.median(_timed(lambda: sum(n * n for n in range(300_000))) for _ in range(9))
    )


def first_byte(client: Any, url: str) -> Result:
    """Measure the time until a response begins; an export continues after that."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        response = client.get(url)
        if response.streaming:
            next(iter(response.streaming_content))
        times.append(time.perf_counter() - start)
        response.close()
    return Result(statistics.median(times))


def first_visit(client: Any) -> int:
    """Return how many bytes the list and its styles and scripts have when they are compressed."""
    page = read(client.get("/", headers={"accept-encoding": "gzip"}))
    total, html = len(page.content), read(client.get("/")).content.decode()
    for url in set(re.findall(r'(?:href|src)="(/static/[^"#]+)"', html)):
        response = client.get(url, headers={"accept-encoding": "gzip"})
        total += sum(len(chunk) for chunk in response)
    return total


def link(page: str, pattern: str) -> str:
    """Return the first URL in a page that matches the pattern, or raise LookupError."""
    match = re.search(rf'(?:href|hx-get)="({pattern})"', page)
    if not match:
        raise LookupError(f"The page has no link {pattern}")
    return unescape(match[1])


def reset_peak_memory() -> int:
    Path("/proc/self/clear_refs").write_text("5")
    return peak_memory()


def peak_memory() -> int:
    """Return the process's peak memory use in KB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
