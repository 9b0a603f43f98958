"""Finding a text in ids and in messages, as a person means it, whatever escapes it is stored in."""

import math
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db.models import CharField, Lookup, Q, TextField

from masking import lowercase
from tasks.messages import ChatMessage, decode_history
from tasks.secrets.request_masking import SearchedText

SNIPPET_BEFORE, SNIPPET_AFTER = 60, 140  # characters
LIKE_LENGTH = 24  # of a text that the database looks for: the time it takes is in proportion
# Characters looked through at once: other requests get no turn meanwhile. What is literal is found
# in linear time; a pattern, of escapes, may take a hundred times as long.
PIECE, PIECE_OF_PATTERN = 1_000_000, 20_000
ROLES = ("user", "assistant", "tool", "system")
UNREADABLE = "unreadable"  # in the place of a role
DELETE = "\x7f"  # which some writers of JSON escape as well
_SHORT_ESCAPES = {"\n": "n", "\t": "t", "\r": "r", "\b": "b", "\f": "f"}


if TYPE_CHECKING:
    LookupBase = Lookup[Any]
else:
    LookupBase = Lookup


@CharField.register_lookup
@TextField.register_lookup
class Like(LookupBase):
    """LIKE that takes a to be A, as SQLite does by itself; the pattern's escape is a backslash."""

    lookup_name = "like"
    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        column, params = self.process_lhs(compiler, connection)
        operator = "ILIKE" if connection.vendor == "postgresql" else "LIKE"
        return f"{column} {operator} %s ESCAPE '\\'", [*params, self.rhs]


@dataclass(frozen=True)
class Hit:
    """A message that was found, by its number in the history, and what stands around the text."""

    number: int
    role: str
    before: str
    match: str
    after: str


class Term:
    """A text to search for, ASCII and other letters in either case."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.was_stopped = False  # before all was looked through
        self._regex = re.compile(_regex(text), re.IGNORECASE)
        self._literal = "" if _has_escapes(text) else text.lower()

    def in_ids(self) -> Q:
        pattern = f"%{''.join(map(_literally, self.text))}%"
        return Q(thread_id__like=pattern) | Q(task_id__like=pattern)

    def in_histories(self) -> Q:
        """Rows whose history may hold the text: all that do, and few others."""
        start = self.text[:LIKE_LENGTH]
        found = Q(execution_history_json__like=f"%{''.join(map(_stored, start))}%")
        if not start.isascii():
            escaped = "".join(map(_stored_in_escapes, start))
            found |= Q(execution_history_json__like=f"%{escaped}%")
        return found

    def is_in(self, text: str) -> bool:
        return next(self.places(text), None) is not None

    def places(self, text: str, until: float = math.inf) -> Iterator[tuple[int, int]]:
        """Where the text stands, from and to; those found until `time.monotonic()` is past this."""
        for place in self._all_places(text):
            if time.monotonic() > until:
                self.was_stopped = True
                return
            if place:
                yield place

    def _all_places(self, text: str) -> Iterator[tuple[int, int] | None]:
        """Them all, and None before each piece of the text."""
        found = self._literal_places if self._literal else self._pattern_places
        after = 0
        for start in range(0, len(text), PIECE if self._literal else PIECE_OF_PATTERN):
            yield None
            for place in found(text, start, after):
                yield place
                after = place[1]

    def _literal_places(self, text: str, start: int, after: int) -> Iterator[tuple[int, int]]:
        """Those that begin in one piece."""
        size = len(self._literal)
        piece = lowercase(text[start : start + PIECE + size - 1])
        at = piece.find(self._literal, max(0, after - start))
        while at >= 0:
            yield start + at, start + at + size
            at = piece.find(self._literal, at + size)

    def _pattern_places(self, text: str, start: int, after: int) -> Iterator[tuple[int, int]]:
        """The same."""
        last = start + PIECE_OF_PATTERN
        longest = 1_000 + 40 * len(self.text)  # of a match, escaped several times over
        for found in self._regex.finditer(text, max(start, after), last + longest):
            if found.start() >= last:
                return
            yield found.span()

    def hits(self, history_json: str, roles: tuple[str, ...], until: float = math.inf) -> list[Hit]:
        """The messages that hold the text; of a history that cannot be read, the place in it."""
        try:
            history = decode_history(history_json)
        except (TypeError, ValueError):
            history, roles = [ChatMessage(UNREADABLE, str(history_json))], (UNREADABLE,)
        return list(self._hits(history, roles, until))

    def _hits(
        self, history: list[ChatMessage], roles: tuple[str, ...], until: float
    ) -> Iterator[Hit]:
        for number, message in enumerate(history, start=1):
            role = role_of(message)
            if roles and role not in roles:
                continue
            hidden = SearchedText(message.content)
            for start, end in self.places(message.content, until):
                if around := hidden.context(start, end, SNIPPET_BEFORE, SNIPPET_AFTER):
                    is_cut = start > SNIPPET_BEFORE, end + SNIPPET_AFTER < len(message.content)
                    yield _hit(number, role, around, *is_cut)
                    break


def role_of(message: ChatMessage) -> str:
    """Who speaks: without native tool calling a tool's results come as a message of the user."""
    return "tool" if message.content.startswith("[Tool results]") else message.role


def _hit(
    number: int, role: str, around: tuple[str, str, str], cut_before: bool, cut_after: bool
) -> Hit:
    before, match, after = around
    before, after = ("…" if cut_before else "") + before, after + ("…" if cut_after else "")
    return Hit(number, role, before, match, after)


def _has_escapes(text: str) -> bool:
    """Whether the text may stand in JSON otherwise than it is."""
    return not (text.isascii() and text.isprintable()) or '"' in text or "\\" in text


def _regex(text: str) -> str:
    """What matches a text in a message, where it may stand in JSON within JSON, escaped again.

    No run of backslashes is looked at twice, or it would take quadratic time: at the start one of
    them is enough, and after others they are all taken.
    """
    pattern, backslashes = "", r"\\"
    for piece in re.findall(r'\\*"|\\+|.', text, re.DOTALL):
        pattern += _pattern(piece, backslashes)
        backslashes = "" if piece.endswith("\\") else r"\\++"
    return pattern


def _pattern(piece: str, backslashes: str) -> str:
    """What matches one character, or a run of backslashes that a quote may follow."""
    if piece == '"':
        return '"' if backslashes == r"\\" else r"\\*+" + '"'
    if piece.startswith("\\"):
        return backslashes + piece.strip("\\")
    if piece < " " or piece == DELETE:
        escape = _SHORT_ESCAPES.get(piece, f"u00{ord(piece):02x}")
        return rf"(?:{re.escape(piece)}|{backslashes}{escape})"
    if piece.isascii():
        return re.escape(piece)
    units = piece.encode("utf-16-be", "surrogatepass").hex()
    escaped = r"\\++".join(f"u{units[i : i + 4]}" for i in range(0, len(units), 4))
    return f"(?:{re.escape(piece)}|{backslashes}{escaped})"


def _literally(character: str) -> str:
    """A character in a pattern of LIKE; SQLite knows the case of ASCII letters alone."""
    if character in "\\%_":
        return "\\" + character
    has_case = character.lower() != character.upper()
    return "_" if has_case and not character.isascii() else character


def _stored(character: str) -> str:
    """The same where the text stands in JSON: nobody knows how many times over it is escaped."""
    is_escaped = character in f'"\\{DELETE}' or character < " "
    return "%" if is_escaped else _literally(character)


def _stored_in_escapes(character: str) -> str:
    if character.isascii():
        return _stored(character)
    return "\\\\%u____" * (len(character.encode("utf-16-be", "surrogatepass")) // 2)
