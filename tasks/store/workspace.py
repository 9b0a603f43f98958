"""The place the store lives in: making it ready, and saying in plain words what is wrong."""

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.core.management import call_command
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.exceptions import InconsistentMigrationHistory
from django.db.models import Model
from django.http import HttpRequest

from tasks.engines import engine
from tasks.escaping import one_line
from tasks.models import TaskCheckpoint, TaskRecord
from tasks.store import filesystem, untrusted
from tasks.store.sqlite_uri import read_only_address

logger = logging.getLogger(__name__)

# What SQLite answers on a connection that the store may use; synchronous 1 is NORMAL.
REQUIRED_PRAGMAS = {
    "journal_mode": "wal",
    "synchronous": 1,
    "busy_timeout": 30_000,
    "foreign_keys": 1,
}


class WorkspaceError(Exception):
    """Why the store cannot be used, in one plain sentence."""


def store_connection() -> BaseDatabaseWrapper:
    return connections[router.db_for_write(TaskRecord)]


def store_file() -> Path:
    """The file of a store on SQLite."""
    return file_of(store_connection())


def file_of(connection: BaseDatabaseWrapper) -> Path:
    """The file of a database on SQLite."""
    return _file(connection.settings_dict)


def location(connection: BaseDatabaseWrapper | None = None) -> str:
    """Where the store is, or another database, for a person; never with a password."""
    connection = connection or store_connection()
    database = connection.settings_dict
    if engine(connection).is_file:
        file = _file(database)
        home = str(Path.home())
        folder = str(file.parent.parent if file.parent.name == "state" else file)
        return "~" + folder.removeprefix(home) if folder.startswith(home + os.sep) else folder
    return f"{database['NAME']} on {database['HOST'] or 'localhost'}"


def warning() -> str:
    """A line on where the store lies, if that is no place for it, or ""."""
    if not engine(store_connection()).is_file:
        return ""
    told = filesystem.warning(store_file().parent)
    return f"{told}\n" if told else ""


def identity() -> str:
    """A name for the store that no other has, as the record of clearings tells stores apart."""
    database = store_connection().settings_dict
    if engine(store_connection()).is_file:
        return str(store_file().resolve())
    return "postgresql://{HOST}:{PORT}/{NAME}".format(**database)


def context(request: HttpRequest) -> dict[str, Any]:
    """For the head of every page."""
    return {"store_location": location(), "read_only": settings.TASKS_READ_ONLY}


def prepare() -> None:
    """Make what the embedded defaults need: the store's folder, and a private file for the site."""
    for connection in connections.all():
        if not engine(connection).is_file:
            continue
        file = _file(connection.settings_dict)
        if connection.alias == store_connection().alias:
            _make_workspace(file)
        elif not os.path.exists(file):
            _make_private_file(file)


def open_store() -> None:
    """Make the store's tables if it is new. Raises WorkspaceError where it cannot be used."""
    connection = store_connection()
    if engine(connection).is_file:
        file = _file(connection.settings_dict)
        _make_workspace(file)
        _check_sqlite_file(connection)
        if told := filesystem.warning(file.parent):
            logger.warning(told)
    if not settings.TASKS_READ_ONLY and _check_tables(connection, may_be_empty=True):
        with migrating(connection):
            call_command("migrate", "tasks", database=connection.alias, verbosity=0)
    check_store()


@contextlib.contextmanager
def migrating(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Raise WorkspaceError for what a migration finds in its way.

    Such as a table that has the name of an index, or a list of migrations that is none: what its
    columns hold may be no text and no time.
    """
    try:
        yield
    except (DatabaseError, InconsistentMigrationHistory, TypeError, ValueError) as error:
        raise WorkspaceError(
            f"{location(connection)}: its tables cannot be brought up to date: {_reason(error)}."
        ) from error


def check_databases() -> None:
    """Raise WorkspaceError unless both databases answer, and the store, if there is one, is one."""
    for connection in connections.all():
        if engine(connection).is_file:
            _check_sqlite_file(connection)
    _check_apart()
    _check_answer(connections[DEFAULT_DB_ALIAS], "The site's database")
    _check_tables(store_connection(), may_be_empty=not settings.TASKS_READ_ONLY)


def check_store() -> None:
    """Raise WorkspaceError unless the store has its tables and is opened as it must be."""
    connection = store_connection()
    if engine(connection).is_file:
        _check_sqlite_file(connection)
    _check_tables(connection, may_be_empty=False)
    if engine(connection).is_file and not settings.TASKS_READ_ONLY:
        _check_pragmas(connection)
    connection.close()


def show_bad_text(sender: Any, connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    """For `connection_created`: a byte that is not UTF-8 is shown as �, and no text fails a page.

    Only for the browser: an agent shall not go on with a text that is not what was stored.
    """
    if not engine(connection).is_strictly_typed:
        connection.connection.text_factory = untrusted.shown


def bound_waits(sender: Any, connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    """For `connection_created`: on PostgreSQL, wait for a lock as long as on SQLite, not for ever.

    A SET, because a connection pooler may refuse options in the address.
    """
    if not engine(connection).is_file:
        with connection.cursor() as cursor:
            cursor.execute(f"SET lock_timeout = {REQUIRED_PRAGMAS['busy_timeout']}")


def follow_writers(**kwargs: Any) -> None:
    """For `request_started`: open a read-only store as suits what others do to it by now."""
    if settings.TASKS_READ_ONLY:
        database = store_connection().settings_dict
        database["NAME"] = read_only_address(_file(database))


def never_create_store() -> None:
    """From now on open the store's file only if it is there, and make no empty one in its place."""
    database = store_connection().settings_dict
    if engine(store_connection()).is_file and not settings.TASKS_READ_ONLY:
        database["NAME"] = f"{_file(database).resolve().as_uri()}?mode=rw"
        database["OPTIONS"]["uri"] = True


def _file(database: dict[str, Any]) -> Path:
    name = str(database["NAME"])
    if name.startswith("file:"):
        return Path(unquote(urlsplit(name).path))
    return Path(name)


def _make_workspace(file: Path) -> None:
    """Make the folder of the workspace's store; a folder that a URL names is not ours to make."""
    if file.parent != settings.WORKSPACE / "state":
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WorkspaceError(f"{file.parent} cannot be made: {error.strerror}.") from error


def _make_private_file(file: Path) -> None:
    try:
        os.close(os.open(file, os.O_CREAT | os.O_WRONLY, 0o600))
    except OSError as error:
        raise WorkspaceError(f"{file} cannot be made: {error.strerror}.") from error


def _check_apart() -> None:
    """Accounts must not be where the agent writes, under whatever name."""
    store = store_connection()
    for connection in connections.all():
        if connection is not store and engine(connection).is_file and engine(store).is_file:
            with contextlib.suppress(OSError):
                if file_of(connection).samefile(file_of(store)):
                    raise WorkspaceError(f"{file_of(store)} is the site's own database.")


def _check_sqlite_file(connection: BaseDatabaseWrapper) -> None:
    """Look at a file, and into one that is not open yet: to close it would end all our locks."""
    file = _file(connection.settings_dict)
    in_workspace = file.parent == settings.WORKSPACE / "state"
    inside = settings.WORKSPACE if in_workspace else file.parent
    may_be_linked = settings.ALLOW_LINKED_STORE or connection is not store_connection()
    if wrong := untrusted.wrong_file(file, inside, may_be_linked=may_be_linked):
        raise WorkspaceError(wrong)
    if connection.connection is not None:
        return
    try:
        with file.open("rb") as opened:
            head = opened.read(16)
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
        raise WorkspaceError(f"{name} cannot be opened: {_reason(error)}.") from error


def _reason(error: Exception) -> str:
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return one_line(line.rstrip("."))[: untrusted.LONGEST_NAME]


def _check_tables(connection: BaseDatabaseWrapper, *, may_be_empty: bool) -> bool:
    """Whether the store is empty, if that may be.

    Raises WorkspaceError unless it has its tables and columns otherwise, and nothing that runs.
    """
    try:
        with connection.cursor() as cursor:
            tables = set(connection.introspection.table_names(cursor)) - {"django_migrations"}
        wrong = untrusted.wrong_schema(connection)
        if not wrong and may_be_empty and not tables:
            return True
        for model in (TaskRecord, TaskCheckpoint):
            wrong = wrong or _wrong_table(connection, model, tables)
    except DatabaseError as error:
        wrong = f"the store cannot be opened: {_reason(error)}."
        raise WorkspaceError(f"{location()}: {wrong}") from error
    if wrong:
        raise WorkspaceError(f"{location()}: {wrong}")
    return False


def _wrong_table(connection: BaseDatabaseWrapper, model: type[Model], tables: set[str]) -> str:
    """What a model's table lacks, or ""; raises what the database would at a page."""
    table = model._meta.db_table
    if table not in tables:
        return f"the store has no table {table}."
    with connection.cursor() as cursor:
        described = connection.introspection.get_table_description(cursor, table)
    found = {column.name for column in described}
    expected = [str(field.column) for field in model._meta.concrete_fields]
    if missing := [column for column in expected if column not in found]:
        return f"the table {table} has no column {', '.join(missing)}."
    untrusted.compile_statements(connection, table, expected)
    return ""


def _check_pragmas(connection: BaseDatabaseWrapper) -> None:
    with connection.cursor() as cursor:
        for name, required in REQUIRED_PRAGMAS.items():
            cursor.execute(f"PRAGMA {name}")
            [actual] = cursor.fetchone()
            if actual != required:
                on = filesystem.kind(file_of(connection).parent)
                because = f" on {on}" if name == "journal_mode" and on in filesystem.REMOTE else ""
                raise WorkspaceError(
                    f"{location()}: SQLite{because} has {name} = {actual},"
                    f" and {required} is needed."
                )
