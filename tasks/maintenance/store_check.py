"""What is wrong with a store and where.

Every row is read by a statement of its own, so memory holds one row and no read lasts long; its
count, its checkpoints and its task are compared within that statement, as a live agent writes on.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from django.db import models

from tasks.fields import Rfc3339Field, is_stored_form
from tasks.maintenance.findings import Finding, quoted, shown
from tasks.maintenance.read_sources import ABSENT, ERRORS, Source
from tasks.messages import decode_history, decode_items
from tasks.models import TaskCheckpoint, TaskRecord, TaskStatus

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


class Cell(NamedTuple):
    """A stored value with SQLite's name of its type; text is bytes there until it is decoded."""

    kind: str
    value: Any


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
