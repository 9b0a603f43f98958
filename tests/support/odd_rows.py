"""Unusual ids and rows that other programs may have written to a store."""

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from tests.support.factories import DATA, ORDER, TABLES, checkpoint, task

ODD_IDS = [
    "",
    ".",
    "..",
    "a/../b",
    "/",
    "//example.org",
    "?",
    "#",
    "%",
    "%2F",
    "%zz",
    "a b+c&d=e;f",
    "a\nb",
    "\r\n",
    "🦉🌘",
    "\u202eabc",
    "\x00",
    "<b>'\"",
    "x" * 9_000,
    "🦉" * 2_250,
]
NASTY = "t'\"; DROP TABLE x;-- 🦉"


def fill(store: BaseDatabaseWrapper) -> list[str]:
    """Insert unusual rows into the store and return all thread ids that are stored as text."""
    if store.vendor == "sqlite":
        script = (DATA / "original.sql").read_text(encoding="utf-8").split("INSERT INTO task_")[1:]
        with store.cursor() as cursor:
            for part in script:
                statement = part.split(";\n-- the ids")[0].rstrip().removesuffix(";")
                cursor.execute(f"INSERT INTO task_{statement}".replace("%", "%%"))
    for number in range(3):
        record = task(f"{NASTY} {number}", thread_id=NASTY, last_error="é\x1b")
        for step in range(2):
            checkpoint(record, step)
    return thread_ids(store)


def thread_ids(store: BaseDatabaseWrapper) -> list[str]:
    with store.cursor() as cursor:
        is_text = "" if store.vendor == "postgresql" else "WHERE typeof(thread_id) = 'text'"
        cursor.execute(f"SELECT DISTINCT thread_id FROM task_records {is_text} ORDER BY 1")
        return [id_ for (id_,) in cursor.fetchall()]


def dump(store: BaseDatabaseWrapper) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows of both tables. On SQLite, add each value's type and return text as bytes."""
    return {table: _dump(store, table) for table in TABLES}


def _dump(store: BaseDatabaseWrapper, table: str) -> list[tuple[Any, ...]]:
    columns = ", ".join(TABLES[table])
    if store.vendor == "sqlite":
        columns = ", ".join(
            f"typeof({name}), CASE typeof({name}) WHEN 'text' THEN CAST({name} AS BLOB)"
            f" ELSE {name} END"
            for name in TABLES[table]
        )
    with store.cursor() as cursor:
        cursor.execute(f"SELECT {columns} FROM {table} ORDER BY {ORDER[table]}")
        return sorted(cursor.fetchall(), key=repr)
