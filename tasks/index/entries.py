"""Reads what the index holds from the store's rows, without reading whole histories."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections
from django.db.backends.utils import CursorWrapper

from tasks import large_values
from tasks.engines import PerEngine, engine
from tasks.fields import to_text
from tasks.index.models import MAX_TEXT, IndexedTask, text
from tasks.large_values import RowId
from tasks.models import PREFIX_LENGTH, USER_TURN, TaskRecord, TaskRecordQuerySet
from tasks.store import own_index, transactions

Version = tuple[str, str | None]  # a row's updated_at and task_id

# The values come from our index in the store, which a history does not slow down.
_VERSIONS = PerEngine(
    sqlite="SELECT rowid, updated_at, task_id FROM task_records AS changed",
    postgresql="SELECT task_id, updated_at, task_id FROM task_records AS changed",
)
# Without it, SQLite would read all histories, unless it has to find times and ids one by one.
_VERSIONS_BY_SCAN = """
    SELECT changed.rowid, changed.updated_at, task.task_id
    FROM task_records AS changed CROSS JOIN task_records AS task ON task.rowid = changed.rowid"""
# The rows and checkpoints added since the largest rowid and checkpoint id of the last look.
_ADDED = PerEngine(
    sqlite="""
        SELECT rowid FROM task_records WHERE rowid > %s UNION
        SELECT task_records.rowid FROM task_checkpoints JOIN task_records USING (task_id)
        WHERE id > %s""",
    postgresql="SELECT task_id FROM task_checkpoints WHERE %s IS NOT NULL AND id > %s",
)
_LAST_IDS = PerEngine(
    sqlite="SELECT (SELECT max(rowid) FROM task_records), (SELECT max(id) FROM task_checkpoints)",
    postgresql="SELECT 0, (SELECT max(id) FROM task_checkpoints)",
)
_COLUMNS = (
    "task_id",
    "thread_id",
    "channel",
    "provider",
    "model",
    "status",
    "created_at",
    "updated_at",
    "checkpoint_count",
)
_TEXTS = ("channel", "provider", "model", "status", "created_at", "updated_at")
FIELDS = (*_COLUMNS, "can_resume", "has_texts")  # all but the key, and what is made later
_ROWS = f"""
    SELECT {", ".join(_COLUMNS)}, left(resumable_history_json, {PREFIX_LENGTH})
    FROM task_records WHERE task_id = ANY(%s)"""


def versions(low: str | None, top: str | None) -> dict[str, Version]:
    """Return the version of each row written since `low` and before `top`, by key.

    A bound of None includes rows without a time, which only a damaged SQLite file has.
    """
    time = "changed.updated_at"
    below = f"{time} < %s" if low is not None else f"({time} < %s OR {time} IS NULL)"
    bounds = {f"{time} >= %s": low, below: top}
    conditions = [condition for condition, bound in bounds.items() if bound is not None]
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    with _reading() as cursor:
        has_index = not engine(cursor.db).is_file or own_index.exists(cursor)
        statement = _VERSIONS.of(cursor.db) if has_index else _VERSIONS_BY_SCAN
        cursor.execute(f"{statement} {where}", [bound for bound in (low, top) if bound is not None])
        return {str(key): (_short(updated), text(id_)) for key, updated, id_ in cursor.fetchall()}


@contextmanager
def _reading() -> Iterator[CursorWrapper]:
    """Open the store for one statement, whose texts may be of any kind."""
    with (
        transactions.reading(single_statement=True) as cursor,
        transactions.non_utf8_as(cursor, bytes),
    ):
        yield cursor


def chunk_start(top: str | None, size: int) -> str | None:
    """Return the time since which the last `size` rows before `top` were written.

    Returns None if there are fewer rows.
    """
    below, values = ("", []) if top is None else ("WHERE updated_at < %s", [top])
    with _reading() as cursor:
        cursor.execute(
            f"SELECT updated_at FROM task_records {below}"
            " ORDER BY updated_at DESC LIMIT 1 OFFSET %s",
            [*values, size],
        )
        row = cursor.fetchone()
    return row[0] if row and isinstance(row[0], str) else None


def last_ids() -> tuple[int, int]:
    """Return the store's largest rowid (0 on PostgreSQL) and its largest checkpoint id."""
    with transactions.reading(single_statement=True) as cursor:
        cursor.execute(_LAST_IDS.of(cursor.db))
        rowid, checkpoint = (id_ if isinstance(id_, int) else 0 for id_ in cursor.fetchone())
        return rowid, checkpoint


def added_since(rowid: int, checkpoint: int) -> set[str]:
    """Return the keys of the rows that were added, or got a checkpoint, since `last_ids`."""
    with transactions.reading(single_statement=True) as cursor:
        cursor.execute(_ADDED.of(cursor.db), [rowid, checkpoint])
        return {str(key) for (key,) in cursor.fetchall()}


def rows(keys: Collection[str]) -> TaskRecordQuerySet:
    """Return the store's rows with these keys."""
    if engine(connections[TaskRecord.objects.db]).has_blob_handles:
        return _rows(rowid__in=[int(key) for key in keys])
    return _rows(pk__in=keys)


def of_threads(thread_ids: Collection[str]) -> TaskRecordQuerySet:
    return _rows(thread_id__in=thread_ids)


def with_id(task_id: str) -> TaskRecordQuerySet:
    return _rows(pk=task_id)


def _rows(**lookup: Any) -> TaskRecordQuerySet:
    rows: TaskRecordQuerySet = TaskRecord.objects.annotate(rowid=RowId("pk")).filter(**lookup)
    return rows


def keys(queryset: TaskRecordQuerySet) -> set[str]:
    """Return the keys of the rows in a queryset that has their rowids."""
    column = "rowid" if engine(connections[queryset.db]).has_blob_handles else "task_id"
    return {str(key) for key in queryset.values_list(column, flat=True)}


def records(wanted: Collection[str]) -> dict[str, TaskRecord]:
    """Return the store's rows as a list page needs them, by key."""
    found: Any = rows(wanted).for_list()
    is_file = engine(connections[found.db]).has_blob_handles
    return {str(row.rowid) if is_file else row.task_id: row for row in found}


def is_right(entry: IndexedTask, record: TaskRecord | None) -> bool:
    """Return whether the entry has the values of its row."""
    if record is None or entry.task_id != text(record.task_id):
        return False
    stored = (_short(to_text(getattr(record, name))) for name in _TEXTS)
    return all(getattr(entry, name) == value for name, value in zip(_TEXTS, stored, strict=True))


def read(wanted: list[str]) -> list[IndexedTask]:
    """Return an entry for each of these rows that still exists."""
    with transactions.reading_as_stored() as cursor:
        if engine(cursor.db).has_blob_handles:
            existing = keys(rows(wanted))
            with cursor.db.wrap_database_errors:
                return [_read_row(cursor.db.connection, key) for key in wanted if key in existing]
        cursor.execute(_ROWS, [wanted])
        return [_entry(row[0], row[:-1], row[-1]) for row in cursor.fetchall()]


def _read_row(raw: Any, key: str) -> IndexedTask:
    start = {"resumable_history_json": PREFIX_LENGTH}
    beginnings, row = large_values.read_row(raw, "task_records", int(key), start, *_COLUMNS)
    return _entry(key, row, beginnings["resumable_history_json"].start)


def _entry(key: str, row: tuple[Any, ...], resumable: Any) -> IndexedTask:
    values = dict(zip(_COLUMNS, row, strict=True))
    count = values["checkpoint_count"]
    return IndexedTask(
        key=key,
        task_id=text(values["task_id"]),
        thread_id=text(values["thread_id"]),
        checkpoint_count=count if isinstance(count, int) else 0,
        can_resume=USER_TURN in str(resumable),
        **{name: _short(values[name]) for name in _TEXTS},
    )


def _short(value: Any) -> str:
    return (text(value) or "")[:MAX_TEXT]
