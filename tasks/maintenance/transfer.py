"""Transfers tasks and their checkpoints to and from JSON Lines, and between databases.

Tasks are transferred exactly as stored, so `write_task` does not use the verbs in `tasks.service`,
which set new timestamps, count checkpoints, and reset checkpoints when a run starts.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec
from django.core.management import call_command
from django.db import DEFAULT_DB_ALIAS, DataError, connections, router
from django.db.backends.base.base import BaseDatabaseWrapper

from tasks.engines import engine, storable
from tasks.maintenance import export_format, transfer_statements
from tasks.maintenance.export_format import Checkpoint, Task, TransferError
from tasks.models import TaskRecord
from tasks.store import transactions, workspace
from tasks.store.statements import TaskRow

PAGE_SIZE = 1000  # ids per query
AGENT_TIMEOUT = 5  # seconds an agent waits for SQLite's lock before it drops a write


class Totals:
    """Counts and checksums of tasks and checkpoints. The order of the tasks does not matter.

    The checksums cover each checkpoint's position within its task, but not its id.
    """

    def __init__(self) -> None:
        self.tasks = self.checkpoints = 0
        self._sums = [0, 0]

    def add(self, task: Task) -> None:
        self.tasks += 1
        self.checkpoints += len(task.checkpoints)
        *values, checkpoints = msgspec.structs.astuple(task)
        self._sums[0] += _digest(values)
        for index, checkpoint in enumerate(checkpoints):
            row = (task.task_id, index, *msgspec.structs.astuple(checkpoint))
            self._sums[1] += _digest(row)

    def __str__(self) -> str:
        tasks, checkpoints = (f"{total % 2**128:032x}" for total in self._sums)
        return f"{self.tasks} tasks {tasks}, {self.checkpoints} checkpoints {checkpoints}"


def _digest(row: Any) -> int:
    return int.from_bytes(hashlib.sha256(msgspec.json.encode(row)).digest(), "big")


def task_ids(using: str | None = None) -> Iterator[str | bytes]:
    """Yield all task ids in order, one transaction per page. Ids that are not UTF-8 are bytes."""
    last: str | bytes | None = None
    while True:
        with transactions.reading_as_stored(using) as cursor:
            page = transfer_statements.select_ids(cursor, last, PAGE_SIZE)
        yield from page
        if len(page) < PAGE_SIZE:
            return
        last = page[-1]


def thread_task_ids(thread_id: str) -> list[str | bytes]:
    with transactions.reading_as_stored() as cursor:
        return transfer_statements.select_thread_ids(cursor, thread_id)


def count_tasks(using: str | None = None) -> int:
    with transactions.reading(using) as cursor:
        cursor.execute("SELECT count(*) FROM task_records")
        return int(cursor.fetchone()[0])


def task_exists(task_id: str | bytes, using: str) -> bool:
    with transactions.reading_as_stored(using) as cursor:
        return transfer_statements.task_exists(cursor, task_id)


def unreachable_rows(using: str | None = None) -> list[str]:
    """Return messages about rows that are skipped because no task id leads to them."""
    with transactions.reading_as_stored(using) as cursor:
        tasks, checkpoints = transfer_statements.count_unreachable(cursor)
    messages = []
    if tasks:
        messages.append(f"Tasks skipped because their IDs are not text: {tasks}.")
    if checkpoints:
        messages.append(f"Checkpoints skipped because they have no task: {checkpoints}.")
    return messages


def read_task(task_id: str | bytes, using: str | None = None) -> Task | None:
    """Return a task and its checkpoints from one snapshot, or None if the task was deleted.

    Raises TransferError if a value is not of its column's type, which SQLite allows.
    """
    with transactions.reading_as_stored(using) as cursor:
        row, steps = transfer_statements.select_task(cursor, task_id)
    if row is None:
        return None
    checkpoints = [dict(zip(Checkpoint.__struct_fields__, step, strict=True)) for step in steps]
    values = dict(zip(TaskRow._fields, row, strict=True)) | {"checkpoints": checkpoints}
    try:
        return msgspec.convert(values, Task)
    except msgspec.ValidationError as error:
        raise TransferError(f"{task_id!r} {export_format.reason(error)}") from error


def write_task(task: Task, *, replace: bool = False, using: str | None = None) -> float:
    """Store the task exactly as given, except that its checkpoints get new ids.

    Returns how many seconds the lock was held, or 0 if an identical task was already stored.
    Raises TransferError if a different task has the same id and `replace` is not set, or if the
    database cannot hold the task.
    """
    using = using or router.db_for_write(TaskRecord)
    task = storable_task(task, using)
    if _is_stored(task, using):
        return 0
    *values, checkpoints = msgspec.structs.astuple(task)
    rows = [msgspec.structs.astuple(checkpoint) for checkpoint in checkpoints]
    try:
        with transactions.writing(using) as cursor:
            transactions.lock_thread_and_task(cursor, task.thread_id, task.task_id)
            start = perf_counter()  # after the wait for the lock
            if replace:  # every deletion removes the task before its checkpoints
                transfer_statements.delete_task(cursor, task.task_id)
            if not transfer_statements.insert_task(cursor, values, rows):
                raise TransferError(f"{task.task_id!r} already exists with other content")
    except DataError as error:
        raise TransferError(f"{task.task_id!r} {str(error).splitlines()[0]}") from error
    return perf_counter() - start


def lock_warning(task: Task, seconds: float, using: str | None = None) -> str:
    """Return a warning if the write held SQLite's lock longer than agents wait, else ""."""
    connection = connections[using or router.db_for_write(TaskRecord)]
    if not engine(connection).is_file or seconds < AGENT_TIMEOUT:
        return ""
    return (
        f"{task.task_id!r} kept the file locked for {seconds:.0f} seconds: an agent waits"
        f" {AGENT_TIMEOUT}, and may have lost a write."
    )


def _is_stored(task: Task, using: str) -> bool:
    try:
        return read_task(task.task_id, using) == task
    except TransferError:
        return False


def storable_task(task: Task, using: str) -> Task:
    """Convert the task's values to what the database can store; see `tasks.engines.storable`."""
    connection = connections[using]
    if not engine(connection).is_strictly_typed:
        return task
    *values, checkpoints = _storable_values(task, connection)
    steps = [Checkpoint(*_storable_values(row, connection)) for row in checkpoints]
    return Task(*values, steps)  # type: ignore[call-arg]


def _storable_values(row: Task | Checkpoint, connection: BaseDatabaseWrapper) -> list[Any]:
    return [storable(value, connection) for value in msgspec.structs.astuple(row)]


def delete_task(task_id: str | bytes, using: str) -> None:
    """Delete a task and its checkpoints."""
    with transactions.writing(using) as cursor:
        transfer_statements.delete_task(cursor, task_id)


def check_file(database: dict[str, Any], *, may_be_created: bool) -> None:
    """Check another database's SQLite file, or create one that only its owner can read.

    Raises TransferError if it is missing, and WorkspaceError if it is one of the site's own.
    """
    file = Path(str(database["NAME"]))
    is_uri = str(file).startswith("file:")  # URIs are only used for existing, read-only files
    if "sqlite3" not in database["ENGINE"] or is_uri:
        return
    workspace.require_other_file(file)
    if may_be_created and not file.exists():
        workspace.make_private_file(file)
    elif not file.exists():
        raise TransferError(f"There is no file {file}")


def create_tables(using: str) -> None:
    """Create the store's tables if they do not exist yet."""
    if TaskRecord._meta.db_table not in connections[using].introspection.table_names():
        call_command("migrate", "tasks", database=using, verbosity=0, interactive=False)


@contextmanager
def connected(database: dict[str, Any]) -> Iterator[str]:
    """Connect to another database for the duration of the block, and yield its alias."""
    alias = "other"
    databases = {DEFAULT_DB_ALIAS: {}, alias: database}
    connections.settings[alias] = connections.configure_settings(databases)[alias]
    try:
        yield alias
    finally:
        connections[alias].close()
        del connections[alias]
        del connections.settings[alias]
