"""The contenders "ours" and "floor". Call `gloamy_site.connect` before importing this module."""

from functools import partial
from typing import Any

import msgspec

from benchmarks import original, workload
from benchmarks.calls import Call, clocked
from benchmarks.workload import CHECKPOINTS, Size
from tasks import service
from tasks.service import TaskCheckpointUpdate, TaskSnapshot


class Ours:
    """Our store, used through `tasks.service` as agents use it."""

    name = "ours"

    def calls(self, size: Size) -> dict[str, Call]:
        new_update = partial(msgspec.convert, type=TaskCheckpointUpdate)
        return _calls(service, size, new_update, partial(msgspec.convert, type=TaskSnapshot))


class Floor:
    """The baseline: the original store's SQL, run through a plain database driver."""

    name = "floor"

    def __init__(self, verbs: original.Original) -> None:
        self.verbs = verbs

    def calls(self, size: Size) -> dict[str, Call]:
        return _calls(self.verbs, size, original.values, original.values)


def _calls(store: Any, size: Size, new_update: Any, new_snapshot: Any) -> dict[str, Call]:
    """Return a call to each verb. Each write verb has its own thread; the read verbs share one."""
    messages = workload.history(size)

    def update(thread_id: str, messages: list[dict[str, str]], step: int) -> Any:
        return new_update(workload.update(thread_id, messages, step, "a step is done"))

    def snapshot(thread_id: str, status: str) -> Any:
        return new_snapshot(workload.snapshot(thread_id, messages, status, "it goes on"))

    def fill(thread_id: str) -> None:
        for step in range(CHECKPOINTS):
            store.record_checkpoint(update(thread_id, messages[:2], step))
        store.save_snapshot(snapshot(thread_id, "completed"))

    fill(f"read {size}")
    return {
        "record_checkpoint": Call(
            clocked(store.record_checkpoint, update(f"record {size}", messages, 1))
        ),
        "save_snapshot running": Call(
            clocked(store.save_snapshot, snapshot(f"run {size}", "running"))
        ),
        "save_snapshot completed": Call(
            clocked(store.save_snapshot, snapshot(f"complete {size}", "completed"))
        ),
        "load_by_thread_id": Call(clocked(store.load_by_thread_id, f"read {size}")),
        "load_resumable_state": Call(clocked(store.load_resumable_state, f"read {size}")),
        "delete_by_thread_id": Call(
            clocked(store.delete_by_thread_id, f"delete {size}"), lambda: fill(f"delete {size}")
        ),
    }
