"""Long lists in pieces, each small enough for a page."""

from collections.abc import Iterable
from dataclasses import dataclass

MOST = 60  # entries of a piece
ROOM = 120_000  # characters that a piece may show, unless its only entry has more


@dataclass(frozen=True)
class Piece:
    """The entries from `start` to before `end`, of `count`; positions from 0."""

    start: int
    end: int
    count: int
    before: int  # where the piece before starts

    @property
    def has_earlier(self) -> bool:
        return self.start > 0

    @property
    def has_later(self) -> bool:
        return self.end < self.count

    @property
    def is_all(self) -> bool:
        return not (self.has_earlier or self.has_later)


def piece_with(position: int, sizes: Iterable[int]) -> Piece:
    """The piece that holds this position, or the nearest one.

    Pieces are filled from the start, so that entries added at the end change only the last.
    """
    sizes = list(sizes)
    position = min(max(position, 0), max(len(sizes) - 1, 0))
    before = start = filled = 0
    for index, size in enumerate(sizes):
        if index > start and (index - start == MOST or filled + size > ROOM):
            if index > position:
                return Piece(start, index, len(sizes), before)
            before, start, filled = start, index, 0
        filled += size
    return Piece(start, len(sizes), len(sizes), before)
