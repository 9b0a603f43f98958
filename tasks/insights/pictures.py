"""Bars of charts, which templates draw as SVG."""

from collections.abc import Sequence
from typing import NamedTuple

HEIGHT = 100  # of the highest column
LEAST = 2  # of a bar that is not empty, so that it is seen


class Bar(NamedTuple):
    column: int
    part: int  # which of the values that are stacked in the column
    y: float
    height: float

    @property
    def path(self) -> str:
        return f"M{self.column}.1 {self.y}h.8v{self.height}h-.8z"


def bars(columns: Sequence[Sequence[int]]) -> list[Bar]:
    """Return a bar for each value that is not 0, stacked in columns, the first at the bottom."""
    top = max(map(sum, columns), default=0)
    found = []
    for number, values in enumerate(columns):
        y = float(HEIGHT)
        for part, value in enumerate(values):
            if value:
                height = max(LEAST, HEIGHT * value / top)
                y -= height
                found.append(Bar(number, part, round(y, 2), round(height, 2)))
    return found
