"""Secrets in a text, found and masked: keys, tokens, passwords, in whatever an agent stores.

Text in, text out; nothing here knows of pages or of rows. Every rule takes time linear in its
text. In JSON, also in JSON within JSON, what is masked leaves the JSON valid.
"""

from tasks.masking.commands import by_command, by_pair
from tasks.masking.names import by_name
from tasks.masking.places import by_place
from tasks.masking.rules import FINDERS
from tasks.masking.values import MASK, Span, is_secret_name

__all__ = ["MARGIN", "MASK", "Span", "found", "is_secret_name", "masked", "masked_start"]

MARGIN = 512  # characters beyond a cut that show whether it goes through a secret


def found(text: str) -> list[Span]:
    """Where the secrets of a text are, in order, none over another."""
    lower = _lowered(text)
    spans = [*by_name(text, lower), *by_pair(text, lower), *by_command(text, lower)]
    spans.extend(by_place(text, lower))
    for sign, finder in FINDERS:
        if sign in lower:
            spans.extend(finder(text))
    return _merged(spans)


def masked(text: str) -> str:
    """The text with a mask for each secret; the very text where there is none."""
    spans = found(text)
    if not spans:
        return text
    return "".join(_pieces(text, spans, len(text)))


def masked_start(text: str, length: int) -> str:
    """The first characters of a text, masked; a secret that the cut goes through is masked whole.

    It is enough to give the text up to `length + MARGIN`.
    """
    return "".join(_pieces(text, found(text[: length + MARGIN]), length))


def _pieces(text: str, spans: list[Span], length: int) -> list[str]:
    pieces, position = [], 0
    for span in spans:
        if span.start >= length:
            break
        pieces += [text[position : span.start], span.mask]
        position = span.end
    pieces.append(text[position:length])
    return pieces


def _lowered(text: str) -> str:
    """The text in small letters, each where it was."""
    return text.replace("\u0130", "i").lower()  # the one letter that becomes two


def _merged(spans: list[Span]) -> list[Span]:
    spans.sort()
    merged: list[Span] = []
    for span in spans:
        if merged and span.start < merged[-1].end:
            last = merged[-1]
            merged[-1] = last._replace(end=max(last.end, span.end))
        elif span.end > span.start:
            merged.append(span)
    return merged
