"""Mask secrets while a response is being built, unless its view has lifted the masking.

`tasks.secrets.response_masking` masks every finished response. This module handles the operations
after which it could miss a secret: truncating text, showing a search hit in context, and showing
a value separately from its name.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

import masking
from masking import MARGIN, MASK

T = TypeVar("T")

LONGEST_FIELD = 10_000  # characters; for longer values, only the name is checked
_WINDOW, _OVERLAP = 1_000_000, 100_000  # characters; the overlap is added at both ends

_SHORT = 5_000  # characters; shorter texts, such as titles and notes, are masked once
_mask_short = lru_cache(2_000)(masking.mask)
_mask_short_start = lru_cache(2_000)(masking.mask_start)

_IS_LIFTED: ContextVar[bool] = ContextVar("is_lifted", default=False)


@contextmanager
def response_scope() -> Iterator[None]:
    """Limit the effect of `lift` to one response."""
    token = _IS_LIFTED.set(False)
    try:
        yield
    finally:
        _IS_LIFTED.reset(token)


def lift() -> None:
    """Stop masking for the rest of this response. Call this only for an authorized user."""
    _IS_LIFTED.set(True)


def is_lifted() -> bool:
    return _IS_LIFTED.get()


def in_current_scope(chunks: Iterable[T]) -> Iterator[T]:
    """Generate a streamed response's chunks later, but with the current masking setting."""
    context, iterator = copy_context(), iter(chunks)
    return iter(lambda: context.run(next, iterator, None), None)


def mask(text: str) -> str:
    """Mask text before it is split or joined with other text, which could disguise its secrets."""
    if is_lifted():
        return text
    return _mask_short(text) if len(text) < _SHORT else masking.mask(text)


def truncate(text: str, length: int) -> str:
    """Return the first `length` characters, masking secrets even if the cut splits them."""
    if is_lifted():
        return text[:length]
    start = text[: length + MARGIN]
    return (_mask_short_start if len(start) < _SHORT else masking.mask_start)(start, length)


def shorten(text: str, length: int) -> str:
    """Truncate text to `length` characters, ending with an ellipsis if anything was cut off."""
    return text if len(text) <= length else f"{truncate(text, length - 1).rstrip()}…"


def mask_field(name: str, value: Any) -> Any:
    """Mask secrets in a value shown without its name. The name helps to detect secrets."""
    if is_lifted() or isinstance(value, bool) or not isinstance(value, str | int | float):
        return value
    if not isinstance(value, str) or len(value) > LONGEST_FIELD:
        return MASK if masking.is_secret_name(name) else value
    document = msgspec.json.encode({name: value}).decode()
    masked = masking.mask(document)
    return value if masked == document else msgspec.json.decode(masked).get(name, MASK)


class SearchedText:
    """Text with search hits. Its secrets are located lazily, and only near the hits."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._spans_by_window: dict[int, list[tuple[int, int]]] = {}

    def context(self, start: int, end: int, before: int, after: int) -> tuple[str, str, str] | None:
        """Return the masked text before a hit, the hit, and the masked text after it.

        `before` and `after` are numbers of characters, counted before masking. Returns None if
        the hit overlaps a secret.
        """
        spans = [] if is_lifted() else self._spans_between(start - before, end + after, start)
        if any(span[0] < end and start < span[1] for span in spans):
            return None
        return (
            self._masked(max(0, start - before), start, spans),
            self._text[start:end],
            self._masked(end, min(len(self._text), end + after), spans),
        )

    def _spans_between(self, start: int, end: int, hit: int) -> list[tuple[int, int]]:
        spans = self._spans_near(hit)
        first = bisect_right(spans, start, key=lambda span: span[1])
        return spans[first : bisect_left(spans, end, lo=first, key=lambda span: span[0])]

    def _spans_near(self, position: int) -> list[tuple[int, int]]:
        number = position // _WINDOW
        if number not in self._spans_by_window:
            offset = max(0, number * _WINDOW - _OVERLAP)
            window = self._text[offset : (number + 1) * _WINDOW + _OVERLAP]
            self._spans_by_window[number] = [
                (offset + span.start, offset + span.end) for span in masking.find_secrets(window)
            ]
        return self._spans_by_window[number]

    def _masked(self, start: int, end: int, spans: Sequence[tuple[int, int]]) -> str:
        return masking.replace_ranges(
            self._text[start:end],
            (
                (max(0, first - start), last - start, MASK)
                for first, last in spans
                if first < end and start < last
            ),
        )
