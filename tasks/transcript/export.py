"""A thread as a file: as JSON, JSON Lines, Markdown, or an ATIF trajectory.

Each is made piece by piece, and no query is open while a piece is sent.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from tasks.fields import to_text
from tasks.messages import decode_history, decode_items
from tasks.models import TaskCheckpoint, TaskRecord
from tasks.transcript import export_atif, export_markdown
from tasks.transcript.invisible import INVISIBLE, escape_invisible

LONGEST_NAME = 200  # bytes of an id in a file's name; file systems take 255 for the whole
CHECKPOINTS_AT_ONCE = 20  # each may hold an output of megabytes

_COLUMNS = [field.attname for field in TaskRecord._meta.concrete_fields]
_HISTORIES = ("execution_history_json", "resumable_history_json")
_UNSAFE = re.compile(rf"(?:[^\w.-]|{INVISIBLE.pattern})+")


@dataclass(frozen=True)
class Format:
    label: str
    ending: str
    content_type: str
    pieces: Callable[[Sequence[TaskRecord]], Iterator[str | bytes]]


def file_name(thread_id: str, ending: str) -> str:
    """A name that no file system and no shell takes for anything else."""
    safe = _UNSAFE.sub("-", thread_id)[-80:].encode()[-LONGEST_NAME:].decode(errors="ignore")
    safe = safe.strip("-.")
    return f"gloamy-{safe or 'thread'}.{ending}"


def as_json(tasks: Sequence[TaskRecord]) -> Iterator[bytes]:
    """The rows as they are stored, the JSON in them as JSON."""
    yield b'{"thread_id":' + _json(tasks[0].thread_id) + b',"tasks":['
    for place, task in enumerate(tasks):
        yield b"," if place else b""
        yield _json(_row(task))[:-1] + b',"checkpoints":['
        for number, checkpoint in enumerate(_checkpoints(task)):
            yield (b"," if number else b"") + _json(_checkpoint_row(checkpoint))
        yield b"]}"
    yield b"]}\n"


def _row(task: TaskRecord) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for column in _COLUMNS:
        value = getattr(task, column)
        if column in _HISTORIES:
            row |= _json_column(column, value, decode_history)
        else:
            row[column] = _stored(column, value)
    return row


def _checkpoint_row(checkpoint: TaskCheckpoint) -> dict[str, Any]:
    return {
        "id": checkpoint.id,
        "step_index": checkpoint.step_index,
        "checkpoint_note": checkpoint.checkpoint_note,
        **_json_column("items_json", checkpoint.items_json, decode_items),
        "created_at": _stored("created_at", checkpoint.created_at),
    }


def _json_column(column: str, raw: Any, decode: Callable[[str], Any]) -> dict[str, Any]:
    """What the column holds, byte for byte; as text, and with the reason, where it is no JSON."""
    try:
        decode(raw)
    except (TypeError, ValueError) as error:
        return {column: raw, f"{column}_problem": str(error)}
    return {column.removesuffix("_json"): msgspec.Raw(raw.encode())}


def _stored(column: str, value: Any) -> Any:
    return to_text(value) if column.endswith("_at") and value is not None else value


def _checkpoints(task: TaskRecord) -> Iterator[TaskCheckpoint]:
    """In the order taken, those that were there at the beginning."""
    found = TaskCheckpoint.objects.filter(task_id=task.task_id).order_by("id")
    last = found.values_list("id", flat=True).last()
    after = -1
    while last is not None and after < last:
        page = list(found.filter(id__gt=after, id__lte=last)[:CHECKPOINTS_AT_ONCE])
        if not page:  # cleared meanwhile
            return
        yield from page
        after = page[-1].id


def as_json_lines(tasks: Sequence[TaskRecord]) -> Iterator[bytes]:
    """One message a line; a history that cannot be read is a line of its own, as it is stored."""
    for task in tasks:
        try:
            history = task.execution_history
        except (TypeError, ValueError) as error:
            raw = task.execution_history_json
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
        for piece in export_markdown.document(task):
            yield escape_invisible(piece.replace("\r\n", "\n"))


def as_atif(tasks: Sequence[TaskRecord]) -> Iterator[bytes]:
    """The latest task: the format holds one run."""
    yield _json(export_atif.trajectory(tasks[0])) + b"\n"


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value, enc_hook=str)


FORMATS = {
    "json": Format("JSON", "json", "application/json", as_json),
    "jsonl": Format("JSON Lines", "jsonl", "application/jsonl", as_json_lines),
    "md": Format("Markdown", "md", "text/markdown; charset=utf-8", as_markdown),
    "atif": Format("ATIF", "atif.json", "application/json", as_atif),
}
