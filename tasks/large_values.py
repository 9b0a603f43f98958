"""The beginnings and the lengths of stored values, without reading the values.

A history may have hundreds of megabytes, and SQLite's `substr` and `length` read all of a text. So
there a value is opened as a blob, which reads the pages that are asked for and knows its length
from the row's head; a value that is larger than SQLite hands over (`hostile.LARGEST_VALUE`) can
be opened as well. PostgreSQL keeps large values apart: it knows their lengths, and unpacks no more
than the beginning.
"""

import codecs
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from django.db import OperationalError, connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F, Func
from django.db.models.functions import Left, Substr

M = TypeVar("M", bound=models.Model)
Q = TypeVar("Q", bound=models.QuerySet[Any])

Wanted = Mapping[str, tuple[str, int]]  # names, each of a column and so many characters of it
FEW = ("null", "integer", "real")  # kinds of a few bytes, which no blob is made of

SHORT = 80_000  # bytes that are asked for whole, if some of them are wanted
PIECE = 32_000_000  # bytes of a text that are sent at once
FAR = ("checkpoint_count", "created_at", "updated_at", "completed_at")  # behind the histories


def is_spoilt(key: Any) -> bool:
    """Whether a row cannot be found by its id: SQLite lets a key be NULL, bytes or no UTF-8."""
    return not isinstance(key, str) or "\ufffd" in key


class RowId(Func):
    """`RowId("task_id")` is the number of the row that holds this column; NULL on PostgreSQL."""

    arity = 1
    output_field = models.BigIntegerField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        column, params = compiler.compile(self.get_source_expressions()[0])
        return f"{column.rpartition('.')[0]}.rowid", params

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return "NULL::bigint", ()


class _Octets(Func):
    function, output_field = "octet_length", models.BigIntegerField()


@dataclass(frozen=True)
class Beginning:
    """The first characters of a value, and how many bytes the whole has; both None where null."""

    start: Any
    length: int | None


if TYPE_CHECKING:
    QuerySetBase = models.QuerySet[M]
else:

    class QuerySetBase(models.QuerySet, Generic[M]):
        pass


class BoundedQuerySet(QuerySetBase[M]):
    """Rows with the beginnings of their large columns in the place of these."""

    _wanted: Wanted = MappingProxyType({})

    def with_beginnings(self, **wanted: tuple[str, int]) -> Self:
        """Of each column so many characters, as `NAME_start`, and its bytes as `NAME_length`."""
        rows = self.defer(*(column for column, _ in wanted.values()))
        if _is_sqlite(self.db):
            rows = rows.defer(*FAR).annotate(rowid=RowId("pk"))
        else:
            starts = {f"{name}_start": Left(*place) for name, place in wanted.items()}
            lengths = {f"{name}_length": _Octets(F(column)) for name, (column, _) in wanted.items()}
            rows = rows.annotate(**starts, **lengths)
        rows._wanted = wanted
        return rows

    def _clone(self) -> Self:
        clone: Self = super()._clone()  # type: ignore[misc]
        clone._wanted = self._wanted
        return clone

    def _fetch_all(self) -> None:
        if self._result_cache is not None or not self._wanted or not _is_sqlite(self.db):
            super()._fetch_all()
            return
        connection = connections[self.db]
        with snapshot(connection):
            super()._fetch_all()
            found: list[Any] = self._result_cache or []
            for row in found:
                row.__dict__ |= _attributes(connection, row, self._wanted)


def _attributes(connection: Any, row: Any, wanted: Wanted) -> dict[str, Any]:
    columns, last = dict(wanted.values()), _last_of(type(row))
    found, values = of_row(
        connection.connection, row._meta.db_table, row.rowid, columns, *(f.column for f in last)
    )
    starts = {f"{name}_start": found[column].start for name, (column, _) in wanted.items()}
    lengths = {f"{name}_length": found[column].length for name, (column, _) in wanted.items()}
    ends = {
        field.attname: _converted(field, value, connection)
        for field, value in zip(last, values, strict=True)
    }
    return starts | lengths | ends


def _last_of(model: type[models.Model]) -> list[Any]:
    """The short columns that stand behind the long ones of a row, and so are far from its head."""
    return [field for field in model._meta.concrete_fields if field.name in FAR]


def _converted(field: Any, value: Any, connection: BaseDatabaseWrapper) -> Any:
    for convert in field.get_db_converters(connection):
        value = convert(value, None, connection)
    return value


@contextmanager
def snapshot(connection: BaseDatabaseWrapper) -> Iterator[sqlite3.Connection]:
    """SQLite's own connection, on which all that is read is of one moment. Takes no lock.

    Errors in it are Django's. It is to be short: an agent's log cannot be emptied meanwhile.
    """
    connection.ensure_connection()
    raw: sqlite3.Connection = connection.connection
    begins = not raw.in_transaction
    with connection.wrap_database_errors:
        if begins:
            raw.execute("BEGIN")
        try:
            yield raw
        finally:
            if begins and raw.in_transaction:
                raw.execute("COMMIT")


def of_row(
    raw: sqlite3.Connection, table: str, rowid: int, wanted: Mapping[str, int], *beside: str
) -> tuple[dict[str, Beginning], tuple[Any, ...]]:
    """Of columns of a row on SQLite so many characters each, and other columns as they are.

    Within a `snapshot`. What follows a long value is far away: SQLite goes through all pages of
    that to find it, so all that is short is asked for at once.
    """
    kinds = _row(raw, table, rowid, (f"typeof({column})" for column in wanted))
    places = {c: _Place(table, c, rowid, kind) for c, kind in zip(wanted, kinds, strict=True)}
    lengths = {column: place.length(raw) for column, place in places.items()}
    short = [
        column
        for column, most in wanted.items()
        if places[column].kind in FEW or (lengths[column] or 0) <= min(4 * most, SHORT)
    ]
    casts = (f"CAST({column} AS BLOB)" for column in short)
    values = _row(raw, table, rowid, (*casts, *beside))
    whole = dict(zip(short, values, strict=False))
    return {
        column: Beginning(places[column].start(raw, most, whole.get(column)), lengths[column])
        for column, most in wanted.items()
    }, values[len(short) :]


def _row(
    raw: sqlite3.Connection, table: str, rowid: int, expressions: Iterable[str]
) -> tuple[Any, ...]:
    asked = ", ".join(expressions)
    if not asked:
        return ()
    found = raw.execute(f"SELECT {asked} FROM {table} WHERE rowid = ?", (rowid,)).fetchone()
    return tuple(found)


@dataclass(frozen=True)
class _Place:
    """One value, which has a type of its own."""

    table: str
    column: str
    rowid: int
    kind: str

    def length(self, raw: sqlite3.Connection) -> int | None:
        if self.kind == "null":
            return None
        if self.kind in FEW:
            length = f"length(CAST({self.column} AS BLOB))"
            return _row(raw, self.table, self.rowid, [length])[0]  # type: ignore[no-any-return]
        with self._opened(raw) as blob:
            return len(blob)

    def start(self, raw: sqlite3.Connection, most: int, whole: bytes | None) -> Any:
        """The first of it; it is opened again unless the whole is at hand."""
        if self.kind == "null":
            return None
        if whole is not None:
            return whole[:most] if self.kind == "blob" else _text(whole, most)
        with self._opened(raw) as blob:
            return blob.read(most) if self.kind == "blob" else _characters(blob, most)

    def _opened(self, raw: sqlite3.Connection) -> sqlite3.Blob:
        return raw.blobopen(self.table, self.column, self.rowid, readonly=True)


def _text(raw: bytes, most: int) -> str:
    """The first characters of a text, to its first NUL, as `substr` has them."""
    return raw.decode("utf-8", "replace").partition("\0")[0][:most]


def _characters(blob: sqlite3.Blob, most: int) -> str:
    """The same of one that is not at hand, of which no more is read than that."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text, left = "", len(blob)
    while left and len(text) < most:
        piece = blob.read(min(most - len(text), left))
        left -= len(piece)
        text += decoder.decode(piece, final=not left)
    return text.partition("\0")[0][:most]


def lengths(
    raw: sqlite3.Connection, table: str, rowid: int, columns: Sequence[str]
) -> dict[str, int]:
    """The bytes of a row's columns on SQLite; 0 where null. Nothing of the values is read."""
    kinds = _row(raw, table, rowid, (f"typeof({column})" for column in columns))
    places = [_Place(table, *place) for place in zip(columns, repeat(rowid), kinds)]
    return {place.column: place.length(raw) or 0 for place in places}


def _is_sqlite(alias: str) -> bool:
    return bool(connections[alias].vendor == "sqlite")


def in_pieces(row: Any, column: str) -> Iterator[bytes]:
    """A text of a row whole, in pieces, with nothing open while one is sent.

    Raises OperationalError where the row is written or cleared meanwhile.
    """
    connection, position, before = connections[row._state.db], 0, None
    read = _piece_on_sqlite if connection.vendor == "sqlite" else _piece_on_postgresql
    while True:
        version, piece = read(connection, row, column, position)
        if version is None or before not in (None, version):
            raise OperationalError(f"{row} was written while its {column} was sent")
        if not piece:
            return
        yield piece if isinstance(piece, bytes) else piece.encode()
        position, before = position + len(piece), version


def _piece_on_sqlite(
    connection: BaseDatabaseWrapper, row: Any, column: str, position: int
) -> tuple[Any, bytes]:
    table, names = row._meta.db_table, ", ".join(_version_of(row))
    with snapshot(connection) as raw:
        statement = f"SELECT {names}, typeof({column}) FROM {table} WHERE rowid = ?"
        found = raw.execute(statement, (row.rowid,)).fetchone()
        if found is None or found[-1] in FEW:
            return None, b""
        with raw.blobopen(table, column, row.rowid, readonly=True) as blob:
            blob.seek(min(position, len(blob)))
            return (*found, len(blob)), blob.read(PIECE)


def _piece_on_postgresql(
    connection: BaseDatabaseWrapper, row: Any, column: str, position: int
) -> tuple[Any, str]:
    rows = type(row)._base_manager.using(connection.alias).filter(pk=row.pk)
    part = Substr(column, position + 1, PIECE // 4)
    found = rows.annotate(piece=part).values_list(*_version_of(row), "piece").first()
    return (None, "") if found is None else (found[:-1], str(found[-1] or ""))


def _version_of(row: Any) -> list[str]:
    """The columns that tell whether it is the same row, and as it was; a checkpoint stays."""
    return [f.column for f in row._meta.concrete_fields if f.column in ("task_id", "updated_at")]


def without(rows: Q, column: str, text: str, most: int) -> Q:
    """On SQLite, of these rows those whose column does not begin with so much that has the text."""
    table = rows.model._meta.db_table
    rows = rows.annotate(rowid=RowId("pk"))
    with snapshot(connections[rows.db]) as raw:
        rowids = list(rows.values_list("rowid", flat=True))
        starts = ((rowid, of_row(raw, table, rowid, {column: most})[0]) for rowid in rowids)
        found = [rowid for rowid, start in starts if text not in str(start[column].start or "")]
    return rows.filter(rowid__in=found)


def larger_than(rows: Any, column: str, most: int) -> list[Any]:
    """Of these rows the keys of those whose column has more bytes. No value is read."""
    if not _is_sqlite(rows.db):
        large = rows.alias(octets=_Octets(F(column))).filter(octets__gt=most)
        return list(large.values_list("pk", flat=True))
    table = rows.model._meta.db_table
    with snapshot(connections[rows.db]) as raw:
        found = list(rows.annotate(rowid=RowId("pk")).values_list("pk", "rowid"))
        return [pk for pk, rowid in found if lengths(raw, table, rowid, [column])[column] > most]
