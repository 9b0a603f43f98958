"""Secrets that an answer keeps back, unless a view lifts that for this one.

`masking` knows what a secret is. A whole text of an answer is masked at its end, see
`tasks.secrets.response_masking`; here is what can be done only where a text is still whole: to cut
it, to look for something in it, and to show a value apart from its name.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import Any, TypeVar

import msgspec

import masking
from masking import MARGIN, MASK

T = TypeVar("T")

LONGEST_FIELD = 10_000  # characters of a value that is looked at for what it may be by its name
_WINDOW, _BESIDE = 1_000_000, 100_000  # characters looked through at once, and on either side

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


def as_now(pieces: Iterable[T]) -> Iterator[T]:
    """The pieces of an answer, made later with the secrecy as it is now."""
    context, left = copy_context(), iter(pieces)
    return iter(lambda: context.run(next, left, None), None)


def whole(text: str) -> str:
    """A text that is about to be taken apart or put among others, which would hide a secret."""
    return text if is_lifted() else masking.masked(text)


def beginning(text: str, length: int) -> str:
    """The first characters of a text; of a secret that the cut goes through nothing is left."""
    if is_lifted():
        return text[:length]
    return masking.masked_start(text[: length + MARGIN], length)


def shortened(text: str, length: int) -> str:
    """The same, marked as cut if it is."""
    return text if len(text) <= length else f"{beginning(text, length - 1).rstrip()}…"


def field(name: str, value: Any) -> Any:
    """A named value that is shown apart from its name, masked if that tells that it is a secret."""
    if is_lifted() or isinstance(value, bool) or not isinstance(value, str | int | float):
        return value
    if not isinstance(value, str) or len(value) > LONGEST_FIELD:
        return MASK if masking.is_secret_name(name) else value
    stored = msgspec.json.encode({name: value}).decode()
    masked = masking.masked(stored)
    return value if masked == stored else msgspec.json.decode(masked).get(name, MASK)


class Hidden:
    """The secrets of a text that something was found in; looked for only near what was found."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._of_window: dict[int, list[tuple[int, int]]] = {}

    def around(self, start: int, end: int, before: int, after: int) -> tuple[str, str, str] | None:
        """What stands before, at and after a place, or None if it touches a secret.

        `before` and `after` are how many characters of the text are wanted there.
        """
        spans = [] if is_lifted() else self._between(start - before, end + after, start)
        if any(span[0] < end and start < span[1] for span in spans):
            return None
        return (
            self._piece(max(0, start - before), start, spans),
            self._text[start:end],
            self._piece(end, min(len(self._text), end + after), spans),
        )

    def _between(self, first: int, last: int, place: int) -> list[tuple[int, int]]:
        """Those that touch a stretch of text around a place; of many, only these are looked at."""
        spans = self._near(place)
        start = bisect_right(spans, first, key=lambda span: span[1])
        return spans[start : bisect_left(spans, last, lo=start, key=lambda span: span[0])]

    def _near(self, place: int) -> list[tuple[int, int]]:
        number = place // _WINDOW
        if number not in self._of_window:
            first = max(0, number * _WINDOW - _BESIDE)
            window = self._text[first : (number + 1) * _WINDOW + _BESIDE]
            self._of_window[number] = [
                (first + span.start, first + span.end) for span in masking.found(window)
            ]
        return self._of_window[number]

    def _piece(self, start: int, end: int, spans: Sequence[tuple[int, int]]) -> str:
        return masking.without(
            self._text[start:end],
            (
                (max(0, first - start), last - start, MASK)
                for first, last in spans
                if first < end and start < last
            ),
        )
