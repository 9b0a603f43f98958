"""Handles the differences between SQLite and PostgreSQL.

Only this module checks which of the two a connection uses. Other code checks a capability, such as
`engine(connection).is_file`, or writes the SQL for both in a `PerEngine`. Django expressions define
`as_sqlite` and `as_postgresql` instead.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

from django.core.exceptions import ImproperlyConfigured


@dataclass(frozen=True)
class Engine:
    """The capabilities and SQL dialect of a database engine."""

    # Whether the database is a local file. Agents open the same file, and only one process at a
    # time can write to it. On a database server, rows are locked individually.
    is_file: bool
    # Whether all values have their column's declared type, and text is UTF-8 without NUL. SQLite
    # can store any value in any column.
    is_strictly_typed: bool
    # Whether all reads in a transaction see the same state at the default isolation level.
    has_snapshot_reads: bool
    # Whether to read large values by blob handle: `substr` and `length` would read all of them.
    has_blob_handles: bool
    timestamp_type: str  # the SQL type of timestamp columns, which must sort by byte value
    like: str  # the SQL operator for a case-insensitive LIKE


_ENGINES = {
    "sqlite": Engine(
        is_file=True,
        is_strictly_typed=False,
        has_snapshot_reads=True,
        has_blob_handles=True,
        timestamp_type="TEXT",
        like="LIKE",
    ),
    "postgresql": Engine(
        is_file=False,
        is_strictly_typed=True,
        has_snapshot_reads=False,
        has_blob_handles=False,
        timestamp_type='text COLLATE "C"',
        like="ILIKE",
    ),
}


class PerEngine(NamedTuple):
    """One SQL statement, written in each engine's dialect."""

    sqlite: str
    postgresql: str

    def of(self, connection: Any) -> str:
        return self.sqlite if engine(connection).is_file else self.postgresql


def engine(connection: Any) -> Engine:
    """Return the `Engine` that a Django connection uses. Raises ImproperlyConfigured for others."""
    try:
        return _ENGINES[connection.vendor]
    except KeyError:
        message = f"The store is on SQLite or PostgreSQL, not on {connection.display_name}."
        raise ImproperlyConfigured(message) from None


def storable(value: Any, connection: Any) -> Any:
    """Return the value in a form that the database can store: on PostgreSQL, NUL becomes U+FFFD.

    Ids must also be converted before they are looked up.
    """
    if isinstance(value, str) and "\0" in value and engine(connection).is_strictly_typed:
        return value.replace("\0", "\ufffd")
    return value
