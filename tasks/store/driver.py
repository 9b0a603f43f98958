"""Run the verbs' statements on the database driver, since Django's cursors take longer than SQLite.

If someone logs or wraps a connection's statements, they run through Django's cursors, as usual.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache, partial
from typing import Any

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from tasks.engines import PerEngine, engine, storable
from tasks.store import workspace
from tasks.store.statements import LOCK_FILE

Statement = str | PerEngine
# Runs a statement with named parameters and returns a cursor with its result.
Execute = Callable[[Statement, dict[str, Any]], Any]

READ = "BEGIN"
WRITE = PerEngine(sqlite="BEGIN IMMEDIATE", postgresql="BEGIN")  # on SQLite, locks the file


@contextmanager
def transact(connection: BaseDatabaseWrapper, begin: Statement | None) -> Iterator[Execute]:
    """Yield a function that runs statements in a transaction, which the statement `begin` opens.

    Inside a transaction of the caller, use a savepoint instead. Otherwise, an error closes the
    connection.
    """
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    with connection.wrap_database_errors:
        if is_nested(connection):
            with transaction.atomic(connection.alias):
                execute = _executor(connection)
                if begin is WRITE and engine(connection).is_file:
                    execute(LOCK_FILE, {})
                yield execute
            return
        if begin and not engine(connection).is_file and not _is_watched(connection):
            with _pipeline(connection):
                execute = _executor(connection)
                limit_lock_wait(connection, execute)
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
            with suppress(Exception):  # a database in memory stays open
                connection.connection.rollback()
            connection.close()
            raise


def limit_lock_wait(connection: BaseDatabaseWrapper, execute: Execute) -> None:
    """Set the lock timeout of this transaction if its session is another program's, too."""
    if workspace.is_pooled(connection):
        execute(f"SET LOCAL {workspace.LOCK_TIMEOUT}", {})


def is_nested(connection: BaseDatabaseWrapper) -> bool:
    """Return whether a transaction of the caller is open."""
    is_open = connection.connection is not None
    return connection.in_atomic_block or (is_open and not connection.autocommit)


@contextmanager
def _pipeline(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Send statements to a server together; those of a `with` block are a transaction."""
    pipeline = ExitStack()
    try:
        pipeline.enter_context(connection.connection.pipeline())
        yield
        pipeline.close()  # commits
    except BaseException:
        connection.close()  # first, because leaving the pipeline commits what has been sent
        with suppress(Exception):
            pipeline.close()
        raise


def run(cursor: CursorWrapper, statement: Statement, values: dict[str, Any]) -> CursorWrapper:
    """Execute a statement through one of Django's cursors, and return it."""
    if engine(cursor.db).is_strictly_typed:
        values = {name: storable(value, cursor.db) for name, value in values.items()}
    text = statement if isinstance(statement, str) else statement.of(cursor.db)
    cursor.execute(text, values)
    return cursor


def _executor(connection: BaseDatabaseWrapper) -> Execute:
    driver = connection.connection
    if _is_watched(connection):
        return partial(run, connection.cursor())
    if engine(connection).is_file:
        return lambda statement, values: driver.execute(_sqlite_text(statement), values)
    return partial(_run_on_server, connection)


def _is_watched(connection: BaseDatabaseWrapper) -> bool:
    return bool(connection.execute_wrappers or connection.queries_logged)


def _run_on_server(
    connection: BaseDatabaseWrapper, statement: Statement, values: dict[str, Any]
) -> Any:
    from psycopg import Cursor  # noqa: PLC0415 - SQLite does without

    driver = connection.connection
    text = statement if isinstance(statement, str) else statement.postgresql
    values = {name: storable(value, connection) for name, value in values.items()}
    if not workspace.is_pooled(connection):
        driver.prepare_threshold = workspace.PREPARE_THRESHOLD
    try:
        return Cursor(driver).execute(text, values)
    finally:
        driver.prepare_threshold = None  # would make it keep each of Django's, with its values


@cache
def _sqlite_text(statement: Statement) -> str:
    """Return a statement for SQLite, with its parameters as the driver wants them: `:name`."""
    text = statement if isinstance(statement, str) else statement.sqlite
    return text % _Names()


class _Names(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return f":{name}"
