"""Export a thread as a JSON, JSON Lines, Markdown or ATIF file.

Files are generated in chunks, and no database query stays open while a chunk is sent.
"""

import codecs
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import msgspec

from tasks import large_values
from tasks.fields import to_text
from tasks.messages import as_text, decode_items, read_history
from tasks.models import HISTORY_COLUMNS, TaskCheckpoint, TaskRecord
from tasks.secrets import request_masking
from tasks.transcript import export_atif, export_markdown
from tasks.transcript.invisible import INVISIBLE, escape_invisible

MAX_NAME_LENGTH = 200  # bytes of the thread id to use in a file name, which may have 255 bytes
CHUNK_SIZE = 500_000  # bytes of a row to send at a time
CHECKPOINT_BATCH, BATCH_BYTES = 20, 4_000_000  # limits of what is loaded at a time

_COLUMNS = [field.attname for field in TaskRecord._meta.concrete_fields]
_UNSAFE = re.compile(rf"(?:[^\w.-]|{INVISIBLE.pattern})+")


@dataclass(frozen=True)
class Format:
    label: str
    extension: str
    content_type: str
    chunks: Callable[[Sequence[TaskRecord]], Iterator[str | bytes]]
    has_checkpoints: bool = False


def file_name(thread_id: str, extension: str) -> str:
    """Return a file name for the export that is safe on any file system and in any shell."""
    name = request_masking.mask(thread_id)
    safe = _UNSAFE.sub("-", name)[-80:].encode()[-MAX_NAME_LENGTH:].decode(errors="ignore")
    return f"gloamy-{safe.strip('-.') or 'thread'}.{extension}"


def as_json(tasks: Sequence[TaskRecord]) -> Iterator[bytes]:
    """Yield the stored rows as one JSON document, in which JSON columns become nested JSON."""
    return _chunks(_document(tasks))


def _document(tasks: Sequence[TaskRecord]) -> Iterator[bytes]:
    yield b'{"thread_id":' + _json(tasks[0].thread_id) + b',"tasks":['
    for index, task in enumerate(tasks):
        yield b"," if index else b""
        yield from _members(_row(task))
        yield b',"checkpoints":['
        for number, checkpoint in enumerate(_checkpoints(task)):
            yield b"," if number else b""
            yield from _members(_checkpoint_row(checkpoint))
            yield b"}"
        yield b"]}"
    yield b"]}\n"


def _row(task: TaskRecord) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for column in _COLUMNS:
        value = getattr(task, column)
        if column in HISTORY_COLUMNS:
            row |= _json_column(column, value, read_history)
        else:
            row[column] = _stored(column, value)
    return row


def _members(row: dict[str, Any]) -> Iterator[bytes]:
    """Yield the row as a JSON object that lacks only its last brace."""
    before = b"{"
    for name, value in row.items():
        yield before + _json(name) + b":"
        before = b","
        if isinstance(value, msgspec.Raw):
            view = memoryview(value)
            parts = (bytes(view[at : at + CHUNK_SIZE]) for at in range(0, len(view), CHUNK_SIZE))
            yield from codecs.iterencode(codecs.iterdecode(parts, "utf-8", "replace"), "utf-8")
        else:
            yield _json(value)


def _chunks(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Join and split the parts, so that all chunks but the last have the same size."""
    pending = bytearray()
    for part in parts:
        pending += part
        while len(pending) >= CHUNK_SIZE:
            yield bytes(pending[:CHUNK_SIZE])
            del pending[:CHUNK_SIZE]
    yield bytes(pending)


def _checkpoint_row(checkpoint: TaskCheckpoint) -> dict[str, Any]:
    return {
        "id": checkpoint.id,
        "step_index": checkpoint.step_index,
        "checkpoint_note": checkpoint.checkpoint_note,
        **_json_column("items_json", checkpoint.items_json, decode_items),
        "created_at": _stored("created_at", checkpoint.created_at),
    }


def _json_column(column: str, raw: Any, decode: Callable[[str], Any]) -> dict[str, Any]:
    """Return a column's JSON unchanged or, if it is invalid, its raw text and the problem."""
    try:
        decode(raw)
    except (TypeError, ValueError) as error:
        return {column: as_text(raw), f"{column}_problem": str(error)}
    value = raw if isinstance(raw, msgspec.Raw) else msgspec.Raw(raw.encode())
    return {column.removesuffix("_json"): value}


def _stored(column: str, value: Any) -> Any:
    return to_text(value) if column.endswith("_at") and value is not None else value


def _checkpoints(task: TaskRecord) -> Iterator[TaskCheckpoint]:
    """Yield the checkpoints that exist when the export starts, ordered by id."""
    rows = TaskCheckpoint.objects.filter(task_id=task.task_id).order_by("id")
    last = rows.values_list("id", flat=True).last()
    after = -1
    while last is not None and after < last:
        batch = rows.filter(id__gt=after, id__lte=last)[:CHECKPOINT_BATCH]
        sizes = large_values.sizes(batch, "items_json", "checkpoint_note")
        totals = accumulate(sum(sizes[id_]) for id_ in sorted(sizes))
        few = sum(total <= BATCH_BYTES for total in totals)
        for checkpoint in rows.filter(id__gt=after, id__lte=last)[: max(1, few)]:
            yield checkpoint
            after = checkpoint.id
        if not sizes:  # the thread was cleared during the export
            return


def as_json_lines(tasks: Sequence[TaskRecord]) -> Iterator[bytes]:
    """Yield one line per message, or a single line with the raw text if the history is invalid."""
    for task in tasks:
        try:
            history = read_history(task.execution_history_json)
        except (TypeError, ValueError) as error:
            raw = as_text(task.execution_history_json)
            yield _line(task_id=task.task_id, problem=str(error), execution_history_json=raw)
            continue
        for number, message in enumerate(history, start=1):
            yield _line(
                task_id=task.task_id, number=number, role=message.role, content=message.content
            )


def _line(**values: Any) -> bytes:
    return _json(values) + b"\n"


def as_markdown(tasks: Sequence[TaskRecord]) -> Iterator[str]:
    for task in tasks:
        for chunk in export_markdown.document(task):
            yield escape_invisible(chunk.replace("\r\n", "\n"))


def as_atif(tasks: Sequence[TaskRecord]) -> Iterator[bytes]:
    """Yield just the latest task, because an ATIF file holds a single run."""
    yield _json(export_atif.trajectory(tasks[0])) + b"\n"


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value, enc_hook=str)


FORMATS = {
    "json": Format("JSON", "json", "application/json", as_json, has_checkpoints=True),
    "jsonl": Format("JSON Lines", "jsonl", "application/jsonl", as_json_lines),
    "md": Format("Markdown", "md", "text/markdown; charset=utf-8", as_markdown),
    "atif": Format("ATIF", "atif.json", "application/json", as_atif),
}
