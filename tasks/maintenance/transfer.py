"""Moving whole tasks: out to JSON Lines, in again, and from one database to another.

A task is moved exactly as it is stored. The one write, `put`, does not use the verbs of
`tasks.service`: these give new timestamps, count checkpoints themselves and reset them when a run
starts, while here timestamps, counts and the order of checkpoints are kept exactly.
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
from tasks.maintenance import transfer_statements
from tasks.maintenance.export_format import Checkpoint, Refused, Task, plain
from tasks.models import TaskRecord
from tasks.store import transactions

PAGE = 1000  # ids read at a time
PATIENCE = 5  # seconds that an agent waits for SQLite's lock before it drops what it has to write

COLUMNS = Task.__struct_fields__[:-1]
_CHECKPOINT_COLUMNS = Checkpoint.__struct_fields__


class Tally:
    """Counts, and a checksum for each table that is the same for equal rows in any order.

    The checkpoints' ids are left out, and each one's place within its task is in.
    """

    def __init__(self) -> None:
        self.tasks = self.checkpoints = 0
        self._sums = [0, 0]

    def add(self, task: Task) -> None:
        self.tasks += 1
        self.checkpoints += len(task.checkpoints)
        *values, checkpoints = msgspec.structs.astuple(task)
        self._sums[0] += _digest(values)
        for place, checkpoint in enumerate(checkpoints):
            row = (task.task_id, place, *msgspec.structs.astuple(checkpoint))
            self._sums[1] += _digest(row)

    @property
    def checksums(self) -> tuple[str, str]:
        first, second = (f"{total % 2**128:032x}" for total in self._sums)
        return first, second

    def __str__(self) -> str:
        first, second = self.checksums
        return f"{self.tasks} tasks {first}, {self.checkpoints} checkpoints {second}"


def _digest(row: Any) -> int:
    return int.from_bytes(hashlib.sha256(msgspec.json.encode(row)).digest(), "big")


def task_ids(using: str | None = None) -> Iterator[str | bytes]:
    """Every task's id in order; bytes where it is not UTF-8. No transaction is held between."""
    last: str | bytes | None = None
    while True:
        with transactions.reading_as_stored(using) as cursor:
            page = transfer_statements.page_of_ids(cursor, last, PAGE)
        yield from page
        if len(page) < PAGE:
            return
        last = page[-1]


def task_ids_of(thread_id: str) -> list[str | bytes]:
    with transactions.reading_as_stored() as cursor:
        cursor.execute(transfer_statements.IDS_OF_THREAD, (thread_id,))
        return [task_id for (task_id,) in cursor.fetchall() if task_id is not None]


def count(using: str | None = None) -> int:
    with transactions.reading(using) as cursor:
        cursor.execute("SELECT count(*) FROM task_records")
        return int(cursor.fetchone()[0])


def exists(task_id: str | bytes, using: str) -> bool:
    with transactions.reading_as_stored(using) as cursor:
        return transfer_statements.has_task(cursor, task_id)


def out_of_reach(using: str | None = None) -> list[str]:
    """What no task's id leads to, and so is not moved: a sentence for each kind."""
    with transactions.reading_as_stored(using) as cursor:
        tasks, checkpoints = transfer_statements.count_out_of_reach(cursor)
    found = []
    if tasks:
        found.append(f"{tasks} tasks have no text for an id, and are left out.")
    if checkpoints:
        found.append(f"{checkpoints} checkpoints have no task, and are left out.")
    return found


def read(task_id: str | bytes, using: str | None = None) -> Task | None:
    """A task with its checkpoints, all of one moment; None where it is gone.

    Raises Refused where a value is not of its column's type, as SQLite lets it be.
    """
    with transactions.reading_as_stored(using) as cursor:
        row, steps = transfer_statements.fetch_task(cursor, task_id)
    if row is None:
        return None
    checkpoints = [dict(zip(_CHECKPOINT_COLUMNS, step, strict=True)) for step in steps]
    values = dict(zip(COLUMNS, row, strict=True)) | {"checkpoints": checkpoints}
    try:
        return msgspec.convert(values, Task)
    except msgspec.ValidationError as error:
        raise Refused(f"{task_id!r} {plain(error)}") from error


def put(task: Task, *, replace: bool = False, using: str | None = None) -> float:
    """Store a task as it is; its checkpoints get new ids in their order.

    Returns for how many seconds it held the lock: 0 where an equal one is there, and nothing is
    written. Raises Refused where another one has its id and shall not be replaced, or where the
    database cannot hold it.
    """
    using = using or router.db_for_write(TaskRecord)
    task = stored_form(task, using)
    if _is_stored(task, using):
        return 0
    try:
        return _write(task, replace, using)
    except DataError as error:
        raise Refused(f"{task.task_id!r} {str(error).splitlines()[0]}") from error


def _write(task: Task, replace: bool, using: str) -> float:
    *values, checkpoints = msgspec.structs.astuple(task)
    rows = [(task.task_id, *msgspec.structs.astuple(step)) for step in checkpoints]
    with transactions.writing_task(task.thread_id, task.task_id, using) as (cursor, _):
        transactions.lock_thread(cursor, task.thread_id)  # before anything is read or timed
        begun = perf_counter()
        if replace:  # the task first, and the cascade after it: the order of every other delete
            transfer_statements.delete_task(cursor, task.task_id)
        cursor.execute(transfer_statements.ADD_TASK, values)
        if not cursor.rowcount:
            raise Refused(f"{task.task_id!r} is there with other content")
        cursor.execute(
            transfer_statements.DELETE_CHECKPOINTS, (task.task_id,)
        )  # of one deleted by hand
        cursor.executemany(transfer_statements.PUT_CHECKPOINT, rows)
    return perf_counter() - begun


def lock_warning(task: Task, seconds: float, using: str | None = None) -> str:
    """What a write that took so long may have cost an agent on the same file; else nothing."""
    connection = connections[using or router.db_for_write(TaskRecord)]
    if not engine(connection).is_file or seconds < PATIENCE:
        return ""
    return (
        f"{task.task_id!r} kept the file locked for {seconds:.0f} seconds: an agent waits"
        f" {PATIENCE}, and may have lost a write."
    )


def _is_stored(task: Task, using: str) -> bool:
    try:
        return read(task.task_id, using) == task
    except Refused:
        return False


def stored_form(task: Task, using: str) -> Task:
    """The task as a database can hold it: see `tasks.engines.storable`."""
    connection = connections[using]
    if not engine(connection).is_strictly_typed:
        return task
    *values, checkpoints = _storable(task, connection)
    steps = [Checkpoint(*_storable(step, connection)) for step in checkpoints]
    return Task(*values, steps)  # type: ignore[call-arg]


def _storable(row: Task | Checkpoint, connection: BaseDatabaseWrapper) -> list[Any]:
    return [storable(value, connection) for value in msgspec.structs.astuple(row)]


def delete(task_id: str | bytes, using: str) -> None:
    """Delete a task with its checkpoints, for a copy that shall hold nothing else."""
    with transactions.writing(using) as cursor:
        transfer_statements.delete_task(cursor, task_id)


def check_file(database: dict[str, Any]) -> None:
    """Raise Refused where there is none: SQLite would make it, and move nothing from it."""
    file = str(database["NAME"])
    is_address = file.startswith("file:")  # of a file that is there, and cannot be written
    if "sqlite3" in database["ENGINE"] and not is_address and not Path(file).exists():
        raise Refused(f"There is no file {file}")


def make_tables(using: str) -> None:
    """Make those of a new store."""
    if TaskRecord._meta.db_table not in connections[using].introspection.table_names():
        call_command("migrate", "tasks", database=using, verbosity=0, interactive=False)


@contextmanager
def connected(database: dict[str, Any]) -> Iterator[str]:
    """The alias of one more database, open until the block ends."""
    alias = "other"
    given = {DEFAULT_DB_ALIAS: {}, alias: database}
    connections.settings[alias] = connections.configure_settings(given)[alias]
    try:
        yield alias
    finally:
        connections[alias].close()
        del connections[alias]
        del connections.settings[alias]
