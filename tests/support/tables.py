"""Checks a function with a table of inputs in one test, and reports all rows that fail."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple


class Failure(NamedTuple):
    arguments: Any
    result: Any
    expected: Any


def failures(function: Callable[..., Any], table: Iterable[tuple[Any, Any]]) -> list[Failure]:
    """Return the rows whose result is not the expected one. An exception counts as a result.

    Each row has the arguments, which are a tuple if there are several, and the expected result.
    Raises ValueError if the table is empty.
    """
    rows = list(table)
    if not rows:
        raise ValueError("The table has no rows.")
    found = [Failure(row[0], _result(function, row[0]), row[1]) for row in rows]
    return [failure for failure in found if failure.result != failure.expected]


def _result(function: Callable[..., Any], arguments: Any) -> Any:
    try:
        return function(*arguments) if isinstance(arguments, tuple) else function(arguments)
    except Exception as error:
        return error
