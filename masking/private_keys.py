"""The bodies of private keys: whole, cut off, and in lines with marks before each."""

import re
from collections.abc import Iterator

from masking.values import COLOUR, Span

_LONGEST = 16_384  # characters of a key of which only the end is there
_HEAD = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_FOOT = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_DASH = r"-(?!----[^-])"  # none of the five of an end
_EDGE = r"(?:[\s-]|\\++[nrt])"
_BODY = re.compile(
    rf"(?:\s|{_DASH}|\\++[nrt])*+(?P<value>(?:[A-Za-z0-9+/=\s:,.]|{_DASH}|\\++[nrt/])*+)(?=-----END)"
)
_TAIL = re.compile(rf"{_EDGE}+\Z")
# Between the lines of a key: in code, in a diff, in a quotation, after numbers of lines.
_SIGNS = (
    rf"(?:[\s\"',+;(>|#*$→]|{_DASH}|\\++[nrt\"']|{COLOUR}|<br ?/?>"
    r"|\\++u2192|[0-9]{1,6}+(?=[ ]*+(?:[|→:\t]|\\++(?:t|u2192)))|(?<=[0-9]):)"
)
_HEADER = r"(?:Proc-Type|DEK-Info|Version|Comment|Charset|Hash):[^\n\\\"]{0,200}+"
_BETWEEN = re.compile(rf"{_SIGNS}*+")
_NO_NUMBER = r"(?!(?:true|false|null)\b)(?=[0-9eE+]{0,64}[A-DF-Za-df-z/=\\])"  # of JSON
_LETTER = r"(?:[A-Za-z0-9+/=]|\\++/)"
_LINE = re.compile(
    rf"(?:{_SIGNS}|{_HEADER})*+(?P<value>{_NO_NUMBER}(?:{_LETTER}{{16,}}+"
    rf"|[A-Za-z0-9+/=]{{1,16}}+(?={_SIGNS}*+-----END)|=[A-Za-z0-9+/]{{4}}))"
)
# No letter of a run of them, but for what an escape or a colour ends with.
_NEW = r"(?:(?<![A-Za-z0-9+/=\\\[<])|(?<=\\[nrt])|(?<=\\u2192)|(?<=[0-9\[]m)|(?<=\[K))"
_LAST_LINES = re.compile(
    rf"{_NEW}{_NO_NUMBER}(?:{_LETTER}{{30,}}+"
    rf"|[A-Za-z0-9+/=]{{1,29}}+(?={_SIGNS}{{0,40}}+-----END))"
)


def private_keys(text: str) -> Iterator[Span]:
    """The bodies of private keys, whole or without an end or a beginning."""
    since = 0
    for head in _HEAD.finditer(text):
        body = _BODY.match(text, head.end())
        if body:
            yield from _whole(text, *body.span("value"))
            continue
        line = _LINE.match(text, head.end())
        while line:
            yield Span(*line.span("value"))
            line = _LINE.match(text, line.end())
    for foot in _FOOT.finditer(text):
        yield from _last_lines(text, max(since, foot.start() - _LONGEST), foot.start())
        since = foot.end()


def _whole(text: str, start: int, end: int) -> Iterator[Span]:
    """A body without the breaks of lines around it."""
    tail = _TAIL.search(text, max(start, end - 64), end)
    end = tail.start() if tail else end
    while end > start and text[end - 1] == "\\":
        end -= 1
    if end - start > 2:
        yield Span(start, end)


def _last_lines(text: str, since: int, end: int) -> list[Span]:
    """The lines of a key right before its end."""
    spans: list[Span] = []
    for line in _LAST_LINES.finditer(text, since, end + 8):
        between = _BETWEEN.match(text, spans[-1].end) if spans else None
        if between and between.end() < line.start():
            spans.clear()
        if spans or line.end() - line.start() >= 30:
            spans.append(Span(*line.span()))
    last = _BETWEEN.match(text, spans[-1].end) if spans else None
    return spans if last and last.end() >= end else []
