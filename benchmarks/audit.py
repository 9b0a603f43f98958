"""Checks a store's invariants through a plain database driver."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

COUNTS = """
    SELECT task_id, checkpoint_count,
        (SELECT count(*) FROM task_checkpoints AS c WHERE c.task_id = t.task_id)
    FROM task_records AS t ORDER BY task_id"""
ORPHANS = """
    SELECT DISTINCT task_id FROM task_checkpoints
    WHERE task_id NOT IN (SELECT task_id FROM task_records)"""
CHECKPOINTS = "SELECT task_id, checkpoint_note, created_at FROM task_checkpoints ORDER BY id"
TASKS = "SELECT task_id, status, checkpoint_count, latest_checkpoint_note FROM task_records"
DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"


@dataclass(frozen=True)
class Store:
    """A store's URL for Django, and its file path or connection string for a plain driver."""

    url: str
    address: str

    @classmethod
    def on_sqlite(cls, folder: Path) -> "Store":
        return cls(f"sqlite:///{folder / 'tasks.db'}", str(folder / "tasks.db"))

    @classmethod
    def on_postgresql(cls, server: dict[str, str]) -> "Store":
        """Return the store on a PostgreSQL server; `server` is an entry in Django's DATABASES."""
        return cls(
            "postgres://{USER}@/{NAME}?host={HOST}".format(**server),
            "host={HOST} port={PORT} user={USER} dbname={NAME}".format(**server),
        )

    @property
    def is_file(self) -> bool:
        return self.url.startswith("sqlite:")

    def rows(self, statement: str) -> list[Any]:
        with closing(self.open()) as connection:
            return list(connection.execute(statement).fetchall())

    def open(self) -> Any:
        """Connect through a plain database driver."""
        return sqlite3.connect(self.address) if self.is_file else psycopg.connect(self.address)


def inconsistencies(store: Store) -> Iterator[str]:
    """Report tasks with a wrong checkpoint count, and checkpoints whose task is missing."""
    for task_id, count, actual in store.rows(COUNTS):
        if count != actual:
            yield f"{task_id}: checkpoint_count is {count}, of {actual} checkpoints"
    for (task_id,) in store.rows(ORPHANS):
        yield f"{task_id}: checkpoints without their task"


def damage(store: Store) -> Iterator[str]:
    """Report what SQLite's integrity check finds."""
    for (message,) in store.rows("PRAGMA integrity_check"):
        if message != "ok":
            yield f"integrity_check: {message}"


def deadlocks(store: Store) -> Iterator[str]:
    """Report the number of deadlocks since PostgreSQL was started."""
    [(count,)] = store.rows(DEADLOCKS)
    if count:
        yield f"{count} deadlocks"
