"""Reads some messages of a large history without holding the rest of it in memory.

One pass over the history checks it and finds where each message begins. That is remembered until
the history changes, so that the next page reads only the messages that it shows.
"""

from array import array
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import accumulate
from typing import Any

from django.core.cache import cache

from tasks import large_values
from tasks.fields import to_text
from tasks.large_values import Reader
from tasks.messages import ChatMessage, decode_as_written
from tasks.models import TaskRecord
from tasks.store import workspace
from tasks.transcript.tool_calls import may_hold_results

MIN_SIZE = 4_000_000  # bytes; smaller histories are read whole
MAX_REMEMBERED = 500_000  # messages
COLUMN = "execution_history_json"

# Starts each message but the first. In a JSON string, the quotes would be escaped.
_BOUNDARY = b'},{"role":"'


@dataclass
class Layout:
    """Where the messages of a history begin, and where one after the last one would.

    Positions are in bytes, or in characters on PostgreSQL.
    """

    starts: "array[int]" = field(default_factory=lambda: array("Q", [len("[")]))
    lengths: "array[int]" = field(default_factory=lambda: array("Q"))  # characters of the texts
    is_assistant: bytearray = field(default_factory=bytearray)
    may_hold_results: bytearray = field(default_factory=bytearray)

    def __len__(self) -> int:
        return len(self.lengths)

    def add(self, part: bytes, *, counts_bytes: bool) -> None:
        """Add the messages in a part of the history, which is a JSON array of its own.

        Raises ValueError if they are not exactly as the store writes them.
        """
        for message in decode_as_written(part):
            self.lengths.append(len(message.content))
            self.is_assistant.append(message.role == "assistant")
            self.may_hold_results.append(may_hold_results(message.role, message.content))
        pieces = part.split(_BOUNDARY)
        sizes = [len(piece if counts_bytes else piece.decode()) for piece in pieces]
        widths = (size + len(_BOUNDARY) for size in sizes)
        # the part's bracket stands where there is a comma or bracket before its first message
        *ends, end = accumulate(widths, initial=self.starts[-1] - len("["))
        within = len(_BOUNDARY) - len("},")  # the part of a boundary that is in the next message
        self.starts.extend(end - within for end in ends[1:])
        self.starts.append(end - len(_BOUNDARY) - len("]") + len(","))


class LargeHistory:
    """A history of which messages are read when they are needed.

    Raises ValueError if it is not as the store writes it.
    """

    def __init__(self, record: TaskRecord) -> None:
        self.record = record
        with large_values.reading(record, COLUMN) as reader:
            self.layout = cache.get(self._key) or self._find_layout(reader)

    def read(self, first: int, last: int) -> list[ChatMessage]:
        """Return the messages from index `first` to before index `last`.

        If the history was written since `layout` was found, both are of the new one.
        """
        with large_values.reading(self.record, COLUMN) as reader:
            try:
                return self._read(reader, first, last)
            except ValueError:
                self.layout = self._find_layout(reader)
                return self._read(reader, first, last)

    def _read(self, reader: Reader, first: int, last: int) -> list[ChatMessage]:
        starts, last = self.layout.starts, min(last, len(self.layout))
        if first >= last:
            return []
        part = reader.read(starts[first], starts[last] - len(","))
        messages = decode_as_written(b"[%b]" % part)
        lengths = array("Q", [len(message.content) for message in messages])
        if lengths != self.layout.lengths[first:last]:
            raise ValueError("the history has changed while it was read")
        return messages

    def _find_layout(self, reader: Reader) -> Layout:
        layout = _scan(reader)
        if len(layout) <= MAX_REMEMBERED:
            cache.set(self._key, layout, None)
        return layout

    @property
    def _key(self) -> str:
        record: Any = self.record
        version = (record.pk, to_text(record.updated_at), record.history_length)
        name = repr((workspace.identity(), *version)).encode("utf-8", "surrogatepass")
        return f"layout-{blake2b(name, digest_size=16).hexdigest()}"


def _scan(reader: Reader) -> Layout:
    layout, pending, searched = Layout(), bytearray(), 0
    for chunk in reader.chunks():
        pending += chunk
        cut = pending.rfind(_BOUNDARY, max(0, searched - len(_BOUNDARY))) + len("}")
        if cut:
            _add(layout, b"".join((memoryview(pending)[:cut], b"]")), reader)
            del pending[:cut]
        searched = len(pending)
    if not pending.endswith(b"]"):
        raise ValueError("the history is incomplete")
    _add(layout, bytes(pending), reader)
    return layout


def _add(layout: Layout, part: bytes, reader: Reader) -> None:
    """Add a part that begins with the bracket or comma before its first message."""
    if len(layout) and part.startswith(b","):
        part = b"".join((b"[", memoryview(part)[1:]))
    layout.add(part, counts_bytes=reader.counts_bytes)
