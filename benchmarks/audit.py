"""What must hold of a store whatever has happened to it, read with a plain driver."""

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
    """Where a store is: its URL for Django, and for a driver its file or its connection string."""

    url: str
    address: str

    @classmethod
    def on_sqlite(cls, folder: Path) -> "Store":
        return cls(f"sqlite:///{folder / 'tasks.db'}", str(folder / "tasks.db"))

    @classmethod
    def on_postgresql(cls, server: dict[str, str]) -> "Store":
        """What it is given is an entry of DATABASES."""
        return cls(
            "postgres://{USER}@/{NAME}?host={HOST}".format(**server),
            "host={HOST} port={PORT} user={USER} dbname={NAME}".format(**server),
        )

    @property
    def is_file(self) -> bool:
        return self.url.startswith("sqlite:")

    def rows(self, statement: str) -> list[Any]:
        with closing(self._open()) as connection:
            return list(connection.execute(statement).fetchall())

    def _open(self) -> Any:
        return sqlite3.connect(self.address) if self.is_file else psycopg.connect(self.address)


def drift(store: Store) -> Iterator[str]:
    """Tasks whose count is not that of their checkpoints, and checkpoints without a task."""
    for task_id, count, actual in store.rows(COUNTS):
        if count != actual:
            yield f"{task_id}: checkpoint_count is {count}, of {actual} checkpoints"
    for (task_id,) in store.rows(ORPHANS):
        yield f"{task_id}: checkpoints without their task"


def damage(store: Store) -> Iterator[str]:
    """What SQLite finds wrong with its file."""
    for (found,) in store.rows("PRAGMA integrity_check"):
        if found != "ok":
            yield f"integrity_check: {found}"


def deadlocks(store: Store) -> Iterator[str]:
    """What PostgreSQL has counted since it was started."""
    [(count,)] = store.rows(DEADLOCKS)
    if count:
        yield f"{count} deadlocks"
