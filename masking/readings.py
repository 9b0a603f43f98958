"""Read text without its color codes, HTML entities and percent-encoding, which can hide secrets."""

import re
from bisect import bisect_right
from collections.abc import Iterator
from html import unescape
from itertools import pairwise
from typing import NamedTuple

from masking.literals import Lowercase, find_matches, literals
from masking.values import Span

_COLOR = re.compile(r"\x1b\[[0-9;]{0,12}[mKk]")
_ESCAPED_COLOR = re.compile(r"\\{1,15}(?:[uU]001[bB]|x1[bB]|033|e)\[[0-9;]{0,12}[mKk]")
_ENTITY = re.compile(
    r"&(?:amp;){0,3}(?:quot|apos|amp|lt|gt|nbsp|#[0-9]{1,5}|#[xX][0-9A-Fa-f]{1,4});"
)
# Not after a space or quote and not before a space, as in the format "%3d items".
_PERCENT = re.compile(
    r"%(?<![\s\"'`]%)(?:25){0,3}"
    r"(?:0[AaDd]|2[0-9A-Fa-f]|3[A-Fa-f]|40|5[BbDd]|7[BbDd])(?=\S|\Z)"
)
_COLOR_MARKERS = literals("\x1b[")
_ESCAPED_COLOR_MARKERS = frozenset(literals("1b[", "033[", "\\e["))
_ENTITY_MARKERS = literals("&quot;", "&apos;", "&amp;", "&lt;", "&gt;", "&nbsp;", "&#")
_PERCENT_MARKERS = literals(
    *(f"%{digits}" for digits in ("0a", "0d", "40", "5b", "5d", "7b", "7d")),
    *(f"%2{digit:x}" for digit in range(16)),
    *(f"%3{digit:x}" for digit in range(10, 16)),
)
_PIECE = re.compile(r"(?<=[A-Za-z0-9])[A-Za-z0-9]")


class Reading(NamedTuple):
    """Text with its codes replaced by what they stand for, and where its parts were."""

    text: str
    starts: list[int]  # where each part starts in this text
    positions: list[int]  # where the part starts in the original text
    ends: list[int]  # where the part ends in the original text
    breaks: list[int]  # where color codes were, which may separate words

    def original(self, span: Span, text: str) -> Span:
        """Return the span of the original text that corresponds to a span of this text."""
        start, end = self._position(span.start), self._position(span.end - 1) + 1
        part = bisect_right(self.starts, span.end - 1)
        if part < len(self.starts) and self.starts[part] == span.end:
            end = self.ends[part - 1]
        before = text[max(0, start - 80) : start].rstrip().removesuffix(":").rstrip()
        return Span(start, end, span.quote if before.endswith(span.quote) else "")

    def _position(self, offset: int) -> int:
        part = bisect_right(self.starts, offset) - 1
        return self.positions[part] + offset - self.starts[part]

    def pieces(self) -> Iterator[tuple[int, str]]:
        """Yield the offset and text of each piece that only a color code separates from a word."""
        edges = [0, *self.breaks, len(self.text)]
        glued = [bool(_PIECE.match(self.text, edge)) for edge in edges]
        for index, (start, end) in enumerate(pairwise(edges)):
            if glued[index] or glued[index + 1]:
                yield start, self.text[start:end]


def read_codes(text: str, lower: Lowercase) -> Reading | None:
    """Return the text without codes, or None if it has none."""
    codes = [
        *find_matches(_COLOR, text, lower.starts(*_COLOR_MARKERS)),
        *(_ESCAPED_COLOR.finditer(text) if lower.has(_ESCAPED_COLOR_MARKERS) else ()),
        *find_matches(_ENTITY, text, lower.starts(*_ENTITY_MARKERS)),
        *find_matches(_PERCENT, text, lower.starts(*_PERCENT_MARKERS)),
    ]
    if not codes:
        return None
    parts: list[str] = []
    starts, positions, ends, breaks = [0], [0], [], []
    length, since = 0, 0
    for code in sorted(codes, key=re.Match.start):
        if code.start() < since:
            continue
        decoded = _decoded(code[0])
        parts += [text[since : code.start()], decoded]
        length += code.start() - since
        since = code.end()
        ends.append(code.start())
        if decoded:
            ends.append(since)
            starts.append(length)
            positions.append(code.start())
            length += len(decoded)
        else:
            breaks.append(length)
        starts.append(length)
        positions.append(since)
    ends.append(len(text))
    return Reading("".join([*parts, text[since:]]), starts, positions, ends, breaks)


def _decoded(code: str) -> str:
    """Return what a code stands for: nothing for a color code, otherwise a character."""
    if code[0] == "%":
        return chr(int(code[-2:], 16))
    if code[0] != "&":
        return ""
    return unescape("&" + code[1:].removeprefix("amp;").rpartition("amp;")[2])
