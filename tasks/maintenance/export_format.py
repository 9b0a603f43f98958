"""Defines and validates the lines of an export file."""

import json
from typing import Annotated, Any

import msgspec

from tasks.escaping import one_line
from tasks.fields import check_rfc3339
from tasks.messages import decode_history, decode_items

FORMAT, VERSION = "gloamy tasks", 1

Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class TransferError(Exception):
    """Raised when a task cannot be transferred. The message says which task and why."""

    def __str__(self) -> str:
        return one_line(super().__str__())  # the message may quote untrusted data


class Header(msgspec.Struct, forbid_unknown_fields=True, tag_field="line", tag="header"):
    """The first line of an export."""

    format: str = FORMAT
    version: int = VERSION


class Checkpoint(msgspec.Struct, forbid_unknown_fields=True):
    """A row of task_checkpoints, without its id and task_id."""

    step_index: Integer
    checkpoint_note: str | None
    items_json: str
    created_at: str


class Task(msgspec.Struct, forbid_unknown_fields=True, tag_field="line", tag="task"):
    """A row of task_records, with its checkpoints in the order they were recorded."""

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
    """The last line of an export. A file without this line was cut off."""

    tasks: int = 0
    checkpoints: int = 0


_decoder: msgspec.json.Decoder[Header | Task | End] = msgspec.json.Decoder(Header | Task | End)


def parse_line(line: bytes) -> Header | Task | End:
    """Decode a line. Raises TransferError, naming the field, if the store cannot hold a value."""
    try:
        parsed = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TransferError(reason(error)) from error
    if len(msgspec.json.encode(parsed)) != len(line.strip()):  # the shortest JSON repeats no name
        json.loads(line, object_pairs_hook=_without_repeats)
    if isinstance(parsed, Task):
        _validate(parsed)
    return parsed


def _without_repeats(pairs: list[tuple[str, Any]]) -> None:
    names = set()
    for name, _ in pairs:
        if name in names:
            raise TransferError(f"field {name}: is given twice")
        names.add(name)


def reason(error: Exception) -> str:
    """Return msgspec's error message with the field first: `field created_at: Expected …`."""
    message, _, path = str(error).partition(" - at `$")
    return f"field {path.strip('.`')}: {message}" if path else message


def _validate(task: Task) -> None:
    """Check what the types cannot: valid JSON, valid timestamps and no negative numbers."""
    _check_field("execution_history_json", decode_history, task.execution_history_json)
    _check_field("resumable_history_json", decode_history, task.resumable_history_json)
    _check_field("checkpoint_count", _check_natural, task.checkpoint_count)
    for name in ("created_at", "updated_at", "completed_at"):
        if (timestamp := getattr(task, name)) is not None:
            _check_field(name, check_rfc3339, timestamp)
    for index, checkpoint in enumerate(task.checkpoints):
        path = f"checkpoints[{index}]"
        _check_field(f"{path}.step_index", _check_natural, checkpoint.step_index)
        _check_field(f"{path}.items_json", decode_items, checkpoint.items_json)
        _check_field(f"{path}.created_at", check_rfc3339, checkpoint.created_at)


def _check_field(name: str, check: Any, value: Any) -> None:
    try:
        check(value)
    except (TypeError, ValueError) as error:
        raise TransferError(f"field {name}: {error}") from error


def _check_natural(number: int) -> None:
    if number < 0:
        raise ValueError(f"{number} is less than 0")
