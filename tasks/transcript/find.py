"""Finding a text in a history."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from tasks.messages import ChatMessage
from tasks.secrets.request_masking import SearchedText
from tasks.transcript.search import Term

SECONDS = 5.0  # that are looked
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


class Hits(list[Hit]):
    """Places, and whether there may be more."""

    may_be_more = False


def hits(query: str, history: Iterable[ChatMessage], seconds: float = SECONDS) -> Hits:
    """The first places where the text stands, whatever its case and its escapes in JSON."""
    term = Term(query[:LONGEST_QUERY])
    until = time.monotonic() + seconds
    found = Hits(islice(_hits(term, history, until), MOST_HITS) if query else ())
    found.may_be_more = term.was_stopped or len(found) == MOST_HITS
    return found


def _hits(term: Term, history: Iterable[ChatMessage], until: float) -> Iterator[Hit]:
    for number, message in enumerate(history, start=1):
        hidden = SearchedText(message.content)
        for place in term.places(message.content, until):
            if around := hidden.context(*place, AROUND, AROUND):
                yield Hit(number, *around)
