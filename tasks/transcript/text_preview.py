"""A text of any length, and what of it a page shows."""

import re
from dataclasses import dataclass
from functools import cached_property

from tasks.secrets import request_masking
from tasks.transcript import terminal

SHOWN_LENGTH = 20_000  # characters of one text that a page shows; the rest is a link away
PREVIEW_LENGTH, PREVIEW_LINES = 900, 12  # of a text that is folded until somebody opens it
_SETTLED_LENGTH = 400_000  # characters of an output that are looked at for redrawn lines
_PICTURE = re.compile(
    r"data:(?P<type>[\w.+-]{1,80}/[\w.+-]{1,80})(?:;(?!base64,)[\w=.+-]{1,80}){0,3};base64,"
    r"(?P<data>[A-Za-z0-9+/=_-]++)"
)


def size(length: int) -> str:
    """A number of bytes for a person: "7.6 KB"."""
    if length < 1_000:
        return f"{length} B"
    return f"{length / 1_000:.1f} KB" if length < 1_000_000 else f"{length / 1_000_000:.1f} MB"


def without_pictures(text: str) -> str:
    """The text with the type and the size of each picture or file that it holds as base64."""
    return _PICTURE.sub(lambda found: _described(found["type"], len(found["data"])), text)


def _described(kind: str, length: int) -> str:
    return f"[IMAGE:{kind}, {size(length * 3 // 4)}]"


@dataclass(frozen=True)
class Text:
    """A text as stored, and the start of it that a page shows."""

    whole: str
    limit: int = SHOWN_LENGTH

    @cached_property
    def _told(self) -> str:
        return without_pictures(self.whole)

    @cached_property
    def body(self) -> str:
        """What there is to be shown of it."""
        return self._told[:_SETTLED_LENGTH].replace("\r\n", "\n")

    @cached_property
    def shown(self) -> str:
        return request_masking.beginning(self.body, self.limit)

    @property
    def length(self) -> int:
        return len(self.whole)

    @property
    def preview(self) -> str:
        start = request_masking.beginning(self.body, PREVIEW_LENGTH)
        return "\n".join(start.split("\n")[:PREVIEW_LINES])

    @property
    def is_long(self) -> bool:
        return len(self.body) > PREVIEW_LENGTH + 300 or self.shown.count("\n") > PREVIEW_LINES + 8

    @property
    def is_cut(self) -> bool:
        return len(self.body) > self.limit or len(self._told) > _SETTLED_LENGTH

    @property
    def opener(self) -> str:
        """What a click on it shows: "all, 7.6 KB, 210 lines"."""
        return (
            f"the first {size(self.limit)} of {self.size}" if self.is_cut else f"all, {self.size}"
        )

    @cached_property
    def size(self) -> str:
        """How large it is as stored: "7.6 KB, 210 lines"."""
        lines = self.whole.rstrip("\n").count("\n") + 1
        taken = size(len(self.whole.encode(errors="replace")))
        return f"{taken}, {lines:,} lines" if lines > 1 else taken


class Output(Text):
    """What a tool printed; shown as a terminal would show it at the end."""

    @cached_property
    def body(self) -> str:
        return terminal.settled(self._told[:_SETTLED_LENGTH]).rstrip("\n")

    @property
    def uncut(self) -> str:
        """All of it as a terminal would show it: for a file, not for a page."""
        return terminal.settled(self._told).rstrip("\n")
