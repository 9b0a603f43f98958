"""Read, archive and restore all rows of a thread exactly as they are stored.

Any value that SQLite can hold is preserved, even a blob or a number in a text column. Text that
is not valid UTF-8 is represented by `Ext`.
"""

import hashlib
import zlib
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import msgspec
from django.db.backends.utils import CursorWrapper
from msgspec.msgpack import Ext

from tasks.store import driver, thread_statements, transactions
from tasks.store.statements import CheckpointRow, TaskRow

_VERSION = 1  # the version of the format that `pack` writes
_NOT_UTF8 = 1  # the MessagePack extension type for text that is not UTF-8
_MARK_SIZE = 8  # bytes
_COMPRESSION = 1  # zlib's fastest level, which compresses text well and keeps clearing fast


class ThreadRows(NamedTuple):
    """A thread's rows from both tables, always read in the same order.

    The values are not checked and may have any type.
    """

    tasks: list[TaskRow]
    checkpoints: list[CheckpointRow]

    @property
    def size(self) -> int:
        """The total size of all text values, in bytes."""
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
        """The concatenated digests of the tasks. A task keeps its digest until it is deleted."""
        return b"".join(_mark(task.task_id, task.created_at) for task in self.tasks)


_decoder = msgspec.msgpack.Decoder(tuple[int, tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]])


def _mark(task_id: Any, created_at: Any) -> bytes:
    # an upsert keeps both values, but a recreated task gets a new `created_at`
    pair = msgspec.msgpack.encode((task_id, created_at))
    return hashlib.blake2b(pair, digest_size=_MARK_SIZE).digest()


def has_mark(marks: bytes, task_id: Any, created_at: Any) -> bool:
    """Return whether `marks` contains the digest of this task."""
    mark = _mark(task_id, created_at)
    return any(marks[i : i + _MARK_SIZE] == mark for i in range(0, len(marks), _MARK_SIZE))


def pack(rows: ThreadRows) -> bytes:
    return zlib.compress(msgspec.msgpack.encode((_VERSION, rows)), _COMPRESSION)


def unpack(data: bytes) -> ThreadRows:
    _, (tasks, checkpoints) = _decoder.decode(zlib.decompress(data))
    return _thread_rows(tasks, checkpoints)


def read(thread_id: str) -> ThreadRows:
    """Return a thread's rows, read from one consistent snapshot without taking a lock."""
    with transactions.reading() as cursor:
        return fetch(cursor, thread_id)


def fetch(cursor: CursorWrapper, thread_id: str, *, to_delete: bool = False) -> ThreadRows:
    """Return a thread's rows; with `to_delete`, PostgreSQL also locks the thread's tasks."""
    tasks = thread_statements.TASKS_TO_DELETE if to_delete else thread_statements.TASKS_OF_THREAD
    ids = {"thread_id": thread_id}
    with exact_text(cursor):
        driver.run(cursor, tasks, ids)
        task_rows = cursor.fetchall()
        driver.run(cursor, thread_statements.CHECKPOINTS_OF_THREAD, ids)
        return _thread_rows(task_rows, cursor.fetchall())


def insert(cursor: CursorWrapper, rows: ThreadRows) -> None:
    """Insert the rows, keeping their ids. Raises IntegrityError if an id is already in use."""
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
    """Inside a `with` block, make the cursor return text that is not valid UTF-8 as `Ext`."""
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
