"""Finding a text in a history."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from tasks.messages import ChatMessage
from tasks.reading.secrecy import Hidden
from tasks.search import Term

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
    """The first places where the text stands, whatever its case and its escapes in JSON."""
    if not query:
        return []
    return list(islice(_hits(Term(query[:LONGEST_QUERY]), history), MOST_HITS))


def _hits(term: Term, history: Iterable[ChatMessage]) -> Iterator[Hit]:
    for number, message in enumerate(history, start=1):
        hidden = Hidden(message.content)
        for found in term.places(message.content):
            if around := hidden.around(*found.span(), AROUND, AROUND):
                yield Hit(number, *around)
