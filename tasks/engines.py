"""What differs between SQLite and PostgreSQL.

Only this module checks which of the two a connection uses. Other code checks a capability, such as
`engine(connection).is_file`, or defines both statements in a `PerEngine`; Django expressions define
`as_sqlite` and `as_postgresql`.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Engine:
    """The capabilities of a database."""

    # The database is a local file that agents open too. All writers share one lock; without it
    # there are row locks.
    is_file: bool
    # Columns only hold values of their type, and text is UTF-8 without NUL. SQLite stores any value
    # in any column.
    is_strictly_typed: bool
    # All reads in a transaction see the same state at the default isolation level.
    has_snapshot_reads: bool
    # Large values have to be read through blob handles, as `substr` and `length` read all of them.
    has_blob_handles: bool
    timestamp_type: str  # the type of a column that sorts bytewise
    like: str  # the case-insensitive LIKE


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
    """A statement in the SQL of each engine."""

    sqlite: str
    postgresql: str

    def of(self, connection: Any) -> str:
        return self.sqlite if engine(connection).is_file else self.postgresql


def engine(connection: Any) -> Engine:
    """Return the engine of a Django connection."""
    return _ENGINES[connection.vendor]


def storable(value: Any, connection: Any) -> Any:
    """Return the value as the database can store it: PostgreSQL needs U+FFFD in place of NUL.

    Applies to an id to look up as well.
    """
    if isinstance(value, str) and "\0" in value and engine(connection).is_strictly_typed:
        return value.replace("\0", "\ufffd")
    return value
