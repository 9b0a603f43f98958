"""Search terms that match ids and messages, ignoring case and JSON escaping."""

import math
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db.models import CharField, Lookup, Q, TextField

from masking import lowercase
from tasks.engines import engine
from tasks.messages import ChatMessage, decode_history
from tasks.secrets.request_masking import SearchedText
from tasks.transcript.tool_calls import RESULTS_HEAD

SNIPPET_BEFORE, SNIPPET_AFTER = 60, 140  # characters
LIKE_LENGTH = 24  # characters of a term to match in SQL; longer patterns would be slower
# The maximum number of characters to search at a time, because other requests have to wait.
# Patterns that allow for JSON escapes can be a hundred times slower, so their limit is lower.
CHUNK, PATTERN_CHUNK = 1_000_000, 20_000
ROLES = ("user", "assistant", "tool", "system")
UNREADABLE = "unreadable"  # the role reported for a history that cannot be decoded
DELETE = "\x7f"  # the DEL character, which some JSON encoders escape
_SHORT_ESCAPES = {"\n": "n", "\t": "t", "\r": "r", "\b": "b", "\f": "f"}


if TYPE_CHECKING:
    LookupBase = Lookup[Any]
else:
    LookupBase = Lookup


@CharField.register_lookup
@TextField.register_lookup
class Like(LookupBase):
    """A LIKE lookup that ignores case on every database and uses a backslash for escaping."""

    lookup_name = "like"
    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        column, params = self.process_lhs(compiler, connection)
        return f"{column} {engine(connection).like} %s ESCAPE '\\'", [*params, self.rhs]


@dataclass(frozen=True)
class Hit:
    """A search match in a message, with the text around it."""

    number: int  # the message's position in its history, starting at 1
    role: str
    before: str
    match: str
    after: str


class Term:
    """Text to search for, ignoring case."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.timed_out = False
        self._regex = re.compile(_regex(text), re.IGNORECASE)
        self._literal = "" if _has_escapes(text) else text.lower()

    def in_ids(self) -> Q:
        pattern = f"%{''.join(map(_like_literal, self.text))}%"
        return Q(thread_id__like=pattern) | Q(task_id__like=pattern)

    def in_histories(self) -> Q:
        """Return a filter for rows whose history contains the text. A few other rows may match."""
        start = self.text[:LIKE_LENGTH]
        rows = Q(execution_history_json__like=f"%{''.join(map(_like_json, start))}%")
        if not start.isascii():
            escaped = "".join(map(_like_ascii_json, start))
            rows |= Q(execution_history_json__like=f"%{escaped}%")
        return rows

    def is_in(self, text: str) -> bool:
        return next(self.spans(text), None) is not None

    def spans(self, text: str, deadline: float = math.inf) -> Iterator[tuple[int, int]]:
        """Yield the start and end of each match, until `time.monotonic()` passes the deadline."""
        for span in self._spans_and_chunks(text):
            if time.monotonic() > deadline:
                self.timed_out = True
                return
            if span:
                yield span

    def _spans_and_chunks(self, text: str) -> Iterator[tuple[int, int] | None]:
        """For each chunk of the text, yield None and then each match in that chunk."""
        spans = self._literal_spans if self._literal else self._pattern_spans
        end = 0
        for start in range(0, len(text), CHUNK if self._literal else PATTERN_CHUNK):
            yield None
            for span in spans(text, start, end):
                yield span
                end = span[1]

    def _literal_spans(self, text: str, start: int, after: int) -> Iterator[tuple[int, int]]:
        """Yield the matches that begin in the chunk at `start`, skipping any before `after`."""
        size = len(self._literal)
        chunk = lowercase(text[start : start + CHUNK + size - 1])
        at = chunk.find(self._literal, max(0, after - start))
        while at >= 0:
            yield start + at, start + at + size
            at = chunk.find(self._literal, at + size)

    def _pattern_spans(self, text: str, start: int, after: int) -> Iterator[tuple[int, int]]:
        end = start + PATTERN_CHUNK
        max_match = 1_000 + 40 * len(self.text)  # characters, allowing for repeated escaping
        for match in self._regex.finditer(text, max(start, after), end + max_match):
            if match.start() >= end:
                return
            yield match.span()

    def hits(
        self, history_json: str, roles: tuple[str, ...], deadline: float = math.inf
    ) -> list[Hit]:
        """Return the first match in each message, or in the stored JSON if it is invalid."""
        try:
            history = decode_history(history_json)
        except (TypeError, ValueError):
            history, roles = [ChatMessage(UNREADABLE, str(history_json))], (UNREADABLE,)
        matches = (
            self._first_hit(number, message, roles, deadline)
            for number, message in enumerate(history, start=1)
        )
        return [hit for hit in matches if hit]

    def _first_hit(
        self, number: int, message: ChatMessage, roles: tuple[str, ...], deadline: float
    ) -> Hit | None:
        role, content = _role(message), message.content
        if roles and role not in roles:
            return None
        text = SearchedText(content)
        for start, end in self.spans(content, deadline):
            if context := text.context(start, end, SNIPPET_BEFORE, SNIPPET_AFTER):
                before, match, after = context
                before = f"…{before}" if start > SNIPPET_BEFORE else before
                after = f"{after}…" if end + SNIPPET_AFTER < len(content) else after
                return Hit(number, role, before, match, after)
        return None


def _role(message: ChatMessage) -> str:
    """Return a message's role, or "tool" for a user message that contains tagged tool results."""
    return "tool" if message.content.startswith(RESULTS_HEAD) else message.role


def _has_escapes(text: str) -> bool:
    """Return whether JSON encoding may escape any of the text."""
    return not (text.isascii() and text.isprintable()) or '"' in text or "\\" in text


def _regex(text: str) -> str:
    """Return a regex that matches the text unescaped, or JSON-escaped any number of times.

    To run in linear time, the regex never scans a run of backslashes twice: its first backslash
    matches a single one, and each later backslash matches an entire run.
    """
    pattern, backslashes = "", r"\\"
    for atom in re.findall(r'\\*"|\\+|.', text, re.DOTALL):
        pattern += _atom_pattern(atom, backslashes)
        backslashes = "" if atom.endswith("\\") else r"\\++"
    return pattern


def _atom_pattern(atom: str, backslashes: str) -> str:
    """Return a regex for a single character, or for backslashes followed by an optional quote."""
    if atom == '"':
        return '"' if backslashes == r"\\" else r"\\*+" + '"'
    if atom.startswith("\\"):
        return backslashes + atom.strip("\\")
    if atom < " " or atom == DELETE:
        escape = _SHORT_ESCAPES.get(atom, f"u00{ord(atom):02x}")
        return rf"(?:{re.escape(atom)}|{backslashes}{escape})"
    if atom.isascii():
        return re.escape(atom)
    units = atom.encode("utf-16-be", "surrogatepass").hex()
    escaped = r"\\++".join(f"u{units[i : i + 4]}" for i in range(0, len(units), 4))
    return f"(?:{re.escape(atom)}|{backslashes}{escaped})"


def _like_literal(character: str) -> str:
    """Return a LIKE pattern for a character, or "_" if SQLite cannot ignore its case."""
    if character in "\\%_":
        return "\\" + character
    has_case = character.lower() != character.upper()
    return "_" if has_case and not character.isascii() else character


def _like_json(character: str) -> str:
    """Return a LIKE pattern for a character in JSON, whether or not it is escaped there."""
    is_escaped = character in f'"\\{DELETE}' or character < " "
    return "%" if is_escaped else _like_literal(character)


def _like_ascii_json(character: str) -> str:
    """Return a LIKE pattern for a character in JSON that escapes all non-ASCII characters."""
    if character.isascii():
        return _like_json(character)
    return "\\\\%u____" * (len(character.encode("utf-16-be", "surrogatepass")) // 2)
