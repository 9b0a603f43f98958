"""Split a tool call's arguments into a command, an edit, a file and other fields, for display."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec

from tasks.models import DISPLAY_LENGTH
from tasks.secrets import request_masking
from tasks.transcript.diffs import Line, diff_lines
from tasks.transcript.highlighting import language_of
from tasks.transcript.text_preview import Text

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
_GENERIC_KEYS = ("arguments", "args", "input", "value")
_CODE_KEYS = {"code": "python", "python": "python", "sql": "sql", "javascript": "javascript"}
MAX_FIELDS, FIELD_LENGTH = 40, 4_000
MAX_DEPTH = 12  # nesting levels; JSON nested more deeply is not indented


@dataclass(frozen=True)
class Field:
    """A named argument, displayed inline or as a block."""

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
    """A tool call's arguments, each displayed once: as a command, path, edit, content or field."""

    value: Any

    @cached_property
    def _keys(self) -> dict[str, str]:
        """Map roles that are displayed specially to argument names, such as "command" to "cmd"."""
        if not isinstance(self.value, dict):
            return {}
        texts = {key: text for key, text in self.value.items() if isinstance(text, str)}
        if command := _first(texts, _COMMAND_KEYS):
            return {"command": command}
        path = _first(texts, _PATH_KEYS)
        keys = {"path": path} if path else {}
        for old, new in _OLD_NEW_KEYS:
            if old in texts and new in texts:
                return keys | {"old": old, "new": new}
        content = _first(texts, _CONTENT_KEYS)
        return keys | ({"content": content} if path and content else {})

    def _text(self, role: str) -> str:
        key = self._keys.get(role)
        return "" if key is None else str(self.value[key])

    @property
    def command(self) -> Text | None:
        return Text(self._text("command")) if "command" in self._keys else None

    @property
    def path(self) -> str:
        """The path of the file that the call reads or writes, or "" if there is none."""
        return self._text("path")

    @property
    def short_path(self) -> str:
        return request_masking.shorten(self.path, 400)

    @property
    def is_edit(self) -> bool:
        return "old" in self._keys

    @property
    def diff(self) -> list[Line] | None:
        if not self.is_edit:
            return None
        old, new = (
            request_masking.truncate(self._text(role), DISPLAY_LENGTH) for role in ("old", "new")
        )
        return list(diff_lines(old, new))

    @property
    def content(self) -> Text | None:
        return Text(self._text("content")) if "content" in self._keys else None

    @property
    def language(self) -> str:
        """The programming language of the file, or "" if it is unknown."""
        return language_of(self.path)

    @property
    def is_cut(self) -> bool:
        """Whether any of the arguments are too long to be shown in full."""
        texts = [self._text(role) for role in ("command", "old", "new", "content")]
        return any(len(text) > DISPLAY_LENGTH for text in texts) or any(
            field.text.is_cut for field in self.fields
        )

    @property
    def single_text(self) -> Text | None:
        """The call's only argument if it is a string with no name or a generic one, else None."""
        value = self.value
        if isinstance(value, dict) and len(value) == 1:
            [(name, value)] = value.items()
            if name not in _GENERIC_KEYS:
                return None
        return Text(value) if isinstance(value, str) and value else None

    @property
    def rest(self) -> Any:
        """The arguments that have no special display, or None if there are none."""
        if self.single_text is not None or self.value in ({}, "", None):
            return None
        if not isinstance(self.value, dict):
            return self.value
        keys = self._keys.values()
        return {name: value for name, value in self.value.items() if name not in keys} or None

    @cached_property
    def fields(self) -> list[Field]:
        """The arguments in `rest` as named fields."""
        rest = self.rest
        if isinstance(rest, dict):
            return list(_fields(list(rest.items())))
        return [] if rest is None else [Field("", json_text(rest), "json")]


def _fields(items: list[tuple[str, Any]]) -> Iterator[Field]:
    for name, value in items[:MAX_FIELDS]:
        value = request_masking.mask_field(name, value)
        if isinstance(value, str):
            yield Field(name, Text(value, FIELD_LENGTH), _CODE_KEYS.get(name, ""))
        elif isinstance(value, dict | list) and value:
            yield Field(name, json_text(value), "json")
        else:
            yield Field(name, Text(msgspec.json.encode(value).decode()))
    if rest := items[MAX_FIELDS:]:
        yield Field(f"{len(rest)} more", json_text(dict(rest)), "json")


def _first(texts: dict[str, str], keys: tuple[str, ...]) -> str:
    return next((key for key in keys if key in texts), "")


def json_text(value: Any) -> Text:
    """Return a value as indented JSON, or as compact JSON if it is long or deeply nested."""
    compact = msgspec.json.encode(value)
    if len(compact) > DISPLAY_LENGTH * 2 or _is_deeper_than(MAX_DEPTH, value):
        return Text(compact.decode(), FIELD_LENGTH)
    return Text(msgspec.json.format(compact, indent=2).decode(), FIELD_LENGTH)


def _is_deeper_than(depth: int, value: Any) -> bool:
    if not isinstance(value, dict | list):
        return False
    children = value.values() if isinstance(value, dict) else value
    return depth == 0 or any(_is_deeper_than(depth - 1, child) for child in children)
