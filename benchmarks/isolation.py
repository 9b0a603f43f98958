"""Provides temporary folders, and new processes in which Django is not set up yet."""

import multiprocessing
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

DISK = Path("/var/tmp")  # noqa: S108 - /tmp may be a RAM disk


@contextmanager
def temporary_folder(parent: Path | None = None) -> Iterator[Path]:
    """Create a temporary folder on disk, and delete it when the `with` block ends."""
    parent = parent or (DISK if DISK.is_dir() else None)
    with tempfile.TemporaryDirectory(prefix="gloamy-", dir=parent) as name:
        yield Path(name)


def in_new_process(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a module-level function in a new process and return its result."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as executor:
        return executor.submit(function, *args, **kwargs).result()
