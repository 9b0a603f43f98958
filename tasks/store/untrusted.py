"""What an agent's store must not be: somebody else's file, or tables that do more than hold rows.

An agent has a shell, and may have been talked into anything. Its store is opened with the rights of
whoever runs the site, so the file must be the agent's own, and opening it must run nothing.
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

TABLES = ("task_records", "task_checkpoints")
WRITTEN = (*TABLES, "django_migrations")  # what the site writes in a store
# Bytes of one value and of a row: what SQLite takes unless it was built to take more, and with it
# the original. Beyond it a read is an error, and no memory is asked for.
LARGEST_VALUE = 1_000_000_000
LARGEST_SHOWN = 256 * 1024 * 1024  # bytes of a value on a page, which takes several times as many
LONGEST_NAME = 300  # characters that are told of a name in a schema
CUT = 100_000  # bytes that are shown of one that is larger
BESIDE = ("", "-wal", "-shm", "-journal")  # endings of the file, and of those that SQLite keeps
_WRITES = {sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE}
_TO_ALLOW = "If that is meant, set GLOAMY_LINKED_STORE=1."

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


def wrong_file(file: Path, inside: Path, *, may_be_linked: bool) -> str:
    """Why a store's file, or one that SQLite keeps beside it, is not to be opened, or ""."""
    for part in (file.with_name(file.name + ending) for ending in BESIDE):
        try:
            real = part.resolve()  # also of a link to nothing, which SQLite would fill
        except (OSError, RuntimeError):
            return f"{part} is a link that leads to itself."
        if not may_be_linked and not real.is_relative_to(inside.resolve()):
            return f"{part} is in truth {real}, outside of {inside}. {_TO_ALLOW}"
        try:
            found = part.stat()
        except OSError:
            continue  # it is not there, or cannot be looked at, and that is said elsewhere
        if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
            return f"{part} is no regular file."
        if not may_be_linked and found.st_nlink > 1 and stat.S_ISREG(found.st_mode):
            return f"{part} has a second name elsewhere, a hard link. {_TO_ALLOW}"
    return ""


def wrong_schema(connection: BaseDatabaseWrapper) -> str:
    """What is at or in place of the tables we write that could run something, or ""."""
    with connection.cursor() as cursor:
        if engine(connection).is_file:
            cursor.execute(_SQLITE, (*WRITTEN, *WRITTEN, *TABLES))
        else:
            cursor.execute(_POSTGRESQL, WRITTEN)
        found = cursor.fetchone()
    if not found:
        return ""
    return f"the store has {one_line(found[0])[:LONGEST_NAME]}, which gloamy never makes."


def compile_statements(connection: BaseDatabaseWrapper, table: str, columns: Sequence[str]) -> None:
    """Have the database raise what it would at every page, such as for a collation it lacks.

    SQLite reads a table without a word on what its columns and indexes name. Nothing runs here.
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
    """For `connection_created`."""
    if engine(connection).is_file:
        harden_sqlite(connection.connection)


def harden_sqlite(connection: sqlite3.Connection) -> None:
    """Let a file's schema write nothing, and run no function that does more than compute.

    Nor shall a spoilt page mislead. A trigger may be made at any time, so each statement is looked
    at; SQLite asks once for a statement that it keeps. The cascade of a foreign key has no name.
    Extensions are never loaded: Python's connections have that off.
    """
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST_VALUE)
    connection.set_authorizer(_authorize)
    if sys.version_info >= (3, 12):
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)


def _authorize(
    action: int, first: str | None, second: str | None, database: str | None, within: str | None
) -> int:
    """What SQLite asks of each step of a statement: no trigger and no view may write.

    `within` is the name of the one that has the statement do this, if one has.
    """
    is_refused = within is not None and action in _WRITES
    return sqlite3.SQLITE_DENY if is_refused else sqlite3.SQLITE_OK


def shown(raw: bytes) -> str:
    """A stored text for a page: � for what is not UTF-8, and the beginning of what is too large."""
    if len(raw) <= LARGEST_SHOWN:
        return raw.decode("utf-8", "replace")
    return f"{raw[:CUT].decode('utf-8', 'replace')}… cut: {len(raw):,} bytes are too many to show"
