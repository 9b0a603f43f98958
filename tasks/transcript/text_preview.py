"""Stored text of any length, and the part of it that a page shows."""

import re
from dataclasses import dataclass
from functools import cached_property

from tasks.models import DISPLAY_LENGTH
from tasks.secrets import request_masking
from tasks.transcript import terminal

PREVIEW_LENGTH, PREVIEW_LINES = 900, 12  # characters and lines shown while text is folded
_PROCESSED_LENGTH = 400_000  # the maximum number of characters processed for display
_DATA_URL = re.compile(
    r"data:(?P<type>[\w.+-]{1,80}/[\w.+-]{1,80})(?:;(?!base64,)[\w=.+-]{1,80}){0,3};base64,"
    r"(?P<data>[A-Za-z0-9+/=_-]++)"
)


def format_size(length: int) -> str:
    """Format a number of bytes, for example as "7.6 KB"."""
    if length < 1_000:
        return f"{length} B"
    return f"{length / 1_000:.1f} KB" if length < 1_000_000 else f"{length / 1_000_000:.1f} MB"


def collapse_data_urls(text: str) -> str:
    """Replace each base64 data URL with its type and size."""
    return _DATA_URL.sub(
        lambda url: f"[IMAGE:{url['type']}, {format_size(len(url['data']) * 3 // 4)}]", text
    )


@dataclass(frozen=True)
class Text:
    """Stored text, and the part of it that a page shows."""

    whole: str
    limit: int = DISPLAY_LENGTH

    @cached_property
    def _collapsed(self) -> str:
        return collapse_data_urls(self.whole)

    @cached_property
    def body(self) -> str:
        """The text to display, before it is truncated to `limit`."""
        return self._collapsed[:_PROCESSED_LENGTH].replace("\r\n", "\n")

    @cached_property
    def display(self) -> str:
        return request_masking.truncate(self.body, self.limit)

    @property
    def length(self) -> int:
        return len(self.whole)

    @property
    def preview(self) -> str:
        start = request_masking.truncate(self.body, PREVIEW_LENGTH)
        return "\n".join(start.split("\n")[:PREVIEW_LINES])

    @property
    def is_long(self) -> bool:
        """Whether the text is long enough to be folded, so that only a preview shows at first."""
        return len(self.body) > PREVIEW_LENGTH + 300 or self.display.count("\n") > PREVIEW_LINES + 8

    @property
    def is_cut(self) -> bool:
        return len(self.body) > self.limit or len(self._collapsed) > _PROCESSED_LENGTH

    @property
    def extent(self) -> str:
        """How much of the text appears when unfolded, for example "all (7.6 KB, 210 lines)"."""
        if self.is_cut:
            return f"the first {format_size(self.limit)} of {self.size}"
        return f"all ({self.size})"

    @cached_property
    def size(self) -> str:
        """The size of the complete stored text, for example "7.6 KB, 210 lines"."""
        lines = self.whole.rstrip("\n").count("\n") + 1
        size = format_size(len(self.whole.encode(errors="replace")))
        return f"{size}, {lines:,} lines" if lines > 1 else size


class Output(Text):
    """A tool's output, displayed as a terminal would show it."""

    @cached_property
    def body(self) -> str:
        return terminal.replay(self._collapsed[:_PROCESSED_LENGTH]).rstrip("\n")

    @property
    def full(self) -> str:
        """The complete output as a terminal would show it, for export to a file."""
        return terminal.replay(self._collapsed).rstrip("\n")
