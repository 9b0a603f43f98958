"""Whole answers without their secrets, whichever view or template made them."""

import codecs
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from html import escape, unescape
from itertools import accumulate

import masking
from masking import MASK

_TAG = re.compile(r'(<[/!]?[A-Za-z](?:[^>"]++|"[^"]*+")*+>)')
_INLINE = re.compile(r"</?(?:a|b|code|del|em|i|ins|kbd|mark|s|small|span|strong|u)[\s>]")
_NO_ELEMENTS = re.compile(r'<(?:option|text|textarea|title)\b|<span class="masked">')
_MARKED = f'<span class="masked">{MASK}</span>'
# Not what a form or a script needs as it is, nor an address of this site, whose ids lead somewhere.
_ATTRIBUTE = re.compile(
    r'(?<=\s)(?!(?:action|class|for|id|name|src|value|data-[\w-]+|hx-[\w-]+)="|href="[/?#])'
    r'([\w-]+=")([^"]+)(?=")'
)

# Characters of a stream that wait for what follows: a secret may go on, and its name stand before.
_HELD, _NAME = 64_000, 700
_PIECE = 500_000  # bytes


def page(html: str) -> str:
    """A page whose texts and attributes are masked; a secret in several elements too."""
    parts = _TAG.split(html)
    between = ["" if _INLINE.match(tag) else "\n" for tag in parts[1::2]]
    texts = list(zip(map(unescape, parts[::2]), [*between, ""], strict=True))
    for place, masked in _masked_each(texts).items():
        parts[2 * place] = escape(masked, quote=False)
    attributes = [
        (place, attribute)
        for place, tag in enumerate(parts[1::2])
        if '="' in tag
        for attribute in _ATTRIBUTE.finditer(tag)
    ]
    values = _masked_each([(unescape(attribute[2]), "\n") for _, attribute in attributes])
    for number in sorted(values, reverse=True):  # of one tag the last first: places before it stay
        place, attribute = attributes[number]
        tag = parts[2 * place + 1]
        start, end = attribute.span(2)
        parts[2 * place + 1] = f"{tag[:start]}{escape(values[number])}{tag[end:]}"
    for place in range(0, len(parts), 2):
        if MASK in parts[place] and not (place and _NO_ELEMENTS.match(parts[place - 1])):
            parts[place] = parts[place].replace(MASK, _MARKED)
    return "".join(parts)


def _masked_each(texts: Sequence[tuple[str, str]]) -> dict[int, str]:
    """Of texts, each with what stands behind it, those that hold secrets, without them.

    By their places in the sequence. A secret may go on from one text into the next.
    """
    spans = masking.found("".join(text + between for text, between in texts))
    if not spans:
        return {}
    starts = list(accumulate((len(text) + len(between) for text, between in texts), initial=0))
    cuts: dict[int, list[tuple[int, int, str]]] = {}
    for span in spans:
        place = bisect_right(starts, span.start) - 1
        while starts[place] < span.end:
            first = max(0, span.start - starts[place])
            last = min(len(texts[place][0]), span.end - starts[place])
            if first < last:
                cuts.setdefault(place, []).append((first, last, span.mask))
            place += 1
    return {place: masking.without(texts[place][0], found) for place, found in cuts.items()}


def text(content: bytes) -> bytes:
    """A text in UTF-8, such as a stored message or JSON; bytes that are none stay."""
    return b"".join(stream([content]))


def stream(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same of one that is sent in pieces, wherever these are cut."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    left, enough = "", 2 * _HELD
    for piece in _bounded(pieces):
        left += decoder.decode(piece)
        if len(left) < enough:
            continue
        ready, left = _divided(left)
        enough = max(2 * _HELD, 2 * len(left))  # or a secret without an end is looked at often
        if ready:
            yield ready.encode("utf-8", "surrogateescape")
    left += decoder.decode(b"", final=True)
    if left:
        yield masking.masked(left).encode("utf-8", "surrogateescape")


def _bounded(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same in smaller pieces, as looking through one takes several times its memory."""
    for piece in pieces:
        yield from (piece[start : start + _PIECE] for start in range(0, len(piece), _PIECE))


def _divided(text: str) -> tuple[str, str]:
    """What of a text can be sent, masked, and what must wait for what follows."""
    spans, cut = masking.found(text), len(text) - _HELD
    for span in reversed(spans):
        if span.start - _NAME < cut < span.end:
            cut = span.start - _NAME
    if cut <= 0:
        return "", text
    ready = (span.cut for span in spans if span.end <= cut)
    return masking.without(text[:cut], ready), text[cut:]
