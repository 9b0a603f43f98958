"""The arguments of a tool call as a person reads them: a command, an edit, a file, a few values."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec

from tasks.secrets import request_masking
from tasks.transcript import diffs
from tasks.transcript.highlighting import language_of
from tasks.transcript.text_preview import DISPLAY_LENGTH, Text

_COMMAND_KEYS = ("command", "cmd", "script", "shell_command", "bash")
_PATH_KEYS = ("path", "file_path", "file", "filename", "target_file")
_OLD_NEW_KEYS = (
    ("old_string", "new_string"),
    ("old_str", "new_str"),
    ("old_text", "new_text"),
    ("old", "new"),
    ("search", "replace"),
)
_CONTENT_KEYS = ("content", "contents", "file_text", "text", "body")
_UNTOLD_KEYS = ("arguments", "args", "input", "value")  # a name that says nothing
_CODE_KEYS = {"code": "python", "python": "python", "sql": "sql", "javascript": "javascript"}
MOST_FIELDS, FIELD_LENGTH = 40, 4_000
MOST_DEPTH = 12  # of indented JSON


@dataclass(frozen=True)
class Field:
    """A named value: a short one in its line, a longer one as a block."""

    name: str
    text: Text
    language: str = ""

    @property
    def short_name(self) -> str:
        return request_masking.truncate(self.name, 200) or '""'

    @property
    def is_block(self) -> bool:
        return "\n" in self.text.whole or len(self.text.whole) > 200 or bool(self.language)


@dataclass(frozen=True)
class Arguments:
    """What a call was given. Each key of an object is shown once, in one of the forms."""

    value: Any

    @cached_property
    def _taken(self) -> dict[str, str]:
        """The keys that have a form of their own, by what they are."""
        if not isinstance(self.value, dict):
            return {}
        texts = {key: text for key, text in self.value.items() if isinstance(text, str)}
        if command := _first(texts, _COMMAND_KEYS):
            return {"command": command}
        path = _first(texts, _PATH_KEYS)
        named = {"path": path} if path else {}
        for old, new in _OLD_NEW_KEYS:
            if old in texts and new in texts:
                return named | {"old": old, "new": new}
        content = _first(texts, _CONTENT_KEYS)
        return named | ({"content": content} if path and content else {})

    def _text(self, role: str) -> str:
        key = self._taken.get(role)
        return "" if key is None else str(self.value[key])

    @property
    def command(self) -> Text | None:
        return Text(self._text("command")) if "command" in self._taken else None

    @property
    def path(self) -> str:
        """The file that the call is about, or nothing."""
        return self._text("path")

    @property
    def short_path(self) -> str:
        return request_masking.shorten(self.path, 400)

    @property
    def diff(self) -> list[diffs.Line] | None:
        if "old" not in self._taken:
            return None
        old, new = (
            request_masking.truncate(self._text(role), DISPLAY_LENGTH) for role in ("old", "new")
        )
        return list(diffs.lines(old, new))

    @property
    def content(self) -> Text | None:
        return Text(self._text("content")) if "content" in self._taken else None

    @property
    def language(self) -> str:
        """The language of the file that the call is about, or nothing."""
        return language_of(self.path)

    @property
    def is_cut(self) -> bool:
        """Whether a part of them is not in the page."""
        texts = [self._text(role) for role in ("command", "old", "new", "content")]
        return any(len(text) > DISPLAY_LENGTH for text in texts) or any(
            field.text.is_cut for field in self.fields
        )

    @property
    def lone_text(self) -> Text | None:
        """A text that is all there is, or the value of a name that says nothing."""
        value = self.value
        if isinstance(value, dict) and len(value) == 1:
            [(name, value)] = value.items()
            if name not in _UNTOLD_KEYS:
                return None
        return Text(value) if isinstance(value, str) and value else None

    @property
    def rest(self) -> Any:
        """What has no form of its own; None where nothing is left."""
        if self.lone_text is not None or self.value in ({}, "", None):
            return None
        if not isinstance(self.value, dict):
            return self.value
        taken = self._taken.values()
        return {name: value for name, value in self.value.items() if name not in taken} or None

    @cached_property
    def fields(self) -> list[Field]:
        """The rest, value by value."""
        rest = self.rest
        if isinstance(rest, dict):
            return list(_fields(list(rest.items())))
        return [] if rest is None else [Field("", json_text(rest), "json")]


def _fields(left: list[tuple[str, Any]]) -> Iterator[Field]:
    for name, value in left[:MOST_FIELDS]:
        value = request_masking.mask_field(name, value)
        if isinstance(value, str):
            yield Field(name, Text(value, FIELD_LENGTH), _CODE_KEYS.get(name, ""))
        elif isinstance(value, dict | list) and value:
            yield Field(name, json_text(value), "json")
        else:
            yield Field(name, Text(msgspec.json.encode(value).decode()))
    if len(left) > MOST_FIELDS:
        yield Field(f"{len(left) - MOST_FIELDS} more", json_text(dict(left[MOST_FIELDS:])), "json")


def _first(given: Any, names: tuple[str, ...]) -> str:
    return next((name for name in names if name in given), "")


def json_text(value: Any) -> Text:
    """Indented JSON; as it is where the indentation would be most of it."""
    compact = msgspec.json.encode(value)
    if len(compact) > DISPLAY_LENGTH * 2 or _is_deeper_than(MOST_DEPTH, value):
        return Text(compact.decode(), FIELD_LENGTH)
    return Text(msgspec.json.format(compact, indent=2).decode(), FIELD_LENGTH)


def _is_deeper_than(depth: int, value: Any) -> bool:
    if not isinstance(value, dict | list):
        return False
    children = value.values() if isinstance(value, dict) else value
    return depth == 0 or any(_is_deeper_than(depth - 1, child) for child in children)
