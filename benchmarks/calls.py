"""The store verbs to measure, and helpers that time calls to them."""

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
    """A call to measure. `timed` makes it and returns the seconds it took, not counting `setup`."""

    timed: Callable[[], float]
    setup: Callable[[], object] = lambda: None


class Contender(Protocol):
    """A store in the comparison, with its name in the results table."""

    name: str

    def calls(self, size: Size) -> dict[str, Call]:
        """Return a call to each store verb, for threads whose histories have this size."""


class Clock:
    """A clock for wall time or, if `use_cpu_time` is set, this process's CPU time, in seconds.

    CPU time excludes the work of other programs, but also the time spent waiting for the disk.
    """

    use_cpu_time = False

    def __call__(self) -> float:
        return time.process_time() if self.use_cpu_time else time.perf_counter()


clock = Clock()


def clocked(function: Callable[..., object], *arguments: Any) -> Callable[[], float]:
    """Return a function that calls `function` and returns how many seconds the call took."""

    def timed() -> float:
        start = clock()
        function(*arguments)
        return clock() - start

    return timed
