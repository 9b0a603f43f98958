"""What differs between SQLite and PostgreSQL.

No other module asks which of the two a connection is to. It asks for a capability by its name, as
in `engine(connection).is_file`, or has a statement for each, a `PerEngine`. Django's expressions
have `as_sqlite` and `as_postgresql`.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Engine:
    # A file on this machine, which an agent opens too; a single lock is for all who write to it.
    is_file: bool
    # A column holds values of its type alone, and texts are UTF-8 without NUL. SQLite stores
    # anything in any column.
    is_strictly_typed: bool
    # All reads of a transaction see the same state, without asking for an isolation level.
    has_snapshot_reads: bool
    # `substr` and `length` read a large value whole; a blob handle reads what is asked of it.
    has_blob_handles: bool
    timestamp_type: str  # of a column that sorts as its bytes do
    like: str  # the LIKE that ignores the case of letters


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
    """A statement in the words of each database."""

    sqlite: str
    postgresql: str

    def of(self, connection: Any) -> str:
        return self.sqlite if engine(connection).is_file else self.postgresql


def engine(connection: Any) -> Engine:
    """Return what a Django connection's database is and can do."""
    return _ENGINES[connection.vendor]


def storable(value: Any, connection: Any) -> Any:
    """Return the value as the database can hold it: PostgreSQL's texts have U+FFFD for NUL.

    The same goes for an id that is looked up.
    """
    if isinstance(value, str) and "\0" in value and engine(connection).is_strictly_typed:
        return value.replace("\0", "\ufffd")
    return value
