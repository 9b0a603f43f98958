"""Finding a text in ids and in messages, as a person means it, whatever escapes it is stored in."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db.models import CharField, Lookup, Q, TextField

from tasks.messages import ChatMessage, decode_history
from tasks.reading.secrecy import Hidden

SNIPPET_BEFORE, SNIPPET_AFTER = 60, 140  # characters
ROLES = ("user", "assistant", "tool", "system")
UNREADABLE = "unreadable"  # in the place of a role


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
        self._regex = re.compile(_regex(text), re.IGNORECASE)

    def in_ids(self) -> Q:
        pattern = f"%{''.join(map(_literally, self.text))}%"
        return Q(thread_id__like=pattern) | Q(task_id__like=pattern)

    def in_histories(self) -> Q:
        """Rows whose history may hold the text: all that do, and few others."""
        found = Q(execution_history_json__like=f"%{''.join(map(_stored, self.text))}%")
        if not self.text.isascii():
            escaped = "".join(map(_stored_in_escapes, self.text))
            found |= Q(execution_history_json__like=f"%{escaped}%")
        return found

    def is_in(self, text: str) -> bool:
        return self._regex.search(text) is not None

    def places(self, text: str) -> Iterator[re.Match[str]]:
        return self._regex.finditer(text)

    def hits(self, history_json: str, roles: tuple[str, ...]) -> list[Hit]:
        """The messages that hold the text; of a history that cannot be read, the place in it."""
        try:
            history = decode_history(history_json)
        except (TypeError, ValueError):
            history, roles = [ChatMessage(UNREADABLE, str(history_json))], (UNREADABLE,)
        return list(self._hits(history, roles))

    def _hits(self, history: list[ChatMessage], roles: tuple[str, ...]) -> Iterator[Hit]:
        for number, message in enumerate(history, start=1):
            role = role_of(message)
            if roles and role not in roles:
                continue
            hidden = Hidden(message.content)
            for found in self._regex.finditer(message.content):
                if around := hidden.around(*found.span(), SNIPPET_BEFORE, SNIPPET_AFTER):
                    yield _hit(number, role, message.content, found, around)
                    break


def role_of(message: ChatMessage) -> str:
    """Who speaks: without native tool calling a tool's results come as a message of the user."""
    return "tool" if message.content.startswith("[Tool results]") else message.role


def _hit(
    number: int, role: str, text: str, found: re.Match[str], around: tuple[str, str, str]
) -> Hit:
    before, match, after = around
    cut_before = "…" if found.start() > SNIPPET_BEFORE else ""
    cut_after = "…" if found.end() + SNIPPET_AFTER < len(text) else ""
    return Hit(number, role, cut_before + before, match, after + cut_after)


def _regex(text: str) -> str:
    """What matches a text in a message, where it may stand in JSON within JSON, escaped again.

    No run of backslashes is looked at twice, or it would take quadratic time: at the start one of
    them is enough, and after others they are all taken.
    """
    pattern, backslashes = "", r"\\"
    for piece in re.findall(r'\\*"|\\+|.', text, re.DOTALL):
        pattern += _piece(piece, backslashes)
        backslashes = "" if piece.endswith("\\") else r"\\++"
    return pattern


def _piece(piece: str, backslashes: str) -> str:
    """One character, or a run of backslashes that a quote may follow."""
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


DELETE = "\x7f"  # which some writers of JSON escape as well
_SHORT_ESCAPES = {"\n": "n", "\t": "t", "\r": "r", "\b": "b", "\f": "f"}


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
