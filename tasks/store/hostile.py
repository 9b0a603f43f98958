"""What an agent's store must not be: somebody else's file, or tables that do more than hold rows.

An agent has a shell, and may have been talked into anything. Its store is opened with the rights of
whoever runs the site, so the file must be the agent's own, and opening it must run nothing.
"""

import sqlite3
import stat
import sys
from pathlib import Path
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

TABLES = ("task_records", "task_checkpoints")
# Bytes of one value, and so of a row: what SQLite takes unless it was built to take more, and so
# what the original can write. Beyond it a read is an error, and no memory is asked for.
LARGEST_VALUE = 1_000_000_000
LARGEST_SHOWN = 256 * 1024 * 1024  # bytes of a value on a page, which takes several times as many
CUT = 100_000  # bytes that are shown of one that is larger
BESIDE = ("", "-wal", "-shm", "-journal")

_SQLITE = """
    SELECT CASE WHEN type = 'trigger' THEN 'the trigger ' || name || ' on ' || tbl_name
        WHEN type = 'view' THEN 'a view in place of ' || name
        ELSE 'a virtual table in place of ' || name END
    FROM sqlite_master
    WHERE (type = 'trigger' AND lower(tbl_name) IN (%s, %s))
    OR (lower(name) IN (%s, %s) AND (type = 'view'
        OR type = 'table' AND (rootpage = 0 OR sql LIKE 'CREATE VIRTUAL%%')))
    UNION ALL SELECT 'the generated column ' || name
    FROM (SELECT * FROM pragma_table_xinfo(%s) UNION ALL SELECT * FROM pragma_table_xinfo(%s))
    WHERE hidden
"""
_POSTGRESQL = """
    WITH ours AS (
        SELECT * FROM pg_class WHERE oid IN (to_regclass(%s), to_regclass(%s))
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


_TO_ALLOW = "If that is meant, set GLOAMY_LINKED_STORE=1."


def wrong_schema(connection: BaseDatabaseWrapper) -> str:
    """What is at or in place of the two tables that could run something, or ""."""
    is_sqlite = connection.vendor == "sqlite"
    with connection.cursor() as cursor:
        cursor.execute(_SQLITE if is_sqlite else _POSTGRESQL, TABLES * (3 if is_sqlite else 1))
        found = cursor.fetchone()
    return f"the store has {found[0]}, which gloamy never makes." if found else ""


def harden(sender: Any, connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    """For `connection_created`."""
    if connection.vendor == "sqlite":
        harden_sqlite(connection.connection)


def harden_sqlite(connection: sqlite3.Connection) -> None:
    """Let a file's schema run no function that does more than compute, nor a spoilt page mislead.

    Extensions are never loaded: Python's connections have that off.
    """
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST_VALUE)
    if sys.version_info >= (3, 12):
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)


def shown(raw: bytes) -> str:
    """A stored text for a page: � for what is not UTF-8, and the beginning of what is too large."""
    if len(raw) <= LARGEST_SHOWN:
        return raw.decode("utf-8", "replace")
    return f"{raw[:CUT].decode('utf-8', 'replace')}… cut: {len(raw):,} bytes are too many to show"
