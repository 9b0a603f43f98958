"""Reads a store in any condition, even a damaged one, without blocking writers."""

import errno
import sqlite3
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

from tasks.engines import engine
from tasks.maintenance.findings import Finding, escape, note
from tasks.models import TaskCheckpoint, TaskRecord
from tasks.store import filesystem
from tasks.store.sqlite_uri import read_only_uri
from tasks.store.untrusted import harden_sqlite
from tasks.store.workspace import store_connection, store_file

WAL_RESET_BUG = ((3, 7, 0), (3, 51, 2))  # first and last affected SQLite versions
ERRORS = (DatabaseError, sqlite3.Error, OSError)
ATTEMPTS = 10  # maximum attempts per statement if the file keeps changing
CLOCK_RESOLUTION = 0.02  # seconds; file timestamps are only precise to a few milliseconds
MISSING = "missing"


class Source(Protocol):
    """A store opened for reading. Each statement runs in its own transaction."""

    key_columns: dict[type[Any], str]
    placeholder: str

    def rows(self, sql: str, *params: Any) -> list[Any]: ...
    def value_and_type(self, column: str) -> str: ...
    def columns(self, table: str) -> list[str]: ...
    def table_kind(self, table: str) -> str: ...
    def triggers(self, table: str) -> list[str]: ...
    def database_findings(self) -> Iterator[Finding]: ...
    def close(self) -> None: ...


class SqliteSource:
    """A SQLite file, opened without Django because Django would set its journal mode."""

    placeholder = "?"

    def __init__(self, file: Path):
        # Use the rowid, because task_id may be NULL in several rows.
        self.key_columns = {TaskRecord: "rowid", TaskCheckpoint: "rowid"}
        self.file = file
        self._open()

    def _open(self) -> None:
        self.state = _settled_state(self.file)
        self.in_wal_mode = _in_wal_mode(self.file)
        address = f"{self.file.resolve().as_uri()}?mode=ro"
        if self.in_wal_mode:  # in WAL mode, reading could create -wal and -shm files
            address = read_only_uri(self.file)
        self.is_immutable = address.endswith("immutable=1")
        self.connection = sqlite3.connect(address, uri=True, isolation_level=None)
        harden_sqlite(self.connection)
        self.connection.text_factory = bytes  # text might not be valid UTF-8

    def rows(self, sql: str, *params: Any) -> list[Any]:
        """Return the query's rows. Retry if the file was opened as immutable but has changed."""
        for _ in range(ATTEMPTS):
            try:
                rows = self.connection.execute(sql, params).fetchall()
            except sqlite3.Error:
                if not self._is_outdated():
                    raise
            else:
                if not self._is_outdated():
                    return rows
            self.close()
            self._open()
        raise sqlite3.OperationalError("the file changes faster than it can be read")

    def _is_outdated(self) -> bool:
        return self.is_immutable and state(self.file) != self.state

    def value_and_type(self, column: str) -> str:
        return f't."{column}", typeof(t."{column}")'

    def columns(self, table: str) -> list[str]:
        return [row[1].decode() for row in self.rows(f"PRAGMA table_xinfo({table})")]

    def table_kind(self, table: str) -> str:
        rows = self.rows("SELECT type FROM sqlite_master WHERE name = ?", table)
        return rows[0][0].decode() if rows else MISSING

    def triggers(self, table: str) -> list[str]:
        sql = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ? ORDER BY name"
        return [row[0].decode("utf-8", "replace") for row in self.rows(sql, table)]

    def database_findings(self) -> Iterator[Finding]:
        yield from self._size_notes()
        version = sqlite3.sqlite_version
        if warning := filesystem.warning(self.file.parent):
            yield note("filesystem", warning)
        yield note("version", f"SQLite {version}")
        if WAL_RESET_BUG[0] <= sqlite3.sqlite_version_info <= WAL_RESET_BUG[1]:
            yield note("wal-reset", f"SQLite {version} has the WAL-reset bug; 3.51.3 does not")
        # without a WAL, readers block writers, so run the faster check
        check = "integrity_check" if self.in_wal_mode else "quick_check"
        for [text] in self.rows(f"PRAGMA {check}"):
            if text != b"ok":
                yield Finding("integrity", f"{check}: {escape(text)}")

    def _size_notes(self) -> Iterator[Finding]:
        wal = self.file.with_name(f"{self.file.name}-wal")
        wal_size = wal.stat().st_size if wal.exists() else 0
        yield note("size", f"the file has {self.file.stat().st_size} bytes, its WAL {wal_size}")
        [[free]], [[pages]] = self.rows("PRAGMA freelist_count"), self.rows("PRAGMA page_count")
        yield note("pages", f"{free} of {pages} pages are free")

    def close(self) -> None:
        self.connection.close()


def _in_wal_mode(file: Path) -> bool:
    """Return whether the file is in WAL mode. This drops any SQLite locks the process has on it."""
    with file.open("rb") as handle:
        return handle.read(19)[18:] == b"\x02"


def _settled_state(file: Path) -> tuple[int, ...]:
    """Return the file's state, waiting long enough that any later write will change it."""
    before = state(file)
    if abs(time.time_ns() - file.stat().st_mtime_ns) < CLOCK_RESOLUTION * 1e9:
        time.sleep(CLOCK_RESOLUTION)
    return before


def state(file: Path) -> tuple[int, ...]:
    """Return the state of an idle WAL-mode file. Every write changes at least one value in it."""
    status = file.stat()
    has_wal = file.with_name(f"{file.name}-wal").exists()
    return status.st_ino, status.st_size, status.st_mtime_ns, has_wal


class PostgresSource:
    """A store on a PostgreSQL server, read through Django's connection."""

    placeholder = "%s"

    def __init__(self, connection: BaseDatabaseWrapper):
        self.key_columns = {TaskRecord: "task_id", TaskCheckpoint: "id"}
        self.connection = connection

    def rows(self, sql: str, *params: Any) -> list[Any]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, params)
            return list(cursor.fetchall())

    def value_and_type(self, column: str) -> str:
        kind = f"pg_typeof(t.{column})::text"
        return (
            f"t.{column}, CASE WHEN t.{column} IS NULL THEN 'null'"
            f" WHEN {kind} IN ('bigint', 'smallint') THEN 'integer' ELSE {kind} END"
        )

    def columns(self, table: str) -> list[str]:
        with self.connection.cursor() as cursor:
            columns = self.connection.introspection.get_table_description(cursor, table)
        return [column.name for column in columns]

    def table_kind(self, table: str) -> str:
        sql = "SELECT relkind::text FROM pg_class WHERE oid = to_regclass(%s)"
        kinds = {"r": "table", "p": "table", "v": "view", "m": "materialized view"}
        rows = self.rows(sql, table)
        return kinds.get(rows[0][0], "relation") if rows else MISSING

    def triggers(self, table: str) -> list[str]:
        sql = "SELECT tgname FROM pg_trigger WHERE tgrelid = to_regclass(%s) AND NOT tgisinternal"
        return sorted(row[0] for row in self.rows(sql, table))

    def database_findings(self) -> Iterator[Finding]:
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
    """Open the store named in the settings. Raises OSError or a database error."""
    connection = store_connection()
    if not engine(connection).is_file:
        return PostgresSource(connection)
    file = store_file()
    if not stat.S_ISREG(file.stat().st_mode):  # opening a pipe would block forever
        raise OSError(errno.EINVAL, "it is not a regular file")
    return SqliteSource(file)
