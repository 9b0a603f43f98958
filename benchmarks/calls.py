"""The measured verbs, and timed calls."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from benchmarks.workload import Size

VERBS = [
    "record_checkpoint",
    "save_snapshot running",
    "save_snapshot completed",
    "load_by_thread_id",
    "load_resumable_state",
    "delete_by_thread_id",
]


@dataclass(frozen=True)
class Call:
    """A call to measure: `timed` makes it, after the untimed `setup`, and returns the seconds."""

    timed: Callable[[], float]
    setup: Callable[[], object] = lambda: None


class Contender(Protocol):
    """A store to compare, with its name in the table."""

    name: str

    def calls(self, size: Size) -> dict[str, Call]:
        """Return a call for each verb, on threads with histories of this size."""


class Clock:
    """Wall time in seconds, or, with `use_cpu_time`, this process's CPU time.

    CPU time excludes other programs, but also the time spent waiting for the disk.
    """

    use_cpu_time = False

    def __call__(self) -> float:
        return time.process_time() if self.use_cpu_time else time.perf_counter()


clock = Clock()


def clocked(function: Callable[..., object], *arguments: Any) -> Callable[[], float]:
    """Return a function that makes the call and returns the seconds it took."""

    def timed() -> float:
        start = clock()
        function(*arguments)
        return clock() - start

    return timed
