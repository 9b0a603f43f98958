"""What the store's JSON columns hold: message and item types, and their codec.

The forms are those of serde_json, which reads and writes the same columns: compact UTF-8 text,
keys inside ``arguments`` sorted, integers beyond 64 bits read as floats, at most 127 containers
inside one another, and no field given twice.
"""

import json
import math
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

MAX_DEPTH = 127
_ARGUMENTS_DEPTH = MAX_DEPTH - 2  # the list of items and the item are two containers already
_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1

NO_SURROGATES = "a lone surrogate is not text that UTF-8 can hold"
_SCALARS = frozenset({str, bool, float, type(None)})


class ChatMessage(msgspec.Struct):
    """One message of a history; ``role`` is system, user, assistant or tool."""

    role: str
    content: str


class ExecutionCheckpointItem(msgspec.Struct):
    """One tool call of a checkpoint; ``arguments`` is any JSON value."""

    tool_name: str
    arguments: Any
    success: bool
    output: str


class ToolCall(msgspec.Struct):
    """A native tool call; ``arguments`` is JSON as text."""

    id: str
    name: str
    arguments: str


class ToolResult(msgspec.Struct):
    tool_call_id: str
    content: str


class ToolCallRequest(msgspec.Struct):
    """What an assistant message with native tool calls carries."""

    text: str | None
    tool_calls: list[ToolCall]
    reasoning_content: str | None = None


class Chat(msgspec.Struct, tag_field="type", tag="Chat"):
    data: ChatMessage


class AssistantToolCalls(msgspec.Struct, tag_field="type", tag="AssistantToolCalls"):
    data: ToolCallRequest


class ToolResults(msgspec.Struct, tag_field="type", tag="ToolResults"):
    data: list[ToolResult]


_LEAST_MESSAGE = len('{"role":"","content":""},')
_LEAST_FIELD = len(',"role":""')

S = TypeVar("S", bound=msgspec.Struct)

ConversationMessage = Chat | AssistantToolCalls | ToolResults

_history_decoder = msgspec.json.Decoder(list[ChatMessage])
_items_decoder = msgspec.json.Decoder(list[ExecutionCheckpointItem])
# The hook is for subclasses of str, such as safe strings of templates, which msgspec refuses.
_history_encoder = msgspec.json.Encoder(enc_hook=str.__str__)
_items_encoder = msgspec.json.Encoder(enc_hook=str.__str__, order="deterministic")


def decode_history(raw: str) -> list[ChatMessage]:
    """The messages of a history column. Raises ValueError for text serde_json would refuse."""
    return _decode(raw, _history_decoder, ChatMessage)


def decode_items(raw: str) -> list[ExecutionCheckpointItem]:
    """The tool calls of a checkpoint. Raises ValueError for text serde_json would refuse."""
    items = _decode(raw, _items_decoder, ExecutionCheckpointItem)
    for index, item in enumerate(items):
        item.arguments = _arguments(item, f"[{index}]")
    return items


def decode_all_items(raws: list[str]) -> list[list[ExecutionCheckpointItem]] | None:
    """The tool calls of many checkpoints at once, where each is as either store writes it.

    None where one is not: `decode_items` says of each what it is.
    """
    try:
        lines = "\n".join([*raws, ""]).encode()
        decoded = _items_decoder.decode_lines(lines)
        if len(decoded) != len(raws) or _items_encoder.encode_lines(decoded) != lines:
            return None
        for items in decoded:
            for item in items:
                if not _is_flat(item.arguments):
                    item.arguments = _arguments(item, "")
    except (TypeError, ValueError, RecursionError):
        return None
    return decoded


def _is_flat(arguments: Any) -> bool:
    """Whether these are arguments by name that are as JSON has them, without a container."""
    if type(arguments) is not dict:
        return False
    for value in arguments.values():
        kind = type(value)
        if not (_INT_MIN <= value <= _INT_MAX if kind is int else kind in _SCALARS):
            return False
    return True


def encode_history(messages: list[ChatMessage], field: str) -> str:
    """Compact JSON of a history. Raises ValueError or TypeError that names the field."""
    require(messages, list, field)
    for message in messages:
        # a quick look, as a history may have thousands of messages
        if not (
            message.__class__ is ChatMessage
            and message.role.__class__ is str
            and message.content.__class__ is str
        ):
            _require_messages(messages, field)
            break
    return _encode(messages, _history_encoder, field)


def _require_messages(messages: list[ChatMessage], field: str) -> None:
    for index, message in enumerate(messages):
        require(message, ChatMessage, f"{field}[{index}]")
        if type(message) is not ChatMessage:  # it could have more fields
            raise TypeError(
                f"{field}[{index}] must be ChatMessage itself, not {type(message).__name__}"
            )
        require(message.role, str, f"{field}[{index}].role")
        require(message.content, str, f"{field}[{index}].content")


def encode_items(items: list[ExecutionCheckpointItem], field: str) -> str:
    """Compact JSON of a checkpoint's items. Raises ValueError or TypeError that names the field."""
    require(items, list, field)
    plain = []
    for index, item in enumerate(items):
        where = f"{field}[{index}]"
        require(item, ExecutionCheckpointItem, where)
        require(item.tool_name, str, f"{where}.tool_name")
        require(item.success, bool, f"{where}.success")
        require(item.output, str, f"{where}.output")
        plain.append(msgspec.structs.replace(item, arguments=_arguments(item, where)))
    return _encode(plain, _items_encoder, field)


def require(value: Any, kind: type, where: str) -> None:
    """Raise TypeError, naming the field, for a value of another type."""
    if not isinstance(value, kind):
        raise TypeError(f"{where} must be {kind.__name__}, not {type(value).__name__}")


def _encode(values: Sequence[Any], encoder: msgspec.json.Encoder, field: str) -> str:
    try:
        return encoder.encode(values).decode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{field}: {NO_SURROGATES}") from error


def _decode(raw: str, decoder: msgspec.json.Decoder[list[S]], struct: type[S]) -> list[S]:
    if not isinstance(raw, str):  # as SQLite may hold it in any column
        raise ValueError(f"a value of type {type(raw).__name__} is no JSON text")
    try:
        try:
            values = decoder.decode(raw)
        except msgspec.ValidationError:
            return _decode_odd(raw, struct)
        if _may_give_a_field_twice(raw, values, struct):
            return _decode_odd(raw, struct)
    except RecursionError as error:
        raise ValueError("JSON is nested too deeply") from error
    return values


def _may_give_a_field_twice(raw: str, values: list[Any], struct: type[msgspec.Struct]) -> bool:
    """Whether the text is another than the store would write for these values.

    A history need not be written for that if it is too short to hold one more field.
    """
    if struct is ChatMessage:
        texts = sum([len(value.role) + len(value.content) for value in values])
        if len(raw) - texts - len(values) * _LEAST_MESSAGE < _LEAST_FIELD:
            return False
        # the store's own spelling of texts is the shortest
        length = len(raw) if raw.isascii() else len(raw.encode())
        return len(_history_encoder.encode(values)) != length
    return _items_encoder.encode(values) != raw.encode()


def _decode_odd(raw: str, struct: type[S]) -> list[S]:
    """The slow way round: takes a value's fields by position too, and refuses one given twice."""
    msgspec.json.decode(raw)  # stricter than the standard library about what is JSON at all
    rows = json.loads(raw, object_pairs_hook=_Fields)
    if type(rows) is not list:
        raise ValueError("JSON is not an array")
    return [_from_row(row, struct, index) for index, row in enumerate(rows)]


class _Fields(list[tuple[str, Any]]):
    """A JSON object as the standard library met it, with every name as often as it stands there."""


def _from_row(row: Any, struct: type[S], index: int) -> S:
    names = struct.__struct_fields__
    if type(row) is list and len(row) == len(names):
        row = _Fields(zip(names, row, strict=True))
    if not isinstance(row, _Fields):
        raise ValueError(f"[{index}] is not an object")
    given = [name for name, _ in row if name in names]
    if len(given) != len(set(given)):
        raise ValueError(f"[{index}] gives a field twice")
    try:
        return msgspec.convert(_as_dicts(row), struct)
    except msgspec.ValidationError as error:
        raise ValueError(f"[{index}]: {error}") from error


def _as_dicts(value: Any) -> Any:
    if isinstance(value, _Fields):
        return {name: _as_dicts(child) for name, child in value}
    if isinstance(value, list):
        return [_as_dicts(child) for child in value]
    return value


def _arguments(item: ExecutionCheckpointItem, where: str) -> Any:
    try:
        return _as_json_value(item.arguments, _ARGUMENTS_DEPTH)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{where}.arguments: {error}") from error


def _as_json_value(value: Any, room: int) -> Any:
    """The value as JSON holds it; `room` is how many containers may still be nested."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value
    if kind is int:
        return value if _INT_MIN <= value <= _INT_MAX else _as_float(value)
    if kind is float:
        return _as_float(value)
    if kind is not dict and kind is not list and kind is not tuple:
        raise TypeError(f"{kind.__name__} is not a JSON value")
    if room == 0:
        raise ValueError(f"more than {MAX_DEPTH} containers inside one another")
    if kind is not dict:
        return [_as_json_value(child, room - 1) for child in value]
    for key in value:
        require(key, str, f"the key {key!r}")
    return {key: _as_json_value(child, room - 1) for key, child in value.items()}


def _as_float(value: float) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{number} has no JSON form")
    return number
