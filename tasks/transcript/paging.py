"""Splits a long list of entries into pages of limited size."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest

MAX_ENTRIES = 60  # per page
MAX_WEIGHT = 120_000  # characters per page; a longer entry gets a page to itself
MAX_ATTACHED = 200  # entries that stay on a full page, as they belong to the one before them


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


def page_at(position: int, weights: Iterable[int], attached: Iterable[bool] = ()) -> Page:
    """Return the page that contains a position, or the nearest page if it is out of range.

    Pages are filled from the start, so appending an entry does not change the earlier pages. Those
    that are `attached` are on the page of the entry before them, up to MAX_ATTACHED.
    """
    weights = list(weights)
    position = min(max(position, 0), max(len(weights) - 1, 0))
    previous = start = filled = excess = 0
    for index, (weight, is_attached) in enumerate(zip_longest(weights, attached, fillvalue=False)):
        count = index - start
        if count and (count >= MAX_ENTRIES or filled + weight > MAX_WEIGHT):
            excess += 1
            if not is_attached or excess > MAX_ATTACHED:
                if index > position:
                    return Page(start, index, len(weights), previous)
                previous, start, filled, excess = start, index, 0, 0
        filled += weight
    return Page(start, len(weights), len(weights), previous)
