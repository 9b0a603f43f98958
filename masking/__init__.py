"""Secrets in a text, found and masked: keys, tokens, passwords, in whatever an agent stores.

Text in, text out; nothing here knows of pages or of rows. Every rule takes time linear in its
text. In JSON, also in JSON within JSON, what is masked leaves the JSON valid.
"""

from collections.abc import Iterable

from masking.command_lines import by_command, by_pair, by_statement
from masking.key_value_rows import by_row, by_setting
from masking.known_contexts import by_place
from masking.named_values import by_name
from masking.nested_objects import by_object
from masking.token_formats import FINDERS
from masking.values import MASK, Span, is_secret_name

__all__ = [
    "MARGIN",
    "MASK",
    "Span",
    "found",
    "is_secret_name",
    "lowered",
    "masked",
    "masked_start",
    "without",
]

MARGIN = 512  # characters beyond a cut that show whether it goes through a secret


def found(text: str) -> list[Span]:
    """Where the secrets of a text are, in order, none over another."""
    lower = lowered(text)
    spans: list[Span] = []
    for by_what in (
        by_name,
        by_pair,
        by_statement,
        by_command,
        by_place,
        by_row,
        by_setting,
        by_object,
    ):
        spans.extend(by_what(text, lower))
    for sign, finder in FINDERS:
        if sign in lower:
            spans.extend(finder(text))
    return _merged(spans)


def masked(text: str) -> str:
    """The text with a mask for each secret; the very text where there is none."""
    spans = found(text)
    if not spans:
        return text
    return without(text, (span.cut for span in spans))


def masked_start(text: str, length: int) -> str:
    """The first characters of a text, masked; a secret that the cut goes through is masked whole.

    It is enough to give the text up to `length + MARGIN`.
    """
    spans = found(text[: length + MARGIN])
    return without(text[:length], (span.cut for span in spans if span.start < length))


def without(text: str, cuts: Iterable[tuple[int, int, str]]) -> str:
    """A text without its secrets: of each, in order, the start, the end and the mask for it."""
    pieces, position = [], 0
    for start, end, mask in cuts:
        pieces += [text[position:start], mask]
        position = end
    return "".join([*pieces, text[position:]])


def lowered(text: str) -> str:
    """The text in small letters, each where it was."""
    return text.replace("\u0130", "i").lower()  # the one letter that becomes two


def _merged(spans: list[Span]) -> list[Span]:
    """The same in order; those that overlap are one."""
    spans.sort()
    merged: list[Span] = []
    for span in spans:
        if merged and span.start < merged[-1].end:
            last = merged[-1]
            merged[-1] = last._replace(end=max(last.end, span.end))
        elif span.end > span.start:
            merged.append(span)
    return merged
