"""A store opened to look at it as it is, without writing to it or keeping anybody waiting."""

import errno
import sqlite3
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from django.db import DatabaseError, models
from django.db.backends.base.base import BaseDatabaseWrapper

from tasks.engines import engine
from tasks.maintenance.findings import Finding, note, shown
from tasks.models import TaskCheckpoint, TaskRecord
from tasks.store import filesystem
from tasks.store.sqlite_uri import read_only_address
from tasks.store.untrusted import harden_sqlite
from tasks.store.workspace import store_connection, store_file

WAL_RESET_BUG = ((3, 7, 0), (3, 51, 2))  # the first and the last version that have it
ERRORS = (DatabaseError, sqlite3.Error, OSError)
TRIES = 10  # of one statement, each after another write
TICK = 0.02  # seconds; a file system's clock for its files is no finer than some milliseconds
ABSENT = "missing"


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
        self._open()

    def _open(self) -> None:
        self.state = settled_state(self.file)
        self.in_wal_mode = in_wal_mode(self.file)
        address = f"{self.file.resolve().as_uri()}?mode=ro"
        if self.in_wal_mode:  # else SQLite makes no file beside the one it reads
            address = read_only_address(self.file)
        self.is_at_rest = address.endswith("immutable=1")
        self.connection = sqlite3.connect(address, uri=True, isolation_level=None)
        harden_sqlite(self.connection)
        self.connection.text_factory = bytes  # not all text need be UTF-8

    def rows(self, sql: str, *params: Any) -> list[Any]:
        """The answer, taken once more where a writer came to a file that was taken for at rest."""
        for _ in range(TRIES):
            try:
                found = self.connection.execute(sql, params).fetchall()
            except sqlite3.Error:
                if not self._is_outdated():
                    raise
            else:
                if not self._is_outdated():
                    return found
            self.close()
            self._open()
        raise sqlite3.OperationalError("the file changes faster than it can be read")

    def _is_outdated(self) -> bool:
        return self.is_at_rest and state(self.file) != self.state

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
        version = sqlite3.sqlite_version
        if warning := filesystem.warning(self.file.parent):
            yield note("filesystem", warning)
        yield note("version", f"SQLite {version}")
        if WAL_RESET_BUG[0] <= sqlite3.sqlite_version_info <= WAL_RESET_BUG[1]:
            yield note("wal-reset", f"SQLite {version} has the WAL-reset bug; 3.51.3 has not")
        # without a WAL a reader keeps writers waiting, so the shorter check has to do
        check = "integrity_check" if self.in_wal_mode else "quick_check"
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


def in_wal_mode(file: Path) -> bool:
    """Not to be asked of a file that SQLite has open: closing it would drop SQLite's locks."""
    with file.open("rb") as opened:
        return opened.read(19)[18:] == b"\x02"


def settled_state(file: Path) -> tuple[int, ...]:
    """The state, once a further write is sure to make it another."""
    found = state(file)
    if abs(time.time_ns() - file.stat().st_mtime_ns) < TICK * 1e9:
        time.sleep(TICK)
    return found


def state(file: Path) -> tuple[int, ...]:
    """What a writer to a WAL file that was at rest cannot leave as it was."""
    found = file.stat()
    is_written = file.with_name(f"{file.name}-wal").exists()
    return found.st_ino, found.st_size, found.st_mtime_ns, is_written


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
    if not engine(connection).is_file:
        return PostgresSource(connection)
    file = store_file()
    if not stat.S_ISREG(file.stat().st_mode):  # to open a pipe would wait for ever
        raise OSError(errno.EINVAL, "it is no regular file")
    return SqliteSource(file)
