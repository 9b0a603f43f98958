"""Encodes and decodes the messages and tool calls in the store's JSON columns.

The JSON matches that of Rust's serde_json, which reads and writes the same columns: compact UTF-8,
sorted keys inside ``arguments``, integers beyond 64 bits read as floats, at most 127 nested
containers, and no repeated fields.
"""

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import msgspec

MAX_DEPTH = 127
_ARGUMENTS_DEPTH = MAX_DEPTH - 2  # the list of items and each item take two levels
_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1

NO_SURROGATES = "a lone surrogate is not text that UTF-8 can hold"
_SCALARS = frozenset({str, bool, float, type(None)})


class ChatMessage(msgspec.Struct):
    """One message in a history; ``role`` is system, user, assistant or tool."""

    role: str
    content: str


class ExecutionCheckpointItem(msgspec.Struct):
    """One tool call in a checkpoint; ``arguments`` may be any JSON value."""

    tool_name: str
    arguments: Any
    success: bool
    output: str


class ToolCall(msgspec.Struct):
    """A native tool call; ``arguments`` is JSON text."""

    id: str
    name: str
    arguments: str


class ToolResult(msgspec.Struct):
    tool_call_id: str
    content: str


class ToolCallRequest(msgspec.Struct):
    """An assistant message with native tool calls."""

    text: str | None
    tool_calls: list[ToolCall]
    reasoning_content: str | None = None


class Chat(msgspec.Struct, tag_field="type", tag="Chat"):
    data: ChatMessage


class AssistantToolCalls(msgspec.Struct, tag_field="type", tag="AssistantToolCalls"):
    data: ToolCallRequest


class ToolResults(msgspec.Struct, tag_field="type", tag="ToolResults"):
    data: list[ToolResult]


_MIN_MESSAGE_LENGTH = len('{"role":"","content":""},')
_MIN_FIELD_LENGTH = len(',"role":""')

S = TypeVar("S", bound=msgspec.Struct)

ConversationMessage = Chat | AssistantToolCalls | ToolResults

_history_decoder = msgspec.json.Decoder(list[ChatMessage])
_message_decoder = msgspec.json.Decoder(ChatMessage)
_raw_messages_decoder = msgspec.json.Decoder(list[msgspec.Raw])
_items_decoder = msgspec.json.Decoder(list[ExecutionCheckpointItem])
# The hook encodes subclasses of str, such as Django's safe strings, which msgspec rejects.
_history_encoder = msgspec.json.Encoder(enc_hook=str.__str__)
_items_encoder = msgspec.json.Encoder(enc_hook=str.__str__, order="deterministic")


def decode_history(raw: str | msgspec.Raw) -> list[ChatMessage]:
    """Decode a history column. Raises ValueError for text that serde_json would reject."""
    if isinstance(raw, msgspec.Raw):
        return list(read_history(raw))
    return _decode(raw, _history_decoder, ChatMessage)


def load_history(raw: str) -> list[ChatMessage]:
    """Decode a history column, but if a message repeats a field, use the last one.

    The agent's own store refuses such a message. Neither of the stores writes any, and looking for
    them takes up to half as long as decoding: that is left to `check_store`.
    """
    return _decode(raw, _history_decoder, ChatMessage, may_repeat=True)


def read_history(raw: str | msgspec.Raw) -> Iterable[ChatMessage]:
    """Decode a history column as `decode_history` does, but hold one message at a time.

    All errors are raised before the first message is returned. In `msgspec.Raw`, invalid UTF-8
    counts as �.
    """
    try:
        messages = _raw_messages_decoder.decode(raw)
        if all(map(_is_as_written, messages)):
            return map(_message_decoder.decode, messages)
    except (TypeError, ValueError, RecursionError):
        pass
    return _decode(as_text(raw), _history_decoder, ChatMessage)


def decode_as_written(raw: bytes) -> list[ChatMessage]:
    """Decode a history. Raises ValueError unless it is exactly as the store would write it."""
    messages = _history_decoder.decode(raw)
    if _history_encoder.encode(messages) != raw:
        raise ValueError("the history is not in the store's format")
    return messages


def _is_as_written(raw: msgspec.Raw) -> bool:
    """Return whether a message has the length that it has in the store, so no field is repeated."""
    return len(_history_encoder.encode(_message_decoder.decode(raw))) == len(memoryview(raw))


def as_text(value: Any) -> Any:
    """Decode `msgspec.Raw` to text, in which invalid UTF-8 becomes �, and keep any other value."""
    return str(value, "utf-8", "replace") if isinstance(value, msgspec.Raw) else value


def decode_items(raw: str) -> list[ExecutionCheckpointItem]:
    """Decode a checkpoint's items. Raises ValueError for text that serde_json would reject."""
    items = _decode(raw, _items_decoder, ExecutionCheckpointItem)
    for index, item in enumerate(items):
        item.arguments = _json_arguments(item, f"[{index}]")
    return items


def load_all_items(raws: Iterable[str]) -> list[list[ExecutionCheckpointItem]] | None:
    """Decode many checkpoints' items, with repeated fields as in `load_history`.

    Return None if any are not as the store writes them, or corrupt; `decode_items` tells which.
    """
    try:
        decoded = list(map(_items_decoder.decode, raws))
        for items in decoded:
            for item in items:
                if not _is_flat(item.arguments):
                    item.arguments = _json_arguments(item, "")
    except (TypeError, ValueError, RecursionError):
        return None
    return decoded


def _is_flat(arguments: Any) -> bool:
    """Return whether the arguments are an object whose values are all scalars."""
    if type(arguments) is not dict:
        return False
    for value in arguments.values():
        kind = type(value)
        if not (_INT_MIN <= value <= _INT_MAX if kind is int else kind in _SCALARS):
            return False
    return True


def encode_history(messages: list[ChatMessage], field: str) -> str:
    """Encode a history. Raises a ValueError or TypeError that names the bad field."""
    require(messages, list, field)
    for message in messages:
        # a fast check, since a history may have thousands of messages
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
        if type(message) is not ChatMessage:  # a subclass could have more fields
            raise TypeError(
                f"{field}[{index}] must be ChatMessage itself, not {type(message).__name__}"
            )
        require(message.role, str, f"{field}[{index}].role")
        require(message.content, str, f"{field}[{index}].content")


def encode_items(items: list[ExecutionCheckpointItem], field: str) -> str:
    """Encode a checkpoint's items. Raises a ValueError or TypeError that names the bad field."""
    require(items, list, field)
    checked = []
    for index, item in enumerate(items):
        where = f"{field}[{index}]"
        require(item, ExecutionCheckpointItem, where)
        require(item.tool_name, str, f"{where}.tool_name")
        require(item.success, bool, f"{where}.success")
        require(item.output, str, f"{where}.output")
        checked.append(msgspec.structs.replace(item, arguments=_json_arguments(item, where)))
    return _encode(checked, _items_encoder, field)


def require(value: Any, kind: type, where: str) -> None:
    """Raise a TypeError that names the field if the value is not of the given type."""
    if not isinstance(value, kind):
        raise TypeError(f"{where} must be {kind.__name__}, not {type(value).__name__}")


def _encode(values: Sequence[Any], encoder: msgspec.json.Encoder, field: str) -> str:
    try:
        return encoder.encode(values).decode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{field}: {NO_SURROGATES}") from error


def _decode(
    raw: str,
    decoder: msgspec.json.Decoder[list[S]],
    struct: type[S],
    *,
    may_repeat: bool = False,
) -> list[S]:
    if not isinstance(raw, str):  # SQLite can store any type in any column
        raise ValueError(f"a value of type {type(raw).__name__} is not JSON text")
    try:
        try:
            values = decoder.decode(raw)
        except msgspec.ValidationError:
            return _decode_slowly(raw, struct)
        if not may_repeat and _may_repeat_field(raw, values, struct):
            return _decode_slowly(raw, struct)
    except RecursionError as error:
        raise ValueError("JSON is nested too deeply") from error
    return values


def _may_repeat_field(raw: str, values: list[Any], struct: type[msgspec.Struct]) -> bool:
    """Return whether the text differs from what the store would write for the decoded values.

    A history that is too short to contain a repeated field is accepted without re-encoding it.
    """
    if struct is ChatMessage:
        texts = sum([len(value.role) + len(value.content) for value in values])
        if len(raw) - texts - len(values) * _MIN_MESSAGE_LENGTH < _MIN_FIELD_LENGTH:
            return False
        # the store writes the shortest possible JSON, so a repeated field makes the text longer
        length = len(raw) if raw.isascii() else len(raw.encode())
        return len(_history_encoder.encode(values)) != length
    return _items_encoder.encode(values) != raw.encode()


def _decode_slowly(raw: str, struct: type[S]) -> list[S]:
    """Decode JSON as serde_json does: fields may be given by position but not repeated."""
    msgspec.json.decode(raw)  # checks the syntax more strictly than `json` does
    rows = json.loads(raw, object_pairs_hook=_Fields)
    if type(rows) is not list:
        raise ValueError("JSON is not an array")
    return [_from_row(row, struct, index) for index, row in enumerate(rows)]


class _Fields(list[tuple[str, Any]]):
    """A parsed JSON object, stored as pairs so that repeated names are kept."""


def _from_row(row: Any, struct: type[S], index: int) -> S:
    names = struct.__struct_fields__
    if type(row) is list and len(row) == len(names):
        row = _Fields(zip(names, row, strict=True))
    if not isinstance(row, _Fields):
        raise ValueError(f"[{index}] is not an object")
    fields = [name for name, _ in row if name in names]
    if len(fields) != len(set(fields)):
        raise ValueError(f"[{index}] has a duplicate field")
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


def _json_arguments(item: ExecutionCheckpointItem, where: str) -> Any:
    try:
        return _as_json_value(item.arguments, _ARGUMENTS_DEPTH)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{where}.arguments: {error}") from error


def _as_json_value(value: Any, depth: int) -> Any:
    """Convert the value to JSON types, allowing at most `depth` levels of nested containers."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value
    if kind is int:
        return value if _INT_MIN <= value <= _INT_MAX else _as_float(value)
    if kind is float:
        return _as_float(value)
    if kind is not dict and kind is not list and kind is not tuple:
        raise TypeError(f"{kind.__name__} is not a JSON value")
    if depth == 0:
        raise ValueError(f"more than {MAX_DEPTH} levels of nesting")
    if kind is not dict:
        return [_as_json_value(child, depth - 1) for child in value]
    for key in value:
        require(key, str, f"the key {key!r}")
    return {key: _as_json_value(child, depth - 1) for key, child in value.items()}


def _as_float(value: float) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{number} cannot be represented in JSON")
    return number
