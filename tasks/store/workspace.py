"""Locate, prepare and check the site's databases, reporting problems in plain language."""

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from weakref import WeakSet

from django.conf import settings
from django.core.management import call_command
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.exceptions import InconsistentMigrationHistory
from django.db.models import Model
from django.http import HttpRequest

from tasks.engines import engine
from tasks.escaping import reason
from tasks.models import TaskCheckpoint, TaskRecord
from tasks.store import filesystem, untrusted
from tasks.store.sqlite_uri import read_only_uri

logger = logging.getLogger(__name__)

# The pragma settings that the store's SQLite connection must have; synchronous = 1 is NORMAL.
REQUIRED_PRAGMAS = {
    "journal_mode": "wal",
    "synchronous": 1,
    "busy_timeout": 30_000,
    "foreign_keys": 1,
}


LOCK_TIMEOUT = f"lock_timeout = {REQUIRED_PRAGMAS['busy_timeout']}"  # milliseconds
PREPARE_THRESHOLD = 5  # executions of a statement before it is prepared
_own_sessions: WeakSet[Any] = WeakSet()  # connections to a server itself, not to a pooler


class WorkspaceError(Exception):
    """The store cannot be used; the message explains why in one plain sentence."""


def store_connection() -> BaseDatabaseWrapper:
    return connections[router.db_for_write(TaskRecord)]


def store_file() -> Path:
    """Return the path of the store's SQLite file."""
    return file_of(store_connection())


def file_of(connection: BaseDatabaseWrapper) -> Path:
    """Return the path of the SQLite file behind a connection."""
    return _file(connection.settings_dict)


def location(connection: BaseDatabaseWrapper | None = None) -> str:
    """Return a database's location (by default the store's) for display, without any password."""
    connection = connection or store_connection()
    database = connection.settings_dict
    if engine(connection).is_file:
        file = _file(database)
        home = str(Path.home())
        folder = str(file.parent.parent if file.parent.name == "state" else file)
        return "~" + folder.removeprefix(home) if folder.startswith(home + os.sep) else folder
    return f"{database['NAME']} on {database['HOST'] or 'localhost'}"


def warning() -> str:
    """Return a one-line warning if the store is on an unsafe file system, otherwise ""."""
    if not engine(store_connection()).is_file:
        return ""
    text = filesystem.warning(store_file().parent)
    return f"{text}\n" if text else ""


def identity() -> str:
    """Return a unique name that identifies the store in the site's records."""
    database = store_connection().settings_dict
    if engine(store_connection()).is_file:
        return str(store_file().resolve())
    return "postgresql://{HOST}:{PORT}/{NAME}".format(**database)


def context(request: HttpRequest) -> dict[str, Any]:
    """Provide the store's location for the header of every page (a context processor)."""
    return {"store_location": location(), "read_only": settings.TASKS_READ_ONLY}


def prepare(alias: str | None = None) -> None:
    """Create the file of this database, or those of both, if they do not exist.

    The site's can only be read by us. Nothing else creates them, so that a wrong path is reported.
    Raises WorkspaceError.
    """
    for connection in _databases():
        if alias not in (None, connection.alias) or not engine(connection).is_file:
            continue
        file = _file(connection.settings_dict)
        if connection is store_connection():
            _make_store()
        elif not os.path.exists(file):
            make_private_file(file)


def require_site() -> None:
    """Raise WorkspaceError unless the site's database exists and has its tables."""
    site = connections[DEFAULT_DB_ALIAS]
    _check_exists(site, hint=" Run `manage.py migrate` first.")
    _check_answer(site, "The site's database")
    try:
        missing = {*site.introspection.django_table_names()} - {*site.introspection.table_names()}
    except DatabaseError as error:
        message = f"The site's database cannot be read: {reason(error)}."
        raise WorkspaceError(message) from error
    if missing:
        raise WorkspaceError(
            "The site's database is new or from another version. Run `manage.py migrate` first."
        )


def require_store() -> None:
    """Raise WorkspaceError unless the store exists and has its tables."""
    _check_exists(store_connection())
    _check_tables(store_connection(), may_be_empty=False)


def _check_exists(connection: BaseDatabaseWrapper, hint: str = "") -> None:
    """Raise WorkspaceError if the SQLite file is missing or cannot be used."""
    if engine(connection).is_file:
        _check_sqlite_file(connection)
        if not os.path.exists(file := file_of(connection)):
            raise WorkspaceError(f"There is no file {file}.{hint}")


def _databases() -> list[BaseDatabaseWrapper]:
    """Return the connections to all databases but the index, which is made when it is needed."""
    return [connection for connection in connections.all() if connection.alias != untrusted.INDEX]


def open_store() -> None:
    """Create a new store's tables, then check the store. Raises WorkspaceError if it is invalid."""
    connection = store_connection()
    if engine(connection).is_file:
        _make_store()
        if text := filesystem.warning(store_file().parent):
            logger.warning(text)
    if not settings.TASKS_READ_ONLY and _check_tables(connection, may_be_empty=True):
        with migrating(connection):
            call_command("migrate", "tasks", database=connection.alias, verbosity=0)
    check_store()


@contextlib.contextmanager
def migrating(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Raise WorkspaceError if a migration inside the `with` block fails.

    For example, a table may already have the name of a new index, or django_migrations may contain
    values of the wrong types, which raise TypeError or ValueError.
    """
    try:
        yield
    except (DatabaseError, InconsistentMigrationHistory, TypeError, ValueError) as error:
        raise WorkspaceError(
            f"{location(connection)}: its tables cannot be migrated: {reason(error)}."
        ) from error


def check_databases() -> None:
    """Raise WorkspaceError if a database cannot be opened, or if an existing store is invalid."""
    for connection in _databases():
        if engine(connection).is_file:
            _check_sqlite_file(connection)
    _check_apart()
    _check_answer(connections[DEFAULT_DB_ALIAS], "The site's database")
    _check_tables(store_connection(), may_be_empty=not settings.TASKS_READ_ONLY)


def check_store() -> None:
    """Raise WorkspaceError unless the store has its tables and the required pragma settings."""
    connection = store_connection()
    require_store()
    if engine(connection).is_file and not settings.TASKS_READ_ONLY:
        _check_pragmas(connection)
    connection.close()


def replace_invalid_utf8(sender: Any, connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    """Decode invalid UTF-8 as �, so that pages do not fail (a `connection_created` receiver).

    This applies only to the website: an agent must resume with the text exactly as stored.
    """
    if not engine(connection).is_strictly_typed:
        connection.connection.text_factory = untrusted.display_text


def prepare_server(sender: Any, connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    """Set up a new connection to PostgreSQL (a `connection_created` receiver).

    The lock timeout is that of SQLite. It is set by a statement, because a connection pooler may
    reject options in the URL. A pooler has process ids of its own, and may run the next transaction
    in another session: then nothing is prepared, and each write sets its own timeout.
    """
    if engine(connection).is_file:
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        if cursor.fetchone() == (connection.connection.info.backend_pid,):
            cursor.execute(f"SET {LOCK_TIMEOUT}")
            _own_sessions.add(connection.connection)


def is_pooled(connection: BaseDatabaseWrapper) -> bool:
    """Return whether an open connection leads to a connection pooler; see `prepare_server`."""
    return not engine(connection).is_file and connection.connection not in _own_sessions


def reopen_read_only_store(**kwargs: Any) -> None:
    """Update a read-only store's URI to suit its WAL file (a `request_started` receiver)."""
    if settings.TASKS_READ_ONLY:
        database = store_connection().settings_dict
        database["NAME"] = read_only_uri(_file(database))


def _file(database: dict[str, Any]) -> Path:
    name = str(database["NAME"])
    if name.startswith("file:"):
        return Path(unquote(urlsplit(name).path))
    return Path(name)


def _make_store() -> None:
    """Check the store's file. If there is none, make an empty one, and its default folder."""
    file = store_file()
    try:
        if file.parent == settings.WORKSPACE / "state":
            file.parent.mkdir(parents=True, exist_ok=True)
        _check_sqlite_file(store_connection())
        if not os.path.exists(file):
            file.touch()
    except OSError as error:
        raise WorkspaceError(f"{file} cannot be created: {error.strerror}.") from error


def require_other_file(file: Path) -> None:
    """Raise WorkspaceError if the file is a database of the site or the agent, or the secret key.

    The companion files of SQLite belong to their databases. Links are followed.
    """
    own = [settings.BASE_DIR / "secret_key"]
    for connection in connections.all():
        if engine(connection).is_file:
            database = file_of(connection)
            own += [database.with_name(database.name + suffix) for suffix in untrusted.SUFFIXES]
    for path in own:
        with contextlib.suppress(OSError):
            if file.resolve() == path.resolve() or file.samefile(path):
                raise WorkspaceError(
                    f"{file} is {path}, which the site needs. Choose another file."
                )


def make_private_file(file: Path) -> None:
    """Create an empty file that only its owner can read. Raises WorkspaceError."""
    try:
        os.close(os.open(file, os.O_CREAT | os.O_WRONLY, 0o600))
    except OSError as error:
        raise WorkspaceError(f"{file} cannot be created: {error.strerror}.") from error


def _check_apart() -> None:
    """Raise WorkspaceError if the site's database and the agent's store are the same file."""
    store = store_connection()
    for connection in connections.all():
        if connection is not store and engine(connection).is_file and engine(store).is_file:
            with contextlib.suppress(OSError):
                if file_of(connection).samefile(file_of(store)):
                    raise WorkspaceError(f"{file_of(store)} is the site's own database.")


def _check_sqlite_file(connection: BaseDatabaseWrapper) -> None:
    """Check an SQLite file. Do not reopen an open file: closing it would drop SQLite's locks."""
    file = _file(connection.settings_dict)
    in_workspace = file.parent == settings.WORKSPACE / "state"
    inside = settings.WORKSPACE if in_workspace else file.parent
    may_be_linked = settings.ALLOW_LINKED_STORE or connection is not store_connection()
    if problem := untrusted.file_problem(file, inside, may_be_linked=may_be_linked):
        raise WorkspaceError(problem)
    if connection.connection is not None:
        return
    try:
        with file.open("rb") as stream:
            head = stream.read(16)
    except FileNotFoundError:
        return
    except OSError as error:
        raise WorkspaceError(f"{file} cannot be read: {error.strerror}.") from error
    if head and head != b"SQLite format 3\x00":
        raise WorkspaceError(f"{file} is not an SQLite database.")


def _check_answer(connection: BaseDatabaseWrapper, name: str) -> None:
    try:
        connection.ensure_connection()
    except DatabaseError as error:
        raise WorkspaceError(f"{name} cannot be opened: {reason(error)}.") from error


def _check_tables(connection: BaseDatabaseWrapper, *, may_be_empty: bool) -> bool:
    """Return True if the store is empty and `may_be_empty` is set, or False if the store is valid.

    Raises WorkspaceError if a table or column is missing, or if the schema could run code.
    """
    try:
        with connection.cursor() as cursor:
            tables = set(connection.introspection.table_names(cursor)) - {"django_migrations"}
        problem = untrusted.schema_problem(connection)
        if not problem and may_be_empty and not tables:
            return True
        for model in (TaskRecord, TaskCheckpoint):
            problem = problem or _table_problem(connection, model, tables)
    except DatabaseError as error:
        message = f"{location()}: the store cannot be opened: {reason(error)}."
        raise WorkspaceError(message) from error
    if problem:
        raise WorkspaceError(f"{location()}: {problem}")
    return False


def _table_problem(connection: BaseDatabaseWrapper, model: type[Model], tables: set[str]) -> str:
    """Return what is missing from a model's table, or "". Raises DatabaseError for a bad schema."""
    table = model._meta.db_table
    if table not in tables:
        return f"the store has no table {table}."
    with connection.cursor() as cursor:
        described = connection.introspection.get_table_description(cursor, table)
    columns = {column.name for column in described}
    expected = [str(field.column) for field in model._meta.concrete_fields]
    if missing := [column for column in expected if column not in columns]:
        return f"the table {table} has no column {', '.join(missing)}."
    untrusted.compile_statements(connection, table, expected)
    return ""


def _check_pragmas(connection: BaseDatabaseWrapper) -> None:
    with connection.cursor() as cursor:
        for name, required in REQUIRED_PRAGMAS.items():
            cursor.execute(f"PRAGMA {name}")
            [actual] = cursor.fetchone()
            if actual != required:
                disk = filesystem.kind(file_of(connection).parent)
                is_cause = name == "journal_mode" and disk in filesystem.REMOTE
                cause = f" on {disk}" if is_cause else ""
                raise WorkspaceError(
                    f"{location()}: SQLite{cause} has {name} = {actual}, but {required} is needed."
                )
