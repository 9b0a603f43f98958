"""`python -m benchmarks.pages` times pages of threads with 10 KB to 100 MB of history, on SQLite.

Each history size has its own store and process. The times are compared with those for 10 KB.
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

from benchmarks.isolation import in_new_process, temporary_folder
from gloamy_site import connect

SIZES = {"10 KB": 10_000, "1 MB": 1_000_000, "10 MB": 10_000_000, "100 MB": 100_000_000}
THREADS = {"100 MB": 3}  # stores with smaller histories have ten threads
PAGES = {
    "list": "/",
    "transcript": "/thread/?id=0",
    "a later piece": "/thread/?id=0&piece=later&message=61",
    "checkpoints": "/thread/?id=0&show=checkpoints",
    "raw": "/thread/?id=0&show=raw",
    "unchanged": "/thread/live/?id=0&show=raw",
    "unchanged task": "/thread/live/?id=0&show=raw&task=0",
    "confirmation": "/thread/clear/?id=0",
    "export": "/thread/export/?id=0&format=json",
    "JSON Lines": "/thread/export/?id=0&format=jsonl",
}
ROUNDS = 5

Result = tuple[float, int]  # time in seconds, and extra memory in megabytes


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages", description=__doc__)
    parser.add_argument("--folder", type=Path, help="where to put the stores, on a disk")
    with temporary_folder(parser.parse_args().folder) as folder:
        results = {size: in_new_process(_measure, folder, size) for size in SIZES}
    baseline = results["10 KB"]
    print(f"{'':15}" + "".join(f"{size:>26}" for size in SIZES))
    for page in PAGES:
        cells = (_cell(by_page[page], baseline[page]) for by_page in results.values())
        print(f"{page:15}" + "".join(cells))


def _cell(result: Result, baseline: Result) -> str:
    return f"{result[0] * 1e3:9,.0f} ms {result[0] / baseline[0]:5.1f}x {result[1]:4} MB"


def _measure(folder: Path, size: str) -> dict[str, Result]:
    connect(database_url=f"sqlite:///{folder / size.replace(' ', '')}.db")
    _fill(SIZES[size], THREADS.get(size, 10))
    client = _client(folder / f"site-{size.replace(' ', '')}.sqlite3")
    return {page: _measure_page(client, url) for page, url in PAGES.items()}


def _fill(size: int, threads: int) -> None:
    from tasks import service
    from tasks.service import ChatMessage, ExecutionCheckpointItem, TaskCheckpointUpdate

    text = 'The build failed, "again".\nSee line 42.\n' * 100
    history = [ChatMessage("user", text)] * max(1, size // len(text))
    items = [ExecutionCheckpointItem("shell", {"command": "make"}, True, text)]
    names = {"channel": "cli", "provider": "openai", "model": "gpt"}
    for number in range(threads):
        ids = {"task_id": str(number), "thread_id": str(number)}
        for step in (1, 2):  # SQLite stores a count of 0 or 1 in the row's header, but not 2
            update = TaskCheckpointUpdate(
                **ids, **names, step_index=step, execution_history=history, items=items
            )
            service.record_checkpoint(update)


def _client(site: Path) -> Any:
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from django.db import connections
    from django.test import Client

    connections["default"].settings_dict["NAME"] = str(site)
    call_command("migrate", database="default", verbosity=0)
    client = Client(headers={"host": "localhost"})
    client.force_login(get_user_model().objects.create_superuser("benchmark"))
    return client


def _measure_page(client: Any, url: str) -> Result:
    Path("/proc/self/clear_refs").write_text("5")  # resets the process's peak memory
    before, times = _peak_memory(), []
    is_poll = url.startswith("/thread/live/")
    headers = {"If-None-Match": client.get(url).headers["ETag"]} if is_poll else {}
    for _ in range(ROUNDS):
        start = time.perf_counter()
        response = client.get(url, headers=headers)
        for _ in response.streaming_content if response.streaming else ():
            pass
        times.append(time.perf_counter() - start)
        expected = 304 if is_poll else 200
        assert response.status_code == expected, response.status_code  # noqa: S101 - abort on errors
    return statistics.median(times), (_peak_memory() - before) // 1_000


def _peak_memory() -> int:
    """Return the process's peak memory use in KB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
