"""Splits a long list of entries into pages of limited size."""

from collections.abc import Iterable
from dataclasses import dataclass

MAX_ENTRIES = 60  # per page
MAX_WEIGHT = 120_000  # characters per page; a longer entry gets a page to itself


@dataclass(frozen=True)
class Page:
    """A page that shows `entries[start:end]` of a list with `count` entries."""

    start: int
    end: int
    count: int
    previous_start: int

    @property
    def has_earlier(self) -> bool:
        return self.start > 0

    @property
    def has_later(self) -> bool:
        return self.end < self.count


def page_at(position: int, weights: Iterable[int]) -> Page:
    """Return the page that contains a position, or the nearest page if it is out of range.

    Pages are filled from the start, so appending an entry does not change the earlier pages.
    """
    weights = list(weights)
    position = min(max(position, 0), max(len(weights) - 1, 0))
    previous = start = filled = 0
    for index, weight in enumerate(weights):
        if index > start and (index - start == MAX_ENTRIES or filled + weight > MAX_WEIGHT):
            if index > position:
                return Page(start, index, len(weights), previous)
            previous, start, filled = start, index, 0
        filled += weight
    return Page(start, len(weights), len(weights), previous)
