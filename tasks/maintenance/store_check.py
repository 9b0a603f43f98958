"""Checks every row of a store.

Each row is read by a separate statement, to keep memory use low and transactions short. The same
statement counts the related rows, since a live agent could write between two statements.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from django.db import models

from tasks.fields import Rfc3339Field, is_canonical
from tasks.maintenance.findings import Finding, escape, quote
from tasks.maintenance.read_sources import ERRORS, MISSING, Source
from tasks.messages import decode_history, decode_items
from tasks.models import TaskCheckpoint, TaskRecord, TaskStatus

CHUNK = 500  # keys fetched per statement
DECODERS: dict[str, Any] = {
    "execution_history_json": decode_history,
    "resumable_history_json": decode_history,
    "items_json": decode_items,
}
RELATED_COUNT = {  # SQL that counts a row's related rows in the other table
    TaskRecord: "(SELECT count(*) FROM task_checkpoints c WHERE c.task_id = t.task_id)",
    TaskCheckpoint: "(SELECT count(*) FROM task_records r WHERE r.task_id = t.task_id)",
}


class Cell(NamedTuple):
    """A stored value and SQLite's name for its type. Text from SQLite is left as raw bytes."""

    kind: str
    value: Any


def findings(source: Source) -> Iterator[Finding]:
    """Check the whole store: the database first, then each table's schema and rows."""
    try:
        yield from source.database_findings()
    except ERRORS as error:
        yield Finding("unreadable", escape(str(error)))
    for model in (TaskRecord, TaskCheckpoint):
        try:
            yield from _table_findings(source, model)
        except ERRORS as error:
            table = model._meta.db_table
            yield Finding("unreadable", f"reading stopped: {escape(str(error))}", table)


def _table_findings(source: Source, model: type[models.Model]) -> Iterator[Finding]:
    table = model._meta.db_table
    if (kind := source.table_kind(table)) != "table":
        yield Finding(
            "table", "is missing" if kind == MISSING else f"is a {kind}, not a table", table
        )
        return
    for name in source.triggers(table):
        yield Finding("trigger", f"has the trigger {escape(name)}", table)
    actual = set(source.columns(table))
    expected = [str(field.column) for field in model._meta.concrete_fields]
    for column in sorted({*expected} - actual):
        yield Finding("column", "is missing", table, column=column)
    for column in sorted(actual - {*expected}):
        yield Finding("column", "is not part of the store", table, column=escape(column))
    columns = [column for column in expected if column in actual]
    for key in _keys(source, model):
        try:
            yield from _row_findings(source, model, key, columns)
        except ERRORS as error:
            yield Finding(
                "unreadable", escape(str(error)), table, f"{source.key_columns[model]} {key}"
            )


def _keys(source: Source, model: type[models.Model]) -> Iterator[Any]:
    key, after = source.key_columns[model], ""
    params: tuple[Any, ...] = ()
    while True:
        sql = f"SELECT {key} FROM {model._meta.db_table} {after} ORDER BY {key} LIMIT {CHUNK}"
        chunk = [row[0] for row in source.rows(sql, *params)]
        yield from chunk
        if len(chunk) < CHUNK:
            return
        after, params = f"WHERE {key} > {source.placeholder}", (chunk[-1],)


def _row_findings(
    source: Source, model: type[models.Model], key: Any, columns: list[str]
) -> Iterator[Finding]:
    small = [column for column in columns if column not in DECODERS]
    where = (
        f"FROM {model._meta.db_table} t WHERE t.{source.key_columns[model]} = {source.placeholder}"
    )
    selected = ", ".join(map(source.value_and_type, small))
    related = RELATED_COUNT[model] if "task_id" in columns else "NULL"
    row = next(iter(source.rows(f"SELECT {selected}, {related} {where}", key)), None)
    if row is None:
        return  # the row was deleted after its key was read
    cells = {name: _cell(row[2 * i : 2 * i + 2]) for i, name in enumerate(small)}
    base = Finding("", "", model._meta.db_table, _row_name(model, cells, key))
    for column in columns:
        if column in cells:
            yield from cell_findings(model, column, cells[column], base)
            continue
        # read large columns one at a time, since each may hold a hundred megabytes
        for value_and_type in source.rows(f"SELECT {source.value_and_type(column)} {where}", key):
            yield from cell_findings(model, column, _cell(value_and_type), base)
    yield from _relation_findings(model, cells, row[-1], base)


def _cell(value_and_type: Any) -> Cell:
    value, kind = value_and_type
    return Cell(_decode(kind), value)


def cell_findings(
    model: type[models.Model], column: str, cell: Cell, base: Finding
) -> Iterator[Finding]:
    """Check one value. The findings are copies of `base`, which identifies the row."""
    field = next(field for field in model._meta.concrete_fields if field.column == column)
    base = base._replace(column=column)
    expected = "integer" if isinstance(field, models.IntegerField) else "text"
    if cell.kind == "null":
        if not field.null:
            yield base._replace(kind="null", text="is NULL")
    elif cell.kind != expected:
        yield base._replace(kind="type", text=f"{cell.kind} instead of {expected}")
    elif expected == "text":
        try:
            yield from _text_findings(field, _decode(cell.value), base)
        except UnicodeDecodeError as error:
            reason = f"not UTF-8: {error.reason} at byte {error.start}"
            yield base._replace(kind="utf-8", text=reason)


def _text_findings(field: Any, value: str, base: Finding) -> Iterator[Finding]:
    if decode := DECODERS.get(base.column):
        try:
            decode(value)
        except ValueError as error:
            yield base._replace(kind="json", text=escape(str(error)))
    elif isinstance(field, Rfc3339Field) and not is_canonical(value):
        yield base._replace(
            kind="timestamp", text=f"not a timestamp in the store's format: {quote(value)}"
        )
    elif base.column == "status" and value not in TaskStatus.values:
        text = f"unknown status {quote(value)}, read as running"
        yield base._replace(kind="status", text=text, wrong=False)


def _relation_findings(
    model: type[models.Model], cells: dict[str, Cell], related: int | None, base: Finding
) -> Iterator[Finding]:
    count = cells.get("checkpoint_count")
    if model is TaskRecord and count and count.kind == "integer":
        if related not in (None, count.value):
            text = f"is {count.value}, but there are {related} checkpoints"
            yield base._replace(kind="count", text=text, column="checkpoint_count")
    elif model is TaskCheckpoint and related == 0:
        task_id = quote(cells["task_id"].value)
        yield base._replace(kind="orphan", text=f"there is no task {task_id}", column="task_id")


def _row_name(model: type[models.Model], cells: dict[str, Cell], key: Any) -> str:
    cell = cells.get(str(model._meta.pk and model._meta.pk.column))
    return f"rowid {key}" if cell is None or cell.value is None else quote(cell.value)


def _decode(value: Any) -> Any:
    """Decode text, which SQLite returns as bytes. Raises UnicodeDecodeError unless it is UTF-8."""
    return value.decode() if isinstance(value, bytes) else value
