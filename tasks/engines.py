"""The differences between SQLite and PostgreSQL.

Only this module checks which of the two a connection uses. Other code checks a capability, such as
`engine(connection).is_file`, or defines both statements in a `PerEngine`; Django expressions define
`as_sqlite` and `as_postgresql`.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Engine:
    """The capabilities of a database."""

    # The database is a local file that agents open too, and all writers share one lock. Otherwise,
    # rows are locked individually.
    is_file: bool
    # Columns only hold values of their type, and text is UTF-8 without NUL. SQLite stores any value
    # in any column.
    is_strictly_typed: bool
    # At the default isolation level, all reads in a transaction see the same state.
    has_snapshot_reads: bool
    # Large values must be read through blob handles, since `substr` and `length` read all of them.
    has_blob_handles: bool
    timestamp_type: str  # the type of a timestamp column, which must sort bytewise
    like: str  # the operator for a case-insensitive LIKE


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
    """A statement in each engine's SQL dialect."""

    sqlite: str
    postgresql: str

    def of(self, connection: Any) -> str:
        return self.sqlite if engine(connection).is_file else self.postgresql


def engine(connection: Any) -> Engine:
    """Return the engine of a Django connection."""
    return _ENGINES[connection.vendor]


def storable(value: Any, connection: Any) -> Any:
    """Return the value in a form that the database can store: PostgreSQL needs U+FFFD for NUL.

    An id has to be converted before a lookup, too.
    """
    if isinstance(value, str) and "\0" in value and engine(connection).is_strictly_typed:
        return value.replace("\0", "\ufffd")
    return value
