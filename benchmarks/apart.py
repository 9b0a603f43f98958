"""Where a run keeps its stores, and processes of its own, in which Django is not set up yet."""

import multiprocessing
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

DISK = Path("/var/tmp")  # noqa: S108  unlike /tmp, it is not kept in memory


@contextmanager
def working_folder(given: Path | None = None) -> Iterator[Path]:
    """A folder on a disk that is gone afterwards."""
    inside = given or (DISK if DISK.is_dir() else None)
    with tempfile.TemporaryDirectory(prefix="gloamy-", dir=inside) as name:
        yield Path(name)


def in_new_process(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What a function of a module gives in a process that starts from nothing."""
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawning) as executor:
        return executor.submit(function, *args, **kwargs).result()
