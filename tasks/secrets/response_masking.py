"""Mask secrets in finished responses, regardless of the view or template that produced them."""

import codecs
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from html import escape, unescape
from itertools import accumulate

from django.http import HttpResponse

import masking
from masking import MASK

_TAG = re.compile(r'(<[/!]?[A-Za-z](?:[^<>"]++|"[^"]*+")*+>)')
_INLINE = re.compile(r"</?(?:a|b|code|del|em|i|ins|kbd|mark|s|small|span|strong|u)[\s>]")
_BREAK = (
    "\x1b[m"  # a color code: text that continues after it is also searched as if it ended there
)
_NO_ELEMENTS = re.compile(r'<(?:option|text|textarea|title)\b|<span class="masked">')
_MARKED = f'<span class="masked">{MASK}</span>'
# Do not mask attributes that forms and scripts need unchanged, or links within this site.
_ATTRIBUTE = re.compile(
    r'(?<=\s)(?!(?:action|class|for|id|name|src|value|data-[\w-]+|hx-[\w-]+)="|href="[/?#])'
    r'([\w-]+=")([^"]+)(?=")'
)

# How many characters of a stream to hold back in case a secret, or its name, is unfinished.
_HELD, _NAME = 64_000, 700
_CHUNK = 500_000  # bytes


class MaskedPage(HttpResponse):
    """A page that its view has masked already, so that many responses can share it."""


def mask_page(html: str) -> str:
    """Mask secrets in a page's text and attributes, even if a secret spans several elements."""
    parts = _TAG.split(html)  # text at even indexes, tags at odd indexes
    separators = [_BREAK if _INLINE.match(tag) else "\n" for tag in parts[1::2]]
    texts = list(zip(map(unescape, parts[::2]), [*separators, ""], strict=True))
    for index, masked in _mask_each(texts).items():
        parts[2 * index] = escape(masked, quote=False)
    attributes = [
        (index, attribute)
        for index, tag in enumerate(parts[1::2])
        if '="' in tag
        for attribute in _ATTRIBUTE.finditer(tag)
    ]
    values = _mask_each([(unescape(attribute[2]), "\n") for _, attribute in attributes])
    for number in sorted(values, reverse=True):  # in reverse, so that earlier offsets stay valid
        index, attribute = attributes[number]
        tag = parts[2 * index + 1]
        start, end = attribute.span(2)
        parts[2 * index + 1] = f"{tag[:start]}{escape(values[number])}{tag[end:]}"
    for index in range(0, len(parts), 2):
        if MASK in parts[index] and not (index and _NO_ELEMENTS.match(parts[index - 1])):
            parts[index] = parts[index].replace(MASK, _MARKED)
    return "".join(parts)


def _mask_each(texts: Sequence[tuple[str, str]]) -> dict[int, str]:
    """Mask (text, separator) pairs and return the texts that changed, keyed by index.

    All pairs are searched as one string, because a secret may span several of them.
    """
    spans = masking.find_secrets("".join(text + separator for text, separator in texts))
    if not spans:
        return {}
    offsets = [0, *accumulate(len(text) + len(separator) for text, separator in texts)]
    cuts: dict[int, list[tuple[int, int, str]]] = {}
    for span in spans:
        index = bisect_right(offsets, span.start) - 1
        while offsets[index] < span.end:
            start = max(0, span.start - offsets[index])
            end = min(len(texts[index][0]), span.end - offsets[index])
            if start < end:
                cuts.setdefault(index, []).append((start, end, span.mask))
            index += 1
    return {index: masking.replace_ranges(texts[index][0], cuts[index]) for index in cuts}


def mask_text(content: bytes, is_json: bool = False) -> bytes:
    """Mask secrets in UTF-8 text, such as a stored message or JSON, and keep any invalid bytes."""
    return b"".join(mask_stream([content], is_json))


def mask_stream(chunks: Iterable[bytes], is_json: bool = False) -> Iterator[bytes]:
    """Mask secrets in UTF-8 text that arrives in chunks, even if a secret spans several chunks."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    pending, added, threshold = "", 0, 2 * _HELD
    for chunk in _rechunk(chunks):
        pending += decoder.decode(chunk)
        if len(pending) < threshold:
            continue
        spans = masking.find_secrets(pending)
        cut = _cut(pending, spans)
        if cut > 0:
            ready, pending = (
                masking.split_json(pending, cut) if is_json else (pending[:cut], pending[cut:])
            )
            cuts = (span.cut for span in spans if span.end <= len(ready))
            masked = masking.replace_ranges(ready, cuts)[added:]
            added = int(is_json)
            yield masked.encode("utf-8", "surrogateescape")
        threshold = max(2 * _HELD, 2 * len(pending))  # to rescan a long secret less often
    pending += decoder.decode(b"", final=True)
    if len(pending) > added:
        yield masking.mask(pending)[added:].encode("utf-8", "surrogateescape")


def _rechunk(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Split large chunks, because scanning a chunk takes several times its size in memory."""
    for chunk in chunks:
        yield from (chunk[start : start + _CHUNK] for start in range(0, len(chunk), _CHUNK))


def _cut(text: str, spans: Sequence[masking.Span]) -> int:
    """Return up to where text can be sent; the rest must wait, or all if it is not positive."""
    cut = len(text) - _HELD
    for span in reversed(spans):
        if span.start - _NAME < cut < span.end:
            cut = span.start - _NAME
    return cut
