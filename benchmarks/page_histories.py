"""Times pages and exports of threads with histories of 10 KB to 100 MB, and of 10,000 steps."""

import os
from pathlib import Path
from typing import Any

from benchmarks.calls import clock
from benchmarks.isolation import in_new_process
from benchmarks.page_requests import LOOP, Result, first_byte, fixed_loop, measure, sign_in
from gloamy_site import connect

Results = dict[str, Result]

SIZES = {"10 KB": 10_000, "1 MB": 1_000_000, "10 MB": 10_000_000, "100 MB": 100_000_000}
STEPS = 10_000
PAGES = {  # with the seconds wanted for 100 MB
    "list": ("/", 0.03),
    "transcript": ("/thread/?id=0", 0.3),
    "transcript, first view": ("/thread/?id=1", 0.3),
    "a later piece": ("/thread/?id=0&piece=later&message=61", 0.3),
    "the last message": ("/thread/?id=0&message=1000000", 0.3),
    "checkpoints": ("/thread/?id=0&show=checkpoints", 0.3),
    "resume": ("/thread/?id=0&show=resume", 0.3),
    "raw": ("/thread/?id=0&show=raw", 0.3),
    "confirmation": ("/thread/clear/?id=0", 0.3),
    "a poll": ("/thread/live/?id=0&show=raw", 0.01),
    "a poll of a task": ("/thread/live/?id=0&show=raw&task=0", 0.01),
    "export as JSON": ("/thread/export/?id=0&format=json", 3.0),
    "export as JSON Lines": ("/thread/export/?id=0&format=jsonl", 3.0),
    f"a thread of {STEPS:,} steps": ("/thread/?id=steps", 0.15),
    f"the last of {STEPS:,} steps": ("/thread/?id=steps&step=1000000000", 0.15),
    f"a poll of {STEPS:,} steps": ("/thread/live/?id=steps", 0.01),
}
FIRST_BYTE = "export as JSON, first byte"


def run(folder: Path, *, quick: bool) -> dict[str, Results]:
    """Return the results for each size, measured in a process of its own."""
    sizes = dict(list(SIZES.items())[: 2 if quick else None])
    return {size: in_new_process(_measure, folder, size, clock.use_cpu_time) for size in sizes}


def wanted() -> dict[str, float]:
    """Return the seconds wanted for the largest history, by row of the results."""
    return {name: seconds for name, (_, seconds) in PAGES.items()} | {FIRST_BYTE: 0.3}


def _measure(folder: Path, size: str, use_cpu_time: bool) -> Results:
    clock.use_cpu_time = use_cpu_time
    place = folder / f"history-{size.replace(' ', '')}"
    place.mkdir()
    os.environ["SITE_DATABASE_URL"] = f"sqlite:///{place}/site.sqlite3"
    connect(database_url=f"sqlite:///{place}/tasks.db")
    _fill(SIZES[size])
    client = sign_in()
    results = {name: _page(client, url) for name, (url, _) in PAGES.items()}
    return results | {
        FIRST_BYTE: first_byte(client, PAGES["export as JSON"][0]),
        LOOP: fixed_loop(),
    }


def _fill(size: int) -> None:
    from tasks import service
    from tasks.service import (
        ChatMessage,
        ExecutionCheckpointItem,
        TaskCheckpointUpdate,
        TaskSnapshot,
        TaskStatus,
    )

    text = 'The build failed, "again".\nSee line 42.\n' * 100
    history = [ChatMessage(("user", "assistant")[n % 2], text) for n in range(size // len(text))]
    items = [ExecutionCheckpointItem("shell", {"command": "make"}, True, text)]
    names = {"channel": "cli", "provider": "openai", "model": "gpt"}

    def record(id_: str, step: int, history: Any) -> None:
        update = TaskCheckpointUpdate(
            task_id=id_,
            thread_id=id_,
            **names,
            step_index=step,
            execution_history=history,
            items=items,
        )
        service.record_checkpoint(update)

    for id_ in ("0", "1", "2"):
        for step in (1, 2):  # SQLite stores a count of 0 or 1 in the row's header, but not 2
            record(id_, step, history)
        service.save_snapshot(
            TaskSnapshot(
                task_id=id_,
                thread_id=id_,
                **names,
                status=TaskStatus.COMPLETED,
                execution_history=history,
                resumable_history=history[-len(history) // 10 :],
            )
        )
    for step in range(STEPS):
        record("steps", step, history[:10])


def _page(client: Any, url: str) -> Result:
    if url == PAGES["transcript, first view"][0]:
        return measure(client, url, rounds=1, warm_up=0)
    if url.startswith("/thread/export/"):
        return measure(client, url, rounds=1)
    if not url.startswith("/thread/live/"):
        return measure(client, url, rounds=3)
    tag = client.get(url).headers["ETag"]
    return measure(client, url, rounds=3, **{"If-None-Match": tag})
