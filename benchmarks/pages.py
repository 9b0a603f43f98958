"""`python -m benchmarks.pages`: the pages over histories of 10 KB to 100 MB, on SQLite.

Each size has a store and a process of its own. The page over 10 KB is what the others are beside.
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

from benchmarks.apart import in_new_process, working_folder
from gloamy_site import connect

SIZES = {"10 KB": 10_000, "1 MB": 1_000_000, "10 MB": 10_000_000, "100 MB": 100_000_000}
THREADS = {"100 MB": 3}  # and ten of the other sizes
PAGES = {
    "list": "/",
    "transcript": "/thread/?id=0",
    "a later piece": "/thread/?id=0&piece=later&message=61",
    "checkpoints": "/thread/?id=0&show=checkpoints",
    "raw": "/thread/?id=0&show=raw",
    "confirmation": "/thread/clear/?id=0",
    "export": "/thread/export/?id=0&format=json",
}
ROUNDS = 5

Measured = dict[str, tuple[float, int]]  # by page: seconds, and megabytes of memory on top


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages", description=__doc__)
    parser.add_argument("--folder", type=Path, help="where to put the stores, on a disk")
    with working_folder(parser.parse_args().folder) as folder:
        measured = {size: in_new_process(_measured, folder, size) for size in SIZES}
    least = measured["10 KB"]
    print(f"{'':15}" + "".join(f"{size:>26}" for size in SIZES))
    for page in PAGES:
        cells = (_cell(of_size[page], least[page]) for of_size in measured.values())
        print(f"{page:15}" + "".join(cells))


def _cell(found: tuple[float, int], least: tuple[float, int]) -> str:
    return f"{found[0] * 1e3:9,.0f} ms {found[0] / least[0]:5.1f}x {found[1]:4} MB"


def _measured(folder: Path, size: str) -> Measured:
    connect(database_url=f"sqlite:///{folder / size.replace(' ', '')}.db")
    _fill(SIZES[size], THREADS.get(size, 10))
    client = _client(folder / f"site-{size.replace(' ', '')}.sqlite3")
    return {page: _of_page(client, address) for page, address in PAGES.items()}


def _fill(size: int, threads: int) -> None:
    from tasks import service
    from tasks.service import ChatMessage, ExecutionCheckpointItem, TaskCheckpointUpdate

    text = 'The build failed, "again".\nSee line 42.\n' * 100
    history = [ChatMessage("user", text)] * max(1, size // len(text))
    items = [ExecutionCheckpointItem("shell", {"command": "make"}, True, text)]
    names = {"channel": "cli", "provider": "openai", "model": "gpt"}
    for number in range(threads):
        ids = {"task_id": str(number), "thread_id": str(number)}
        update = TaskCheckpointUpdate(
            **ids, **names, step_index=1, execution_history=history, items=items
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


def _of_page(client: Any, address: str) -> tuple[float, int]:
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, took = _peak(), []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        answer = client.get(address)
        for _ in answer.streaming_content if answer.streaming else ():
            pass
        took.append(time.perf_counter() - began)
        assert answer.status_code == 200, answer.status_code  # noqa: S101 (an error is no figure)
    return statistics.median(took), (_peak() - before) // 1_000


def _peak() -> int:
    """The most memory so far, in KB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
