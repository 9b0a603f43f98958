"""Moving whole tasks: out to JSON Lines, in again, and from one database to another.

A task is moved exactly as it is stored. The one write, `put`, does not use the verbs of
`tasks.service`: these give new timestamps, count checkpoints themselves and reset them when a run
starts, while here timestamps, counts and the order of checkpoints are kept exactly.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import msgspec
from django.db import DEFAULT_DB_ALIAS, DataError, connections, router

from tasks import sql
from tasks.fields import check_rfc3339
from tasks.messages import decode_history, decode_items
from tasks.models import TaskRecord

FORMAT, VERSION = "gloamy tasks", 1
PAGE = 1000  # ids read at a time

Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class Refused(Exception):
    """Why a task cannot be moved, in one plain sentence that names it."""


class Header(msgspec.Struct, forbid_unknown_fields=True, tag_field="line", tag="header"):
    """The first line of an export."""

    format: str = FORMAT
    version: int = VERSION


class Checkpoint(msgspec.Struct, forbid_unknown_fields=True):
    """A row of task_checkpoints, without its id and its task's."""

    step_index: Integer
    checkpoint_note: str | None
    items_json: str
    created_at: str


class Task(msgspec.Struct, forbid_unknown_fields=True, tag_field="line", tag="task"):
    """A row of task_records, with its checkpoints in the order taken."""

    task_id: str
    thread_id: str
    channel: str
    provider: str
    model: str
    status: str
    execution_history_json: str
    resumable_history_json: str
    latest_checkpoint_note: str | None
    checkpoint_count: Integer
    final_response: str | None
    last_error: str | None
    created_at: str
    updated_at: str
    completed_at: str | None
    checkpoints: list[Checkpoint]


class End(msgspec.Struct, forbid_unknown_fields=True, tag_field="line", tag="end"):
    """The last line of an export: without it, the file was cut off."""

    tasks: int
    checkpoints: int


COLUMNS = Task.__struct_fields__[:-1]
_CHECKPOINT_COLUMNS = Checkpoint.__struct_fields__
_decoder: msgspec.json.Decoder[Header | Task | End] = msgspec.json.Decoder(Header | Task | End)


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
        with sql.reading_as_stored(using) as cursor:
            page = sql.page_of_ids(cursor, last, PAGE)
        yield from page
        if len(page) < PAGE:
            return
        last = page[-1]


def task_ids_of(thread_id: str) -> list[str | bytes]:
    with sql.reading_as_stored() as cursor:
        cursor.execute(sql.IDS_OF_THREAD, (thread_id,))
        return [task_id for (task_id,) in cursor.fetchall() if task_id is not None]


def count(using: str | None = None) -> int:
    with sql.reading(using) as cursor:
        cursor.execute("SELECT count(*) FROM task_records")
        return int(cursor.fetchone()[0])


def exists(task_id: str | bytes, using: str) -> bool:
    with sql.reading_as_stored(using) as cursor:
        return sql.has_task(cursor, task_id)


def out_of_reach(using: str | None = None) -> list[str]:
    """What no task's id leads to, and so is not moved: a sentence for each kind."""
    with sql.reading_as_stored(using) as cursor:
        tasks, checkpoints = sql.count_out_of_reach(cursor)
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
    with sql.reading_as_stored(using) as cursor:
        row, steps = sql.fetch_task(cursor, task_id)
    if row is None:
        return None
    checkpoints = [dict(zip(_CHECKPOINT_COLUMNS, step, strict=True)) for step in steps]
    values = dict(zip(COLUMNS, row, strict=True)) | {"checkpoints": checkpoints}
    try:
        return msgspec.convert(values, Task)
    except msgspec.ValidationError as error:
        raise Refused(f"{task_id!r} {_plain(error)}") from error


def parse(line: bytes) -> Header | Task | End:
    """A line of an export. Raises Refused, naming the field, unless the store could have it so."""
    try:
        parsed = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(_plain(error)) from error
    if isinstance(parsed, Task):
        _check(parsed)
    return parsed


def _plain(error: Exception) -> str:
    """A decoder's error with the field first: `field created_at: Expected …`."""
    what, found, where = str(error).partition(" - at `$")
    return f"field {where.strip('.`')}: {what}" if found else what


def _check(task: Task) -> None:
    """What types do not say: the JSON of the columns, the form of the times, counts from 0."""
    _check_field("execution_history_json", decode_history, task.execution_history_json)
    _check_field("resumable_history_json", decode_history, task.resumable_history_json)
    _check_field("checkpoint_count", _check_natural, task.checkpoint_count)
    for name in ("created_at", "updated_at", "completed_at"):
        if (moment := getattr(task, name)) is not None:
            _check_field(name, check_rfc3339, moment)
    for index, checkpoint in enumerate(task.checkpoints):
        where = f"checkpoints[{index}]"
        _check_field(f"{where}.step_index", _check_natural, checkpoint.step_index)
        _check_field(f"{where}.items_json", decode_items, checkpoint.items_json)
        _check_field(f"{where}.created_at", check_rfc3339, checkpoint.created_at)


def _check_field(name: str, check: Any, value: Any) -> None:
    try:
        check(value)
    except (TypeError, ValueError) as error:
        raise Refused(f"field {name}: {error}") from error


def _check_natural(number: int) -> None:
    if number < 0:
        raise ValueError(f"{number} is less than 0")


def put(task: Task, *, replace: bool = False, using: str | None = None) -> bool:
    """Store a task as it is; its checkpoints get new ids in their order. False if it was there.

    Raises Refused where another one has its id and shall not be replaced, or where the database
    cannot hold it. An equal one is not written at all, and the lock is taken for one task only.
    """
    using = using or router.db_for_write(TaskRecord)
    if (nul := _nul_on_postgresql(task, using)) is not None:
        raise Refused(f"{task.task_id!r} field {nul}: PostgreSQL holds no NUL in a text")
    if _is_stored(task, using):
        return False
    try:
        _write(task, replace, using)
    except DataError as error:
        raise Refused(f"{task.task_id!r} {str(error).splitlines()[0]}") from error
    return True


def _write(task: Task, replace: bool, using: str) -> None:
    *values, checkpoints = msgspec.structs.astuple(task)
    with sql.writing(task.thread_id, task.task_id, using) as (cursor, _):
        if replace:  # the task first, and the cascade after it: the order of every other delete
            sql.delete_task(cursor, task.task_id)
        cursor.execute(sql.ADD_TASK, values)
        if not cursor.rowcount:
            raise Refused(f"{task.task_id!r} is there with other content")
        cursor.execute(sql.DELETE_CHECKPOINTS, (task.task_id,))  # of one deleted by hand
        rows = [(task.task_id, *msgspec.structs.astuple(step)) for step in checkpoints]
        cursor.executemany(sql.PUT_CHECKPOINT, rows)


def _is_stored(task: Task, using: str) -> bool:
    try:
        return read(task.task_id, using) == task
    except Refused:
        return False


def _nul_on_postgresql(task: Task, using: str) -> str | None:
    """The field with a NUL that the database cannot hold, or None."""
    if connections[using].vendor != "postgresql":
        return None
    named = [(name, getattr(task, name)) for name in COLUMNS]
    for index, step in enumerate(task.checkpoints):
        named += [(f"checkpoints[{index}].{n}", getattr(step, n)) for n in _CHECKPOINT_COLUMNS]
    return next((name for name, value in named if isinstance(value, str) and "\0" in value), None)


def delete(task_id: str | bytes, using: str) -> None:
    """Delete a task with its checkpoints, for a copy that shall hold nothing else."""
    with sql.changing(using) as cursor:
        sql.delete_task(cursor, task_id)


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
