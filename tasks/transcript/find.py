"""Searches for text within a single message history."""

import time
from collections.abc import Iterable, Iterator
from itertools import islice

from tasks.messages import ChatMessage
from tasks.secrets.request_masking import SearchedText
from tasks.transcript.search import Hit, Term

MAX_SECONDS = 5.0
MAX_HITS = 2_000
MAX_QUERY_LENGTH = 500
CONTEXT = 70  # characters shown on either side of a match


class Hits(list[Hit]):
    is_truncated = False  # True if the search stopped early, so there may be more hits


def find_hits(query: str, history: Iterable[ChatMessage], seconds: float = MAX_SECONDS) -> Hits:
    """Find the first matches for a query, ignoring case and JSON escaping."""
    term = Term(query[:MAX_QUERY_LENGTH])
    deadline = time.monotonic() + seconds
    hits = Hits(islice(_hits(term, history, deadline), MAX_HITS) if query else ())
    hits.is_truncated = term.timed_out or len(hits) == MAX_HITS
    return hits


def _hits(term: Term, history: Iterable[ChatMessage], deadline: float) -> Iterator[Hit]:
    for number, message in enumerate(history, start=1):
        text = SearchedText(message.content)
        for span in term.spans(message.content, deadline):
            if context := text.context(*span, CONTEXT, CONTEXT):
                yield Hit(number, message.role, *context)
