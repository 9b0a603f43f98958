"""All rows of a thread exactly as stored, for reading, archiving and restoring them.

Whatever SQLite holds is preserved: blobs and numbers in text columns, and text that is not UTF-8,
which is represented by `Ext`.
"""

import hashlib
import zlib
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import msgspec
from django.db.backends.utils import CursorWrapper
from msgspec.msgpack import Ext

from tasks.store import thread_statements, transactions
from tasks.store.statements import CheckpointRow, TaskRow

_VERSION = 1  # of the packed form
_NOT_UTF8 = 1  # the type code of an Ext
_MARK_SIZE = 8  # bytes
_COMPRESSION = 1  # zlib's fastest level: text compresses well, and clearing must not take minutes


class ThreadRows(NamedTuple):
    """A thread's rows in both tables, in the same order every time they are read.

    Their values are not checked and may have any type.
    """

    tasks: list[TaskRow]
    checkpoints: list[CheckpointRow]

    @property
    def size(self) -> int:
        """The total size of all texts, in bytes."""
        rows: list[TaskRow | CheckpointRow] = [*self.tasks, *self.checkpoints]
        texts = (
            value
            for row in rows
            for name, value in row._asdict().items()
            if name not in thread_statements.NUMBERS
        )
        return sum(map(_length, texts))

    @property
    def marks(self) -> bytes:
        """The digests of all tasks; each stays the same until its task is deleted."""
        return b"".join(_mark(task.task_id, task.created_at) for task in self.tasks)


_decoder = msgspec.msgpack.Decoder(tuple[int, tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]])


def _mark(task_id: Any, created_at: Any) -> bytes:
    # an upsert changes neither value, and a recreated task gets a new time
    pair = msgspec.msgpack.encode((task_id, created_at))
    return hashlib.blake2b(pair, digest_size=_MARK_SIZE).digest()


def has_mark(marks: bytes, task_id: Any, created_at: Any) -> bool:
    """Return whether a task is one of those that the marks were made for."""
    mark = _mark(task_id, created_at)
    return any(marks[i : i + _MARK_SIZE] == mark for i in range(0, len(marks), _MARK_SIZE))


def pack(rows: ThreadRows) -> bytes:
    return zlib.compress(msgspec.msgpack.encode((_VERSION, rows)), _COMPRESSION)


def unpack(data: bytes) -> ThreadRows:
    _, (tasks, checkpoints) = _decoder.decode(zlib.decompress(data))
    return _thread_rows(tasks, checkpoints)


def read(thread_id: str) -> ThreadRows:
    """Return a thread's rows, if any, from a single snapshot. Takes no lock."""
    with transactions.reading() as cursor:
        return fetch(cursor, thread_id)


def fetch(cursor: CursorWrapper, thread_id: str, *, to_delete: bool = False) -> ThreadRows:
    """Return a thread's rows; on PostgreSQL, `to_delete` also locks its tasks."""
    tasks = thread_statements.TASKS_TO_DELETE if to_delete else thread_statements.TASKS_OF_THREAD
    ids = {"thread_id": thread_id}
    with exact_text(cursor):
        transactions.run(cursor, tasks, ids)
        task_rows = cursor.fetchall()
        transactions.run(cursor, thread_statements.CHECKPOINTS_OF_THREAD, ids)
        return _thread_rows(task_rows, cursor.fetchall())


def insert(cursor: CursorWrapper, rows: ThreadRows) -> None:
    """Insert the rows with their ids. Raises IntegrityError if an id is already in use."""
    for task in rows.tasks:
        _insert(cursor, "task_records", task)
    for checkpoint in rows.checkpoints:
        _insert(cursor, "task_checkpoints", checkpoint)


def _insert(cursor: CursorWrapper, table: str, row: TaskRow | CheckpointRow) -> None:
    values: tuple[Any, ...] = row
    marks = ("CAST(%s AS TEXT)" if type(value) is Ext else "%s" for value in values)
    cursor.execute(
        f"INSERT INTO {table} ({', '.join(row._fields)}) VALUES ({', '.join(marks)})",
        [bytes(value.data) if type(value) is Ext else value for value in values],
    )


def _thread_rows(tasks: list[Any], checkpoints: list[Any]) -> ThreadRows:
    return ThreadRows([*map(TaskRow._make, tasks)], [*map(CheckpointRow._make, checkpoints)])


def exact_text(cursor: CursorWrapper) -> AbstractContextManager[None]:
    """Make the cursor return text that is not UTF-8, and nothing else, as `Ext`."""
    return transactions.non_utf8_as(cursor, lambda raw: Ext(_NOT_UTF8, raw))


def display(value: Any) -> str:
    """Return a stored value of any type as human-readable text."""
    raw = value.data if type(value) is Ext else value
    return raw.decode(errors="replace") if isinstance(raw, bytes) else str(raw or "")


def _length(value: Any) -> int:
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode())
    raw = value.data if type(value) is Ext else value
    return len(raw) if isinstance(raw, bytes) else 0
