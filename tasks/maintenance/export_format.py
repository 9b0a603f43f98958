"""The lines of an export: their forms, and what each has to hold to be stored."""

from typing import Annotated, Any

import msgspec

from tasks.escaping import one_line
from tasks.fields import check_rfc3339
from tasks.messages import decode_history, decode_items

FORMAT, VERSION = "gloamy tasks", 1

Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class Refused(Exception):
    """Why a task cannot be moved, in one plain sentence that names it."""

    def __str__(self) -> str:
        return one_line(super().__str__())  # it may say what a file or a row has


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


_decoder: msgspec.json.Decoder[Header | Task | End] = msgspec.json.Decoder(Header | Task | End)


def parse(line: bytes) -> Header | Task | End:
    """A line of an export. Raises Refused, naming the field, unless the store could have it so."""
    try:
        parsed = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(plain(error)) from error
    if isinstance(parsed, Task):
        _check(parsed)
    return parsed


def plain(error: Exception) -> str:
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
