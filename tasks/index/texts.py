"""Reads a task's texts from the store, and makes them readable for search, with secrets masked."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec
from django.conf import settings
from django.db import connections

import masking
from masking import lowercase
from tasks import large_values
from tasks.engines import engine
from tasks.fields import to_text
from tasks.index import entries
from tasks.index.models import MAX_TEXT, text
from tasks.messages import ExecutionCheckpointItem, decode_history, decode_items
from tasks.models import TaskCheckpoint
from tasks.store import transactions
from tasks.transcript.search import UNREADABLE
from tasks.transcript.steps import MAX_ITEMS_LENGTH, number_attempts
from tasks.transcript.text_preview import Text, collapse_data_urls
from tasks.transcript.tool_calls import (
    RESULTS_HEAD,
    Broken,
    Call,
    Part,
    parse_assistant,
    parse_results,
)

PLACE_OF = {"error": 1, "note": 2, "response": 3}  # the texts that are not in a list
STEP = "step"  # the role of tool calls
MESSAGES, CALLS = 16, 2**35  # the places of the first message and the first call
CALLS_PER_STEP = 64  # the others are in the text of the last one
_CHECKPOINTS_PER_READ = 50
_READ_ALONE = 200_000  # bytes of a checkpoint's calls
_COLUMNS = (
    *("task_id", "updated_at", "completed_at"),
    *("execution_history_json", "last_error", "latest_checkpoint_note", "final_response"),
)


class Source(NamedTuple):
    """A text as it is stored."""

    place: int
    role: str
    number: int
    text: str

    @property
    def digest(self) -> bytes:
        """What tells the text from others, but not what it is: the index must not have secrets."""
        key = settings.SECRET_KEY.encode()[:64]
        return blake2b(f"{self.role}\0{self.text}".encode(), key=key, digest_size=12).digest()


class Step(NamedTuple):
    """A checkpoint's place among the task's attempts."""

    id: int
    step_index: int
    attempt: int


@dataclass
class StoredTexts:
    """The texts of a row that are not in its checkpoints, and the list of these."""

    version: entries.Version
    completed_at: str | None
    size: int
    is_cut: bool
    sources: list[Source] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)


def read(key: str) -> StoredTexts | None:
    """Read a row's texts, or return None if it is gone."""
    rows = entries.rows([key])
    is_file = engine(connections[rows.db]).has_blob_handles
    most = settings.MAX_HISTORY_SIZE
    too_large = [c for c in _COLUMNS[3:] if large_values.larger_than(rows, c, most)]
    columns = ("''" if column in too_large else column for column in _COLUMNS)
    with transactions.reading_as_stored() as cursor:
        condition = "rowid = %s" if is_file else "task_id = %s"
        value = int(key) if is_file else key
        cursor.execute(f"SELECT {', '.join(columns)} FROM task_records WHERE {condition}", [value])
        row = cursor.fetchone()
        if row is None:
            return None
        cursor.execute("SELECT id, step_index FROM task_checkpoints WHERE task_id = %s", [row[0]])
        checkpoints = sorted(pair for pair in cursor.fetchall() if isinstance(pair[0], int))
    id_, updated_at, completed_at, history, *others = map(text, row)
    size = sum(len(value.encode(errors="replace")) for value in (history, *others) if value)
    version = (updated_at or "")[:MAX_TEXT], id_
    stored = StoredTexts(version, completed_at, size, bool(too_large))
    for (name, place), other in zip(PLACE_OF.items(), others, strict=True):
        if other:
            stored.sources.append(Source(place, name, 0, other))
    stored.sources.extend(_messages(history or ""))
    attempts = number_attempts(checkpoints)
    stored.steps = [
        Step(checkpoint, index if isinstance(index, int) else 0, attempts[checkpoint])
        for checkpoint, index in checkpoints
    ]
    return stored


def _messages(history: str) -> Iterator[Source]:
    try:
        messages = decode_history(history)
    except (TypeError, ValueError):
        if history:
            yield Source(MESSAGES, UNREADABLE, 1, history)
        return
    for number, message in enumerate(messages, start=1):
        is_result = message.content.startswith(RESULTS_HEAD)
        role = "tool" if is_result else message.role
        yield Source(MESSAGES + number, role, number, message.content)


class Items(NamedTuple):
    """A checkpoint's tool calls, or its stored text if they cannot be read."""

    step: Step
    created_at: str
    calls: list[ExecutionCheckpointItem]
    unreadable: str


def read_items(steps: Sequence[Step]) -> Iterator[Items]:
    """Read the tool calls of checkpoints, of which few are in memory at a time.

    Those that are larger than MAX_ITEMS_LENGTH bytes are left out.
    """
    for start in range(0, len(steps), _CHECKPOINTS_PER_READ):
        step_of = {step.id: step for step in steps[start : start + _CHECKPOINTS_PER_READ]}
        rows = TaskCheckpoint.objects.filter(pk__in=step_of)
        alone = large_values.larger_than(rows, "items_json", _READ_ALONE)
        too_large = large_values.larger_than(rows, "items_json", MAX_ITEMS_LENGTH)
        for ids in [step_of.keys() - set(alone), *([id_] for id_ in set(alone) - set(too_large))]:
            for row in rows.filter(pk__in=ids).in_recorded_order():
                yield _items(step_of[row.pk], row)


def _items(step: Step, row: TaskCheckpoint) -> Items:
    created_at, raw = to_text(row.created_at), row.items_json
    try:
        return Items(step, created_at, decode_items(raw), "")
    except (TypeError, ValueError):
        return Items(step, created_at, [], text(raw) or "")


def readable(role: str, stored: str) -> str:
    """Return a stored text without its markup and its secrets."""
    masked = masking.mask(collapse_data_urls(stored))
    if role == "assistant":
        reasoning, parts = parse_assistant(masked)
        return "\n".join(filter(None, [reasoning, *map(_part, parts)]))
    if role == "tool":
        results = parse_results("user", masked) or parse_results("tool", masked)
        return "\n".join(f"{result.tool_name}\n{result.output}".strip() for result in results)
    return masked


def _part(part: Part) -> str:
    match part:
        case Call():
            return readable_call(part.tool_name, part.arguments)
        case Broken():
            return part.text.whole
        case Text():
            return part.whole


def readable_call(tool: str, arguments: Any) -> str:
    """Return a tool call as lines: the tool, and each argument after its name."""
    if not isinstance(arguments, dict):
        return f"{tool}\n{_value(arguments)}"
    lines = (f"{name}: {_value(value)}" for name, value in arguments.items())
    return "\n".join([tool, *lines])


def readable_item(item: ExecutionCheckpointItem) -> str:
    call = msgspec.json.encode({"arguments": item.arguments}).decode()
    arguments = msgspec.json.decode(masking.mask(call)).get("arguments")
    output = masking.mask(collapse_data_urls(item.output))
    return f"{readable_call(masking.mask(item.tool_name), arguments)}\n{output}"


def _value(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def compress(body: str) -> bytes:
    return zlib.compress(body.encode(errors="replace"), 1)


def decompress(body: bytes) -> str:
    return zlib.decompress(body).decode()


def folded(value: str) -> str:
    """Return the text as its trigrams are made, so that case does not matter to them.

    SQLite folds all other characters that a search takes for each other. It ends texts at a NUL.
    """
    return lowercase(value).replace("\u0131", "i").replace("\0", " ")
