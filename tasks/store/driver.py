"""Run the verbs' statements on the database driver, since Django's cursors take longer than SQLite.

If someone logs or wraps a connection's statements, they run through Django's cursors, as usual.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from tasks.engines import PerEngine, engine, storable

Statement = str | PerEngine
# Runs a statement with named parameters and returns a cursor with its result.
Execute = Callable[[Statement, dict[str, Any]], Any]

READ = "BEGIN"
WRITE = PerEngine(sqlite="BEGIN IMMEDIATE", postgresql="BEGIN")  # on SQLite, locks the file
_LOCK_FILE = "UPDATE task_records SET status = status WHERE 0"  # changes nothing


@contextmanager
def transact(connection: BaseDatabaseWrapper, begin: Statement | None) -> Iterator[Execute]:
    """Yield a function that runs statements in a transaction, which the statement `begin` opens.

    Inside a transaction of the caller, use a savepoint instead. Otherwise, an error closes the
    connection.
    """
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    with connection.wrap_database_errors:
        if connection.in_atomic_block or not connection.autocommit:
            with transaction.atomic(connection.alias):
                execute = _executor(connection)
                if begin is WRITE and engine(connection).is_file:
                    execute(_LOCK_FILE, {})
                yield execute
            return
        execute = _executor(connection)
        try:
            if begin:
                execute(begin, {})
            yield execute
            if begin:
                connection.connection.commit()
        except BaseException:
            connection.close()
            raise


def run(cursor: CursorWrapper, statement: Statement, values: dict[str, Any]) -> CursorWrapper:
    """Execute a statement through one of Django's cursors, and return it."""
    if engine(cursor.db).is_strictly_typed:
        values = {name: storable(value, cursor.db) for name, value in values.items()}
    text = statement if isinstance(statement, str) else statement.of(cursor.db)
    cursor.execute(text, values)
    return cursor


def _executor(connection: BaseDatabaseWrapper) -> Execute:
    is_watched = connection.execute_wrappers or connection.queries_logged
    if is_watched or not engine(connection).is_file:
        return partial(run, connection.cursor())
    execute = connection.connection.execute
    return lambda statement, values: execute(_sqlite_text(statement), values)


@cache
def _sqlite_text(statement: Statement) -> str:
    """Return a statement for SQLite, with its parameters as the driver wants them: `:name`."""
    text = statement if isinstance(statement, str) else statement.sqlite
    return text % _Names()


class _Names(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return f":{name}"
