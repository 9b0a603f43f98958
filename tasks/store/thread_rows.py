"""All rows of a thread, exactly as they are stored: to read, to pack away, and to put back.

Whatever SQLite holds is kept as it is: blobs and numbers where texts belong, and texts that are
not UTF-8, which come as `Ext`.
"""

import hashlib
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from django.db.backends.utils import CursorWrapper
from msgspec.msgpack import Ext

from tasks.store import thread_statements, transactions
from tasks.store.thread_statements import CHECKPOINT_COLUMNS, TASK_COLUMNS

VERSION = 1
NOT_UTF8 = 1  # the code of an Ext
MARK = 8  # bytes
LEVEL = 1  # of zlib: histories are texts, and a clear should not take minutes

_COUNT = TASK_COLUMNS.index("checkpoint_count")

Row = tuple[Any, ...]


class ThreadRows(msgspec.Struct, array_like=True, frozen=True):
    """The rows of both tables, in an order that is the same at each reading."""

    tasks: list[Row]
    checkpoints: list[Row]

    def column(self, name: str) -> list[Any]:
        """A column of the tasks."""
        index = TASK_COLUMNS.index(name)
        return [task[index] for task in self.tasks]

    @property
    def size(self) -> int:
        """The bytes of all texts."""
        texts = [value for task in self.tasks for value in (*task[:_COUNT], *task[_COUNT + 1 :])]
        texts += [value for _, task_id, _, *rest in self.checkpoints for value in (task_id, *rest)]
        return sum(map(_length, texts))

    @property
    def marks(self) -> bytes:
        """A mark for each task, which it keeps for as long as it is not deleted."""
        pairs = zip(self.column("task_id"), self.column("created_at"), strict=True)
        return b"".join(map(mark, pairs))


class _Packed(msgspec.Struct, array_like=True):
    version: int
    rows: ThreadRows


_decoder = msgspec.msgpack.Decoder(_Packed)


def mark(pair: tuple[Any, Any]) -> bytes:
    """Of a task's id and `created_at`: an upsert changes neither, and a row made anew has both."""
    return hashlib.blake2b(msgspec.msgpack.encode(pair), digest_size=MARK).digest()


def is_among(marks: bytes, pair: tuple[Any, Any]) -> bool:
    sought = mark(pair)
    return any(marks[at : at + MARK] == sought for at in range(0, len(marks), MARK))


def pack(rows: ThreadRows) -> bytes:
    return zlib.compress(msgspec.msgpack.encode(_Packed(VERSION, rows)), LEVEL)


def unpack(data: bytes) -> ThreadRows:
    return _decoder.decode(zlib.decompress(data)).rows


def read(thread_id: str) -> ThreadRows:
    """The rows of a thread at one moment; none where it is not there. Takes no lock."""
    with transactions.reading() as cursor:
        return fetch(cursor, thread_id)


def fetch(cursor: CursorWrapper, thread_id: str, *, to_delete: bool = False) -> ThreadRows:
    ids = {"thread_id": thread_id}
    with exactly(cursor):
        transactions.run(
            cursor,
            thread_statements.TASKS_TO_DELETE if to_delete else thread_statements.TASKS_OF_THREAD,
            ids,
        )
        tasks = cursor.fetchall()
        transactions.run(cursor, thread_statements.CHECKPOINTS_OF_THREAD, ids)
        return ThreadRows(tasks, cursor.fetchall())


def insert(cursor: CursorWrapper, rows: ThreadRows) -> None:
    """Put the rows in with their ids. Raises IntegrityError where one of these is taken."""
    _insert(cursor, "task_records", TASK_COLUMNS, rows.tasks)
    _insert(cursor, "task_checkpoints", CHECKPOINT_COLUMNS, rows.checkpoints)


def _insert(cursor: CursorWrapper, table: str, columns: Sequence[str], rows: list[Row]) -> None:
    for row in rows:
        texts = {index for index, value in enumerate(row) if type(value) is Ext}
        values = [bytes(v.data) if type(v) is Ext else v for v in row]
        thread_statements.insert(cursor, table, columns, values, texts)


@contextmanager
def exactly(cursor: CursorWrapper) -> Iterator[None]:
    """On SQLite, give texts that are not UTF-8 as `Ext`, which nothing else is."""
    if cursor.db.vendor != "sqlite":
        yield
        return
    connection = cursor.db.connection
    before, connection.text_factory = connection.text_factory, _text
    try:
        yield
    finally:
        connection.text_factory = before


def _text(raw: bytes) -> str | Ext:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return Ext(NOT_UTF8, raw)


def shown(value: Any) -> str:
    """A stored value as a text for a person, whatever it is."""
    raw = value.data if type(value) is Ext else value
    return raw.decode(errors="replace") if isinstance(raw, bytes) else str(raw or "")


def _length(value: Any) -> int:
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode())
    raw = value.data if type(value) is Ext else value
    return len(raw) if isinstance(raw, bytes) else 0
