"""Reads the beginnings, ends and lengths of large stored values without reading them in full.

A history may take up hundreds of megabytes, and SQLite's `substr` and `length` read all of it. A
blob handle reads only the requested pages, finds the length in the row's header, and can open
values that are too large for SQLite to return (`untrusted.MAX_VALUE_SIZE`). PostgreSQL stores large
values out of line, knows their lengths, and decompresses only the beginning. To find the end of a
value, both must go through it, so only ends of values up to `FARTHEST_END` are read.
"""

import codecs
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, NamedTuple, Self, TypeVar

import msgspec
from django.db import OperationalError, connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Case, F, Func, Value, When
from django.db.models.functions import Left, Right, Substr
from django.db.models.lookups import GreaterThan

from tasks.engines import engine

M = TypeVar("M", bound=models.Model)
Q = TypeVar("Q", bound=models.QuerySet[Any])

Values = Mapping[str, "_Value"]  # by column
Beginnings = Mapping[str, tuple[str, int]]  # name → (column, number of characters to read)

FARTHEST_END = 1_000_000  # bytes
CHUNK_SIZE = 32_000_000  # bytes per chunk when a value is streamed
PART_SIZE = 200_000  # bytes per chunk when a value is looked through, which is fastest
# The columns stored after the histories. To reach them, SQLite must read through the histories.
TRAILING = ("checkpoint_count", "created_at", "updated_at", "completed_at")
_FIXED_SIZE = ("null", "integer", "real")  # small types that blob handles cannot open
_READ_WHOLE = 80_000  # bytes; values up to this size are read with the rest of the row


def is_unusable_key(key: Any) -> bool:
    """Return whether the id cannot be looked up. SQLite allows ids that are NULL or not UTF-8."""
    return not isinstance(key, str) or "\ufffd" in key


class RowId(Func):
    """A query expression for the rowid of the column's row on SQLite, or NULL on PostgreSQL."""

    arity = 1
    output_field = models.BigIntegerField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        column, params = compiler.compile(self.get_source_expressions()[0])
        return f"{column.rpartition('.')[0]}.rowid", params

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return "NULL::bigint", ()


class _OctetLength(Func):
    function, output_field = "octet_length", models.BigIntegerField()


class Beginning(NamedTuple):
    """The first characters of a value and its full length in bytes. For NULL, both are None."""

    start: Any
    length: int | None


class BoundedQuerySet(models.QuerySet[M]):
    """A queryset that can load the beginnings of large columns instead of their full values."""

    _beginnings: Beginnings = MappingProxyType({})  # the beginnings to read with blob handles
    _ends: Beginnings = MappingProxyType({})  # the ends to read with blob handles
    _raw_columns: tuple[str, ...] = ()  # the columns to read in full with blob handles

    def with_beginnings(self, **beginnings: tuple[str, int]) -> Self:
        """Load `NAME_start` and `NAME_length` (in bytes) for each NAME=(column, characters)."""
        rows = self.defer(*(column for column, _ in beginnings.values()))
        if engine(connections[self.db]).has_blob_handles:
            rows = rows.defer(*TRAILING).annotate(rowid=RowId("pk"))
            rows._beginnings = beginnings
            return rows
        for name, (column, most) in beginnings.items():
            start, length = Left(column, most), _OctetLength(F(column))
            rows = rows.annotate(**{f"{name}_start": start, f"{name}_length": length})
        return rows

    def with_ends(self, **ends: tuple[str, int]) -> Self:
        """Load `NAME_end` for each NAME=(column, bytes), which PostgreSQL counts as characters.

        It is "" for values that are no text or longer than `FARTHEST_END`. Needs `with_beginnings`.
        """
        rows = self.all()
        if engine(connections[self.db]).has_blob_handles:
            rows._ends = ends
            return rows
        for name, (column, most) in ends.items():
            size = _OctetLength(F(column))
            is_far = GreaterThan(size, FARTHEST_END)
            end = Case(When(is_far, then=Value("")), default=Right(column, most))
            rows = rows.annotate(**{f"{name}_end": end})
        return rows

    def with_raw_text(self, *columns: str) -> Self:
        """On SQLite, load text in these columns as `msgspec.Raw`, of which only one copy is made.

        The text is as stored, so its UTF-8 may be invalid. Values of other types are not converted.
        """
        if not engine(connections[self.db]).has_blob_handles:
            return self
        rows = self.defer(*columns).annotate(rowid=RowId("pk"))
        rows._raw_columns = columns
        return rows

    def _clone(self) -> Self:
        clone: Self = super()._clone()  # type: ignore[misc]
        clone._beginnings, clone._raw_columns = self._beginnings, self._raw_columns
        clone._ends = self._ends
        return clone

    def _fetch_all(self) -> None:
        if self._result_cache is not None or not (self._beginnings or self._raw_columns):
            super()._fetch_all()
            return
        connection = connections[self.db]
        with snapshot(connection) as raw:
            super()._fetch_all()
            rows: list[Any] = self._result_cache or []
            pairs = (*self._beginnings.values(), *self._ends.values())
            columns = {*(column for column, _ in pairs), *self._raw_columns}
            rowids = [row.rowid for row in rows]
            values = _values_of_rows(raw, self.model._meta.db_table, rowids, sorted(columns))
            for row in rows:
                if self._beginnings:
                    row.__dict__ |= _attributes(
                        connection, row, self._beginnings, values[row.rowid]
                    )
                for name, (column, most) in self._ends.items():
                    row.__dict__[f"{name}_end"] = values[row.rowid][column].end(raw, most)
                for column in self._raw_columns:
                    row.__dict__[column] = values[row.rowid][column].whole(raw)


def _attributes(connection: Any, row: Any, wanted: Beginnings, values: "Values") -> dict[str, Any]:
    fields = [field for field in row._meta.concrete_fields if field.name in TRAILING]
    beginnings, trailing = _read_row(
        connection.connection, values, dict(wanted.values()), *(field.column for field in fields)
    )
    attributes: dict[str, Any] = {}
    for name, (column, _) in wanted.items():
        attributes[f"{name}_start"] = beginnings[column].start
        attributes[f"{name}_length"] = beginnings[column].length
    for field, value in zip(fields, trailing, strict=True):
        for convert in field.get_db_converters(connection):
            value = convert(value, None, connection)
        attributes[field.attname] = value
    return attributes


@contextmanager
def snapshot(connection: BaseDatabaseWrapper) -> Iterator[sqlite3.Connection]:
    """Yield the raw SQLite connection in a transaction with a consistent view. Takes no lock.

    SQLite errors become Django errors. Keep the block short: it prevents the WAL from being reset.
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


def read_row(
    raw: sqlite3.Connection, table: str, rowid: int, wanted: Mapping[str, int], *others: str
) -> tuple[dict[str, Beginning], tuple[Any, ...]]:
    """Return the beginnings of some columns of a SQLite row, and the full values of others.

    `wanted` maps each column to the number of characters to read. Call this inside a `snapshot`.
    All short values are read by one statement, since SQLite reads through any large ones it passes.
    """
    return _read_row(raw, _values(raw, table, rowid, wanted), wanted, *others)


def _read_row(
    raw: sqlite3.Connection, values: "Values", wanted: Mapping[str, int], *others: str
) -> tuple[dict[str, Beginning], tuple[Any, ...]]:
    lengths = {column: values[column].length(raw) for column in wanted}
    short = [
        column
        for column, most in wanted.items()
        if values[column].kind in _FIXED_SIZE
        or (lengths[column] or 0) <= min(4 * most, _READ_WHOLE)
    ]
    casts = (f"CAST({column} AS BLOB)" for column in short)
    table, _, rowid, _ = next(iter(values.values()))
    row = _select(raw, table, rowid, (*casts, *others))
    whole = dict(zip(short, row, strict=False))
    return {
        column: Beginning(values[column].start(raw, most, whole.get(column)), lengths[column])
        for column, most in wanted.items()
    }, row[len(short) :]


def lengths(
    raw: sqlite3.Connection, table: str, rowid: int, columns: Collection[str]
) -> dict[str, int]:
    """Return each column's size in bytes in a SQLite row (0 for NULL), without reading values."""
    values = _values(raw, table, rowid, columns)
    return {column: value.length(raw) or 0 for column, value in values.items()}


def _values_of_rows(
    raw: sqlite3.Connection, table: str, rowids: Collection[int], columns: Collection[str]
) -> dict[int, "Values"]:
    """Return the values of several rows by rowid, which takes one statement."""
    kinds = ", ".join(f"typeof({column})" for column in columns)
    found = raw.execute(
        f"SELECT rowid, {kinds} FROM {table} WHERE rowid IN (SELECT value FROM json_each(?))",
        (msgspec.json.encode(rowids).decode(),),
    )
    return {
        rowid: {c: _Value(table, c, rowid, kind) for c, kind in zip(columns, kinds, strict=True)}
        for rowid, *kinds in found
    }


def _values(raw: sqlite3.Connection, table: str, rowid: int, columns: Collection[str]) -> "Values":
    kinds = _select(raw, table, rowid, (f"typeof({column})" for column in columns))
    return {c: _Value(table, c, rowid, kind) for c, kind in zip(columns, kinds, strict=True)}


def _select(
    raw: sqlite3.Connection, table: str, rowid: int, expressions: Iterable[str]
) -> tuple[Any, ...]:
    if not (selected := ", ".join(expressions)):
        return ()
    row = raw.execute(f"SELECT {selected} FROM {table} WHERE rowid = ?", (rowid,)).fetchone()
    return row or ()


class _Value(NamedTuple):
    """A stored SQLite value. Its actual type, `kind`, may differ from the column's type."""

    table: str
    column: str
    rowid: int
    kind: str

    def length(self, raw: sqlite3.Connection) -> int | None:
        if self.kind == "null":
            return None
        if self.kind in _FIXED_SIZE:
            length = f"length(CAST({self.column} AS BLOB))"
            return _select(raw, self.table, self.rowid, [length])[0]  # type: ignore[no-any-return]
        with self._open(raw) as blob:
            return len(blob)

    def start(self, raw: sqlite3.Connection, most: int, whole: bytes | None) -> Any:
        """Return the first `most` characters (or bytes of a blob), using `whole` if it is given."""
        if self.kind == "null":
            return None
        if whole is None:
            with self._open(raw) as blob:
                if self.kind == "blob":
                    return blob.read(most)
                text = _decoded(blob, most)
        elif self.kind == "blob":
            return whole[:most]
        else:
            text = whole.decode("utf-8", "replace")
        return text.partition("\0")[0][:most]  # ends at the first NUL, as SQLite's `substr` does

    def end(self, raw: sqlite3.Connection, most: int) -> str:
        """Return the last `most` bytes of a text, or "" if it is longer than `FARTHEST_END`."""
        if self.kind != "text":
            return ""
        with self._open(raw) as blob:
            if len(blob) > FARTHEST_END:
                return ""
            blob.seek(max(0, len(blob) - most))
            return blob.read().decode("utf-8", "replace")

    def whole(self, raw: sqlite3.Connection) -> Any:
        """Return the full value, which is `msgspec.Raw` if it is text."""
        if self.kind != "text":
            return _select(raw, self.table, self.rowid, [self.column])[0]
        with self._open(raw) as blob:
            return msgspec.Raw(blob.read())

    def _open(self, raw: sqlite3.Connection) -> sqlite3.Blob:
        return raw.blobopen(self.table, self.column, self.rowid, readonly=True)


def _decoded(blob: sqlite3.Blob, most: int) -> str:
    """Decode at least `most` characters, or the entire value if it is shorter."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text, left = "", len(blob)
    while left and len(text) < most:
        chunk = blob.read(min(most - len(text), left))
        left -= len(chunk)
        text += decoder.decode(chunk, final=not left)
    return text


class Reader:
    """Reads parts of a text in bytes, or in characters where the database counts those."""

    def __init__(self, blob: sqlite3.Blob | None, rows: Any, column: str) -> None:
        self._blob, self._rows, self._column = blob, rows, column
        self.counts_bytes = blob is not None

    def read(self, start: int, end: int) -> bytes:
        """Return the text from `start` to before `end`, which may be after its end, as UTF-8."""
        if self._blob is None:
            part = Substr(self._column, start + 1, end - start)
            return str(self._rows.values_list(part, flat=True).first() or "").encode()
        start = min(start, len(self._blob))
        self._blob.seek(start)
        return self._blob.read(min(end, len(self._blob)) - start)

    def chunks(self) -> Iterator[bytes]:
        """Yield the text from its start to its end."""
        # PostgreSQL reads a value from its start for each part of it
        size = PART_SIZE if self.counts_bytes else CHUNK_SIZE
        position = 0
        while chunk := self.read(position, position + size):
            yield chunk
            position += size


@contextmanager
def reading(row: Any, column: str) -> Iterator[Reader]:
    """Yield a reader of a row's text, which does not change meanwhile on SQLite. Takes no lock.

    Raises ValueError if it is not text, and the model's DoesNotExist if there is no such row. Keep
    the block short: on SQLite, it prevents the WAL from being reset.
    """
    connection, model = connections[row._state.db], type(row)
    rows = model._base_manager.using(connection.alias).filter(pk=row.pk)
    if not engine(connection).has_blob_handles:
        yield Reader(None, rows, column)
        return
    with snapshot(connection) as raw:
        kind = _select(raw, model._meta.db_table, row.rowid, [f"typeof({column})"])
        if not kind:
            raise model.DoesNotExist
        if kind != ("text",):
            raise ValueError("it is not text")
        with raw.blobopen(model._meta.db_table, column, row.rowid, readonly=True) as blob:
            yield Reader(blob, rows, column)


def stream(row: Any, column: str) -> Iterator[bytes]:
    """Yield a column's full text in chunks, with no transaction or handle open between chunks.

    Raises OperationalError if the row is changed or deleted in the meantime.
    """
    connection, position, before = connections[row._state.db], 0, None
    read = _blob_chunk if engine(connection).has_blob_handles else _text_chunk
    while True:
        version, chunk = read(connection, row, column, position)
        if version is None or before not in (None, version):
            raise OperationalError(f"{row} was written while its {column} was being sent")
        if not chunk:
            return
        yield chunk if isinstance(chunk, bytes) else chunk.encode()
        position, before = position + len(chunk), version


def _blob_chunk(
    connection: BaseDatabaseWrapper, row: Any, column: str, position: int
) -> tuple[Any, bytes]:
    table, columns = row._meta.db_table, (*_version_columns(row), f"typeof({column})")
    with snapshot(connection) as raw:
        version = _select(raw, table, row.rowid, columns)
        if not version or version[-1] in _FIXED_SIZE:
            return None, b""
        with raw.blobopen(table, column, row.rowid, readonly=True) as blob:
            blob.seek(min(position, len(blob)))
            return (*version, len(blob)), blob.read(CHUNK_SIZE)


def _text_chunk(
    connection: BaseDatabaseWrapper, row: Any, column: str, position: int
) -> tuple[Any, str]:
    rows = type(row)._base_manager.using(connection.alias).filter(pk=row.pk)
    chunk = Substr(column, position + 1, CHUNK_SIZE // 4)
    values = rows.annotate(chunk=chunk).values_list(*_version_columns(row), "chunk").first()
    return (None, "") if values is None else (values[:-1], str(values[-1] or ""))


def _version_columns(row: Any) -> list[str]:
    """Return columns whose values change on every write. Checkpoint rows are never updated."""
    return [f.column for f in row._meta.concrete_fields if f.column in ("task_id", "updated_at")]


def without_text(rows: Q, column: str, text: str, most: int) -> Q:
    """Exclude SQLite rows whose column contains the text in its first `most` characters."""
    table = rows.model._meta.db_table
    rows = rows.annotate(rowid=RowId("pk"))
    with snapshot(connections[rows.db]) as raw:
        rowids = list(rows.values_list("rowid", flat=True))
        starts = ((rowid, read_row(raw, table, rowid, {column: most})[0]) for rowid in rowids)
        lacking = [rowid for rowid, start in starts if text not in str(start[column].start or "")]
    return rows.filter(rowid__in=lacking)


def sizes(rows: Any, *columns: str) -> dict[Any, tuple[int, ...]]:
    """Return the sizes of columns in bytes (0 for NULL), without reading their values.

    The keys are rowids on SQLite, and primary keys on PostgreSQL.
    """
    connection = connections[rows.db]
    if not engine(connection).has_blob_handles:
        octets = (_OctetLength(F(column)) for column in columns)
        return {pk: tuple(n or 0 for n in each) for pk, *each in rows.values_list("pk", *octets)}
    with snapshot(connection) as raw:
        rowids = list(rows.annotate(rowid=RowId("pk")).values_list("rowid", flat=True))
        values = _values_of_rows(raw, rows.model._meta.db_table, rowids, columns)
        return {
            rowid: tuple(each[column].length(raw) or 0 for column in columns)
            for rowid, each in values.items()
        }
