"""Find the bodies of private keys, even if they are truncated or each line has a prefix."""

import re
from collections.abc import Iterator

from masking.values import Span

_LONGEST = 16_384  # maximum number of characters to search before a key's footer
_HEAD = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_FOOT = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_DASH = r"-(?!----[^-])"  # any dash except the first of the five that start a footer
_EDGE = r"(?:[\s-]|\\++[nrt])"
_BODY = re.compile(
    rf"(?:\s|{_DASH}|\\++[nrt])*+(?P<value>(?:[A-Za-z0-9+/=\s:,.]|{_DASH}|\\++[nrt/])*+)(?=-----END)"
)
_TAIL = re.compile(rf"{_EDGE}+\Z")
# What may separate a key's lines: code punctuation, diff markers, quotes and line numbers.
_MARKERS = (
    rf"(?:[\s\"',+;(>|#*$→]|{_DASH}|\\++[nrt\"']|<br ?/?>"
    r"|\\++u2192|[0-9]{1,6}+(?=[ ]*+(?:[|→:\t]|\\++(?:t|u2192)))|(?<=[0-9]):)"
)
_HEADER = r"(?:Proc-Type|DEK-Info|Version|Comment|Charset|Hash):[^\n\\\"]{0,200}+"
_BETWEEN = re.compile(rf"{_MARKERS}*+")
_NO_NUMBER = r"(?!(?:true|false|null)\b)(?=[0-9eE+]{0,64}[A-DF-Za-df-z/=\\])"  # not a JSON number
_LETTER = r"(?:[A-Za-z0-9+/=]|\\++/)"
_LINE = re.compile(
    rf"(?:{_MARKERS}|{_HEADER})*+(?P<value>{_NO_NUMBER}(?:{_LETTER}{{16,}}+"
    rf"|[A-Za-z0-9+/=]{{1,16}}+(?={_MARKERS}*+-----END)|=[A-Za-z0-9+/]{{4}}))"
)
# A key's line may not start inside a run of letters, except after an escape sequence.
_NEW = r"(?:(?<![A-Za-z0-9+/=\\\[<])|(?<=\\[nrt])|(?<=\\u2192))"
_LAST_LINES = re.compile(
    rf"{_NEW}{_NO_NUMBER}(?:{_LETTER}{{30,}}+"
    rf"|[A-Za-z0-9+/=]{{1,29}}+(?={_MARKERS}{{0,40}}+-----END))"
)


def find_private_keys(text: str) -> Iterator[Span]:
    """Yield the bodies of private keys, even if their header or footer is missing."""
    since = 0
    for head in _HEAD.finditer(text):
        body = _BODY.match(text, head.end())
        if body:
            yield from _trimmed_body(text, *body.span("value"))
            continue
        line = _LINE.match(text, head.end())
        while line:
            yield Span(*line.span("value"))
            line = _LINE.match(text, line.end())
    for foot in _FOOT.finditer(text):
        yield from _last_lines(text, max(since, foot.start() - _LONGEST), foot.start())
        since = foot.end()


def _trimmed_body(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield the span of a key's body, without the line breaks around it."""
    tail = _TAIL.search(text, max(start, end - 64), end)
    end = tail.start() if tail else end
    while end > start and text[end - 1] == "\\":
        end -= 1
    if end - start > 2:
        yield Span(start, end)


def _last_lines(text: str, since: int, end: int) -> list[Span]:
    """Return the lines of a key that come right before its footer."""
    spans: list[Span] = []
    for line in _LAST_LINES.finditer(text, since, end + 8):
        between = _BETWEEN.match(text, spans[-1].end) if spans else None
        if between and between.end() < line.start():
            spans.clear()
        if spans or line.end() - line.start() >= 30:
            spans.append(Span(*line.span()))
    last = _BETWEEN.match(text, spans[-1].end) if spans else None
    return spans if last and last.end() >= end else []
