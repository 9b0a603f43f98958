"""What is wrong with a store and where, found without writing to it or keeping anybody waiting.

Every row is read by a statement of its own, so memory holds one row and no read lasts long; its
count, its checkpoints and its task are compared within that statement, as a live agent writes on.
"""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from django.db import DatabaseError, models
from django.db.backends.base.base import BaseDatabaseWrapper

from gloamy_site.readonly import read_only_address
from tasks import filesystem
from tasks.fields import Rfc3339Field, is_stored_form
from tasks.messages import decode_history, decode_items
from tasks.models import TaskCheckpoint, TaskRecord, TaskStatus
from tasks.workspace import store_connection, store_file

CHUNK = 500  # keys fetched at a time
DECODERS: dict[str, Any] = {
    "execution_history_json": decode_history,
    "resumable_history_json": decode_history,
    "items_json": decode_items,
}
COMPARED = {  # what a row is compared with, in the statement that reads it
    TaskRecord: "(SELECT count(*) FROM task_checkpoints c WHERE c.task_id = t.task_id)",
    TaskCheckpoint: "(SELECT count(*) FROM task_records r WHERE r.task_id = t.task_id)",
}
WAL_RESET_BUG = ((3, 7, 0), (3, 51, 2))  # the first and the last version that have it
ERRORS = (DatabaseError, sqlite3.Error)
ABSENT = "missing"


class Finding(NamedTuple):
    """One thing found; a note says what is worth knowing, and is nothing wrong."""

    kind: str
    text: str
    table: str = ""
    key: str = ""
    column: str = ""
    wrong: bool = True


class Cell(NamedTuple):
    """A stored value with SQLite's name of its type; text is bytes there until it is decoded."""

    kind: str
    value: Any


class Source(Protocol):
    """A store opened for reading, each statement in a transaction of its own."""

    key: dict[type[models.Model], str]
    mark: str

    def rows(self, sql: str, *params: Any) -> list[Any]: ...
    def typed(self, column: str) -> str: ...
    def columns(self, table: str) -> list[str]: ...
    def table_kind(self, table: str) -> str: ...
    def triggers(self, table: str) -> list[str]: ...
    def about(self) -> Iterator[Finding]: ...
    def close(self) -> None: ...


class SqliteSource:
    """The file itself, opened read-only: Django's connection would set the journal's mode."""

    mark = "?"

    def __init__(self, file: Path):
        # not the task's id: several may be NULL
        self.key: dict[type[models.Model], str] = {TaskRecord: "rowid", TaskCheckpoint: "rowid"}
        self.file = file
        self.connection = sqlite3.connect(address(file), uri=True, isolation_level=None)
        self.connection.text_factory = bytes  # not all text need be UTF-8

    def rows(self, sql: str, *params: Any) -> list[Any]:
        return self.connection.execute(sql, params).fetchall()

    def typed(self, column: str) -> str:
        return f't."{column}", typeof(t."{column}")'

    def columns(self, table: str) -> list[str]:
        return [row[1].decode() for row in self.rows(f"PRAGMA table_xinfo({table})")]

    def table_kind(self, table: str) -> str:
        found = self.rows("SELECT type FROM sqlite_master WHERE name = ?", table)
        return found[0][0].decode() if found else ABSENT

    def triggers(self, table: str) -> list[str]:
        sql = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ? ORDER BY name"
        return [row[0].decode("utf-8", "replace") for row in self.rows(sql, table)]

    def about(self) -> Iterator[Finding]:
        yield from self._pages()
        if warning := filesystem.warning(self.file.parent):
            yield note("filesystem", warning)
        version = sqlite3.sqlite_version
        yield note("version", f"SQLite {version}")
        if WAL_RESET_BUG[0] <= sqlite3.sqlite_version_info <= WAL_RESET_BUG[1]:
            yield note("wal-reset", f"SQLite {version} has the WAL-reset bug; 3.51.3 has not")
        # without a WAL a reader keeps writers waiting, so the shorter check has to do
        [[mode]] = self.rows("PRAGMA journal_mode")
        check = "integrity_check" if mode == b"wal" else "quick_check"
        for [text] in self.rows(f"PRAGMA {check}"):
            if text != b"ok":
                yield Finding("integrity", f"{check}: {shown(text)}")

    def _pages(self) -> Iterator[Finding]:
        wal = self.file.with_name(f"{self.file.name}-wal")
        wal_size = wal.stat().st_size if wal.exists() else 0
        yield note("size", f"the file has {self.file.stat().st_size} bytes, its WAL {wal_size}")
        [[free]], [[pages]] = self.rows("PRAGMA freelist_count"), self.rows("PRAGMA page_count")
        yield note("pages", f"{free} of {pages} pages are free")

    def close(self) -> None:
        self.connection.close()


def address(file: Path) -> str:
    """Only a WAL file can make SQLite write beside what it reads, so only there it matters."""
    with file.open("rb") as opened:
        in_wal_mode = opened.read(19)[18:] == b"\x02"
    return read_only_address(file) if in_wal_mode else f"{file.resolve().as_uri()}?mode=ro"


class PostgresSource:
    """The server, by way of Django's connection."""

    mark = "%s"

    def __init__(self, connection: BaseDatabaseWrapper):
        self.key: dict[type[models.Model], str] = {TaskRecord: "task_id", TaskCheckpoint: "id"}
        self.connection = connection

    def rows(self, sql: str, *params: Any) -> list[Any]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, params)
            return list(cursor.fetchall())

    def typed(self, column: str) -> str:
        kind = f"pg_typeof(t.{column})::text"
        return (
            f"t.{column}, CASE WHEN t.{column} IS NULL THEN 'null'"
            f" WHEN {kind} IN ('bigint', 'smallint') THEN 'integer' ELSE {kind} END"
        )

    def columns(self, table: str) -> list[str]:
        with self.connection.cursor() as cursor:
            found = self.connection.introspection.get_table_description(cursor, table)
            return [column.name for column in found]

    def table_kind(self, table: str) -> str:
        sql = "SELECT relkind::text FROM pg_class WHERE oid = to_regclass(%s)"
        kinds = {"r": "table", "p": "table", "v": "view", "m": "materialized view"}
        found = self.rows(sql, table)
        return kinds.get(found[0][0], "relation") if found else ABSENT

    def triggers(self, table: str) -> list[str]:
        sql = "SELECT tgname FROM pg_trigger WHERE tgrelid = to_regclass(%s) AND NOT tgisinternal"
        return sorted(row[0] for row in self.rows(sql, table))

    def about(self) -> Iterator[Finding]:
        [[version]] = self.rows("SHOW server_version")
        yield note("version", f"PostgreSQL {version}")
        [[size]] = self.rows(
            "SELECT coalesce(sum(pg_total_relation_size(to_regclass(name))), 0)::bigint"
            " FROM unnest(ARRAY['task_records', 'task_checkpoints']) AS name"
        )
        yield note("size", f"the two tables have {size} bytes")
        [[encoding]] = self.rows("SHOW server_encoding")
        if encoding != "UTF8":
            yield Finding("encoding", f"the database is in {encoding}, not in UTF8")

    def close(self) -> None:
        self.connection.close()


def open_store() -> Source:
    """The store that the settings name. Raises FileNotFoundError or a database's own error."""
    connection = store_connection()
    if connection.vendor != "sqlite":
        return PostgresSource(connection)
    file = store_file()
    file.stat()
    return SqliteSource(file)


def findings(source: Source) -> Iterator[Finding]:
    """All that is to be said of a store, the rows last."""
    try:
        yield from source.about()
    except ERRORS as error:
        yield Finding("unreadable", shown(str(error)))
    for model in (TaskRecord, TaskCheckpoint):
        table = model._meta.db_table
        try:
            yield from table_findings(source, model)
        except ERRORS as error:
            yield Finding("unreadable", f"reading stopped: {shown(str(error))}", table)


def table_findings(source: Source, model: type[models.Model]) -> Iterator[Finding]:
    table = model._meta.db_table
    if (kind := source.table_kind(table)) != "table":
        yield Finding("table", "is missing" if kind == ABSENT else f"is a {kind}, no table", table)
        return
    for name in source.triggers(table):
        yield Finding("trigger", f"has the trigger {shown(name)}", table)
    there = set(source.columns(table))
    fields = {str(field.column): field for field in model._meta.concrete_fields}
    for column in sorted(fields.keys() - there):
        yield Finding("column", "is missing", table, column=column)
    for column in sorted(there - fields.keys()):
        yield Finding("column", "is not the store's", table, column=shown(column))
    present = [column for column in fields if column in there]
    for key in keys(source, model):
        try:
            yield from row_findings(source, model, key, present)
        except ERRORS as error:
            yield Finding("unreadable", shown(str(error)), table, f"{source.key[model]} {key}")


def keys(source: Source, model: type[models.Model]) -> Iterator[Any]:
    key, after = source.key[model], ""
    params: tuple[Any, ...] = ()
    while True:
        sql = f"SELECT {key} FROM {model._meta.db_table} {after} ORDER BY {key} LIMIT {CHUNK}"
        chunk = source.rows(sql, *params)
        for [found] in chunk:
            yield found
        if len(chunk) < CHUNK:
            return
        after, params = f"WHERE {key} > {source.mark}", (chunk[-1][0],)


def row_findings(
    source: Source, model: type[models.Model], key: Any, present: list[str]
) -> Iterator[Finding]:
    small = [column for column in present if column not in DECODERS]
    large = [column for column in present if column in DECODERS]
    where = f"FROM {model._meta.db_table} t WHERE t.{source.key[model]} = {source.mark}"
    selected = ", ".join(map(source.typed, small))
    comparable = {"task_id", "checkpoint_count"} & {*present} >= {"task_id"}
    compared = COMPARED[model] if comparable else "NULL"
    row = next(iter(source.rows(f"SELECT {selected}, {compared} {where}", key)), None)
    if row is None:
        return  # cleared since its key was read
    cells = {name: Cell(row[2 * i + 1], row[2 * i]) for i, name in enumerate(small)}
    cells = {name: Cell(text(cell.kind), cell.value) for name, cell in cells.items()}
    place = Finding("", "", model._meta.db_table, name_of(model, cells, key))
    for column in present:
        if column in large:  # one at a time: each may be a hundred megabytes
            for found in source.rows(f"SELECT {source.typed(column)} {where}", key):
                cell = Cell(text(found[1]), found[0])
                yield from cell_findings(model, column, cell, place)
        else:
            yield from cell_findings(model, column, cells[column], place)
    yield from relation_findings(model, cells, row[-1], place)


def cell_findings(
    model: type[models.Model], column: str, cell: Cell, place: Finding
) -> Iterator[Finding]:
    field = next(field for field in model._meta.concrete_fields if field.column == column)
    place = place._replace(column=column)
    expected = "integer" if isinstance(field, models.IntegerField) else "text"
    if cell.kind == "null":
        if not field.null:
            yield place._replace(kind="null", text="is NULL")
    elif cell.kind != expected:
        yield place._replace(kind="type", text=f"{cell.kind} where {expected} belongs")
    elif expected == "text":
        try:
            yield from text_findings(field, text(cell.value), place)
        except UnicodeDecodeError as error:
            reason = f"not UTF-8: {error.reason} at byte {error.start}"
            yield place._replace(kind="utf-8", text=reason)


def text_findings(field: Any, value: str, place: Finding) -> Iterator[Finding]:
    if decode := DECODERS.get(place.column):
        try:
            decode(value)
        except ValueError as error:
            yield place._replace(kind="json", text=shown(str(error)))
    elif isinstance(field, Rfc3339Field) and not is_stored_form(value):
        yield place._replace(kind="timestamp", text=f"no timestamp of the store: {quoted(value)}")
    elif place.column == "status" and value not in TaskStatus.values:
        told = f"unknown status {quoted(value)}, read as running"
        yield place._replace(kind="status", text=told, wrong=False)


def relation_findings(
    model: type[models.Model], cells: dict[str, Cell], found: int | None, place: Finding
) -> Iterator[Finding]:
    count = cells.get("checkpoint_count")
    if model is TaskRecord and count and count.kind == "integer" and found not in (None, count[1]):
        said = f"is {count.value}, and there are {found} checkpoints"
        yield place._replace(kind="count", text=said, column="checkpoint_count")
    if model is TaskCheckpoint and found == 0:
        owner = quoted(cells["task_id"].value)
        yield place._replace(kind="orphan", text=f"there is no task {owner}", column="task_id")


def name_of(model: type[models.Model], cells: dict[str, Cell], key: Any) -> str:
    name = cells.get(str(model._meta.pk and model._meta.pk.column))
    return f"rowid {key}" if name is None or name.value is None else quoted(name.value)


def text(value: Any) -> Any:
    """SQLite's text is bytes here. Raises UnicodeDecodeError where it is not UTF-8."""
    return value.decode() if isinstance(value, bytes) else value


def quoted(value: Any) -> str:
    """A stored value on one line of ASCII, shortened."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    return shortened(ascii(value))


def shown(message: str | bytes) -> str:
    """What somebody else says, likewise, and without the quotes."""
    return quoted(message).strip("'\"")


def shortened(line: str) -> str:
    return line if len(line) <= 100 else f"{line[:99]}…"


def note(kind: str, told: str) -> Finding:
    return Finding(kind, told, wrong=False)
