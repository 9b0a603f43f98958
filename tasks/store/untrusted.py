"""Reject a store that is a link to another file, or whose schema could run code.

An agent has a shell, and prompt injection can make it do anything. The site opens the agent's store
with its own permissions, so the store must not lead to another file or run code when it is used.
"""

import sqlite3
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from tasks.engines import engine
from tasks.escaping import one_line

INDEX = "index"  # the database of `tasks.index`, which has triggers of its own
TABLES = ("task_records", "task_checkpoints")
WRITTEN_TABLES = (*TABLES, "django_migrations")  # the tables that the site writes to
# The largest value or row in bytes (SQLite's default). Reading a larger one raises an error.
MAX_VALUE_SIZE = 1_000_000_000
MAX_DISPLAY_SIZE = 256 * 1024 * 1024  # bytes per value; a page needs several times as much memory
MAX_NAME_LENGTH = 300  # the maximum length of a name (such as a trigger's) in a message
DISPLAY_CUT = 100_000  # bytes to show of a value that is larger than MAX_DISPLAY_SIZE
SUFFIXES = ("", "-wal", "-shm", "-journal")  # of SQLite's companion files, and of none
_WRITES = {sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE}
_HOW_TO_ALLOW = "If this is intended, set GLOAMY_LINKED_STORE=1."

_SQLITE = """
    SELECT CASE WHEN type = 'trigger' THEN 'the trigger ' || name || ' on ' || tbl_name
        WHEN type = 'view' THEN 'a view in place of ' || name
        ELSE 'a virtual table in place of ' || name END
    FROM sqlite_master
    WHERE (type = 'trigger' AND lower(tbl_name) IN (%s, %s, %s))
    OR (lower(name) IN (%s, %s, %s) AND (type = 'view'
        OR type = 'table' AND (rootpage = 0 OR sql LIKE 'CREATE VIRTUAL%%')))
    UNION ALL SELECT 'the generated column ' || name
    FROM (SELECT * FROM pragma_table_xinfo(%s) UNION ALL SELECT * FROM pragma_table_xinfo(%s))
    WHERE hidden
"""
_POSTGRESQL = """
    WITH ours AS (
        SELECT * FROM pg_class WHERE oid IN (to_regclass(%s), to_regclass(%s), to_regclass(%s))
    )
    SELECT 'the trigger ' || tgname || ' on ' || relname
    FROM pg_trigger JOIN ours ON tgrelid = ours.oid WHERE NOT tgisinternal
    UNION ALL SELECT 'the rule ' || rulename || ' on ' || relname
    FROM pg_rewrite JOIN ours ON ev_class = ours.oid WHERE relkind IN ('r', 'p')
    UNION ALL SELECT 'something that is no table in place of ' || relname
    FROM ours WHERE relkind NOT IN ('r', 'p')
    UNION ALL SELECT 'the generated column ' || attname
    FROM pg_attribute JOIN ours ON attrelid = ours.oid WHERE attgenerated <> ''
"""


def file_problem(file: Path, inside: Path, *, may_be_linked: bool) -> str:
    """Return why the store's file or a companion file must not be opened, or "" if all are safe."""
    for part in (file.with_name(file.name + suffix) for suffix in SUFFIXES):
        try:
            real = part.resolve()  # also follows dangling links, as SQLite would
        except (OSError, RuntimeError):
            return f"{part} is a link that leads to itself."
        if not may_be_linked and not real.is_relative_to(inside.resolve()):
            return f"{part} is really {real}, outside {inside}. {_HOW_TO_ALLOW}"
        try:
            status = part.stat()
        except OSError:
            continue  # a missing or inaccessible file is reported elsewhere
        is_file = stat.S_ISREG(status.st_mode)
        if not is_file and not stat.S_ISDIR(status.st_mode):
            return f"{part} is not a regular file."
        if not may_be_linked and is_file and status.st_nlink > 1:
            return f"{part} has another hard link elsewhere. {_HOW_TO_ALLOW}"
    return ""


def schema_problem(connection: BaseDatabaseWrapper) -> str:
    """Describe anything in the schema that could run code when the site writes, or return ""."""
    with connection.cursor() as cursor:
        if engine(connection).is_file:
            cursor.execute(_SQLITE, (*WRITTEN_TABLES, *WRITTEN_TABLES, *TABLES))
        else:
            cursor.execute(_POSTGRESQL, WRITTEN_TABLES)
        row = cursor.fetchone()
    if not row:
        return ""
    return f"the store has {one_line(row[0])[:MAX_NAME_LENGTH]}, which gloamy never creates."


def compile_statements(connection: BaseDatabaseWrapper, table: str, columns: Sequence[str]) -> None:
    """Compile test statements, so that SQLite reports errors such as a missing collation.

    SQLite opens a table without checking what its columns and indexes refer to, but it checks them
    when it compiles a statement. The test statements are not executed.
    """
    if not engine(connection).is_file:
        return
    names = ", ".join(columns)
    with connection.cursor() as cursor:
        for statement in (
            f"SELECT rowid FROM {table} ORDER BY {names}",
            f"INSERT INTO {table} ({names}) SELECT {names} FROM {table}",
            f"UPDATE {table} SET {', '.join(f'{name} = {name}' for name in columns)}",
            f"DELETE FROM {table}",
        ):
            cursor.execute(f"EXPLAIN {statement}")


def harden(sender: Any, connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    """Harden a new SQLite connection (a `connection_created` receiver)."""
    if engine(connection).is_file and connection.alias != INDEX:
        harden_sqlite(connection.connection)


def harden_sqlite(connection: sqlite3.Connection) -> None:
    """Prevent a database's schema from writing data or running functions with side effects.

    Corrupt pages are also detected. A trigger may be created at any time, so every statement is
    checked when it is compiled. Foreign key cascades are allowed: SQLite names no source for them.
    Extensions need no check, because Python does not load them by default.
    """
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_SIZE)
    connection.set_authorizer(_authorize)
    if sys.version_info >= (3, 12):
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)


def _authorize(
    action: int, first: str | None, second: str | None, database: str | None, source: str | None
) -> int:
    """Deny writes by a trigger or view (named in `source`), and allow everything else."""
    is_denied = source is not None and action in _WRITES
    return sqlite3.SQLITE_DENY if is_denied else sqlite3.SQLITE_OK


def display_text(raw: bytes) -> str:
    """Decode stored text for display: invalid UTF-8 becomes �, and very long text is truncated."""
    if len(raw) <= MAX_DISPLAY_SIZE:
        return raw.decode("utf-8", "replace")
    beginning = raw[:DISPLAY_CUT].decode("utf-8", "replace")
    return f"{beginning}… cut: {len(raw):,} bytes are too many to show"
