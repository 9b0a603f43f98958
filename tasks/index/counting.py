"""Counts rows of the index by their values and times, with one look into an index for each count.

That is much faster than GROUP BY, which has to compute and compare the day of every row.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connections, models
from django.db.models.expressions import RawSQL

Range = tuple[str, str]  # times as stored: the first, and the one before which the range ends

_BATCH = 1_000  # groups per statement, which can have 32,766 parameters
_COUNTS = """
    WITH groups AS (SELECT column1 AS number{names} FROM (VALUES {groups})),
    ranges AS (SELECT column1 AS number, column2 AS low, column3 AS high FROM (VALUES {ranges}))
    SELECT groups.number, ranges.number, (SELECT count(*) FROM ({rows})) FROM groups, ranges"""


def count_ranges(
    rows: models.QuerySet[Any],
    time: str,
    groups: Sequence[Mapping[str, Any]],
    ranges: Sequence[Range],
) -> list[list[int]]:
    """Return, for each group of equal values, how many rows have a time in each range."""
    counts = [[0] * len(ranges) for _ in groups]
    for start in range(0, len(groups) if ranges else 0, _BATCH):
        batch = list(enumerate(groups))[start : start + _BATCH]
        names = list(groups[0])
        compared = {name: _column(f"groups.{name}") for name in names}
        compared |= {f"{time}__gte": _column("ranges.low"), f"{time}__lt": _column("ranges.high")}
        counted = rows.filter(**compared).order_by().values("pk")
        inner, params = counted.query.sql_with_params()
        statement = _COUNTS.format(
            names="".join(f", column{n} AS {name}" for n, name in enumerate(names, 2)),
            groups=_rows(len(batch), 1 + len(names)),
            ranges=_rows(len(ranges), 3),
            rows=inner,
        )
        values: list[Any] = []
        for number, group in batch:
            values += [number, *group.values()]
        for number, range_ in enumerate(ranges):
            values += [number, *range_]
        with connections[rows.db].cursor() as cursor:
            cursor.execute(statement, [*values, *params])
            for group, number, count in cursor.fetchall():
                counts[group][number] = count
    return counts


def _column(name: str) -> RawSQL:
    return RawSQL(name, ())  # noqa: S611 - one of ours


def _rows(count: int, columns: int) -> str:
    return ", ".join([f"({', '.join(['%s'] * columns)})"] * count)
