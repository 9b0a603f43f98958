"""The verbs that are measured, and what it is to time one."""

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
    """`timed` makes the call and gives the seconds it took; `before` is not counted."""

    timed: Callable[[], float]
    before: Callable[[], object] = lambda: None


class Contender(Protocol):
    """A store under its name in the table."""

    name: str

    def calls(self, size: Size) -> dict[str, Call]:
        """A call for each verb, on threads of this size."""


class Clock:
    """Seconds on the wall, or, with `processor`, those that this process has worked for.

    The latter leave out what other programs on the machine take, and waiting for a disk as well.
    """

    def __init__(self) -> None:
        self.processor = False

    def __call__(self) -> float:
        return time.process_time() if self.processor else time.perf_counter()


clock = Clock()


def clocked(function: Callable[..., object], *arguments: Any) -> Callable[[], float]:
    """The function with its arguments, to be called for the seconds it takes."""

    def timed() -> float:
        start = clock()
        function(*arguments)
        return clock() - start

    return timed
