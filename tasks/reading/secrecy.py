"""Whether an answer keeps secrets back: it does, unless a view lifts that for this one."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_IS_LIFTED: ContextVar[bool] = ContextVar("is_lifted", default=False)


@contextmanager
def kept() -> Iterator[None]:
    """Around a whole answer: what lifts the secrecy within it does so for nothing after it."""
    token = _IS_LIFTED.set(False)
    try:
        yield
    finally:
        _IS_LIFTED.reset(token)


def lift() -> None:
    """From here on the answer may hold secrets: whoever asked may see them."""
    _IS_LIFTED.set(True)


def is_lifted() -> bool:
    return _IS_LIFTED.get()
