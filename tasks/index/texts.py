"""Reads a task's texts from the store, and makes them readable for search, with secrets masked."""

import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec
from django.conf import settings

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
_READ_TOGETHER = 200_000  # bytes of several rows' texts
_TEXTS = ("execution_history_json", "last_error", "latest_checkpoint_note", "final_response")
_COLUMNS = ("task_id", "updated_at", "completed_at", *_TEXTS)
_SELECT_STEPS = "SELECT task_id, id, step_index FROM task_checkpoints WHERE task_id"


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

    @property
    def error(self) -> str:
        """The task's error, masked."""
        return next((masking.mask(s.text) for s in self.sources if s.role == "error"), "")

    @property
    def has_response(self) -> bool:
        return any(s.role == "response" and s.text.strip() for s in self.sources)

    @property
    def ended_at(self) -> str:
        return self.completed_at or self.version[0]


def read(keys: Sequence[str]) -> Iterator[dict[str, StoredTexts | None]]:
    """Read the texts of rows in groups, each of which is small or a single row.

    Rows that are gone have None.
    """
    sizes = large_values.sizes(entries.rows(keys), *_TEXTS)
    sizes = {str(key): size for key, size in sizes.items()}
    group: list[str] = []
    total = 0
    for key in keys:
        size = sum(sizes.get(key, ()))
        if group and total + size > _READ_TOGETHER:
            yield _read(group, ())
            group, total = [], 0
        if size > settings.MAX_HISTORY_SIZE:
            large = zip(_TEXTS, sizes[key], strict=True)
            yield _read([key], [name for name, n in large if n > settings.MAX_HISTORY_SIZE])
            continue
        group.append(key)
        total += size
    if group:
        yield _read(group, ())


def _read(keys: Sequence[str], too_large: Collection[str]) -> dict[str, StoredTexts | None]:
    columns = ["''" if column in too_large else column for column in _COLUMNS]
    with transactions.reading_as_stored() as cursor:
        is_file = engine(cursor.db).has_blob_handles
        column, values = ("rowid", list(map(int, keys))) if is_file else ("task_id", keys)
        select = f"SELECT {column}, {', '.join(columns)} FROM task_records WHERE {column}"
        cursor.execute(f"{select} IN ({_marks(values)})", values)
        rows = cursor.fetchall()
        checkpoints: dict[Any, list[tuple[int, Any]]] = {row[1]: [] for row in rows}
        cursor.execute(f"{_SELECT_STEPS} IN ({_marks(checkpoints)})", list(checkpoints))
        for task_id, id_, index in cursor.fetchall():
            if isinstance(id_, int):
                checkpoints[task_id].append((id_, index))
    stored = {
        str(key): _stored(values, sorted(checkpoints[values[0]]), bool(too_large))
        for key, *values in rows
    }
    return {key: stored.get(key) for key in keys}


def _marks(values: Collection[object]) -> str:
    return ", ".join(["%s"] * len(values))


def _stored(values: list[Any], checkpoints: list[tuple[int, Any]], is_cut: bool) -> StoredTexts:
    id_, updated_at, completed_at, history, *others = map(text, values)
    size = sum(len(value.encode(errors="replace")) for value in (history, *others) if value)
    version = (updated_at or "")[:MAX_TEXT], id_
    stored = StoredTexts(version, completed_at, size, is_cut)
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
        sizes = large_values.sizes(rows, "items_json")
        alone = {id_: size for id_, (size,) in sizes.items() if size > _READ_ALONE}
        readable = [[id_] for id_, size in alone.items() if size <= MAX_ITEMS_LENGTH]
        for ids in [step_of.keys() - alone.keys(), *readable]:
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


class ReadableItem(NamedTuple):
    """A tool call without its secrets."""

    tool: str
    arguments: Any
    output: str

    @property
    def call(self) -> str:
        return readable_call(self.tool, self.arguments)


def readable_item(item: ExecutionCheckpointItem) -> ReadableItem:
    call = msgspec.json.encode({"arguments": item.arguments}).decode()
    arguments = msgspec.json.decode(masking.mask(call)).get("arguments")
    output = masking.mask(collapse_data_urls(item.output))
    return ReadableItem(masking.mask(item.tool_name), arguments, output)


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
