"""Finding a text in a history."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from tasks.messages import ChatMessage

MOST_HITS = 2_000  # that are counted, and stepped through
LONGEST_QUERY = 500
AROUND = 70  # characters that a snippet shows on either side


@dataclass(frozen=True)
class Hit:
    """One place: the message's number, and what stands before, at and after it."""

    number: int
    before: str
    text: str
    after: str


def hits(query: str, history: Iterable[ChatMessage]) -> list[Hit]:
    """The first places where the text stands, whatever its letters' case."""
    if not query:
        return []
    pattern = re.compile(re.escape(query[:LONGEST_QUERY]), re.IGNORECASE)
    return list(islice(_hits(pattern, history), MOST_HITS))


def _hits(pattern: re.Pattern[str], history: Iterable[ChatMessage]) -> Iterator[Hit]:
    for number, message in enumerate(history, start=1):
        text = message.content
        for found in pattern.finditer(text):
            start, end = found.span()
            before, after = text[max(0, start - AROUND) : start], text[end : end + AROUND]
            yield Hit(number, before, found[0], after)
