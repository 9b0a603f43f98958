"""Fit secrets to the values of JSON, even of JSON inside JSON strings, so that it stays valid."""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from masking.values import Span

_DEEPEST = 6  # levels of JSON inside JSON strings; any deeper ones are treated as text
_NUMBER = r"-?[0-9][0-9.eE+-]*+(?![\w.])"
_WORD = r"(?:true|false|null)(?!\w)"
_STRINGS = re.compile(r"(?:[^\"]++|\"(?:[^\"\\]++|\\.)*+(?P<end>\"|\Z))*+", re.DOTALL)
_HEX = frozenset("0123456789abcdefABCDEF")


class _Grammar(NamedTuple):
    """The syntax of JSON inside some number of JSON strings, and thus escaped as many times."""

    quote: str
    marks: re.Pattern[str]  # any blanks and punctuation
    tokens: re.Pattern[str]  # any complete tokens
    text: re.Pattern[str]  # the content of a string, up to a quote that ends this or an outer one
    number: re.Pattern[str]
    word: re.Pattern[str]
    opening: re.Pattern[str]  # the start of a string's content that may itself be JSON


@lru_cache
def _grammar(depth: int) -> _Grammar:
    twice = 2 << depth  # backslashes that stand for one in a string of this depth
    quote = rf"\\{{{twice // 2 - 1}}}\""
    blank = rf"(?:\s|\\{{{twice // 4}}}[nrt])" if depth else r"\s"
    inner_quote = rf"\\{{{twice - 1}}}\""
    text = rf"(?:[^\"\\]++|(?:\\{{{twice}}})++|\\{{1,{twice - 1}}}+(?![\"\\])|{inner_quote})*+"
    return _Grammar(
        "\\" * (twice // 2 - 1) + '"',
        re.compile(rf"(?:[,:\[\]{{}}]|{blank})*+"),
        re.compile(rf"(?:[,:\[\]{{}}]++|{blank}++|{_NUMBER}|{_WORD}|{quote}{text}{quote})*+"),
        re.compile(text),
        re.compile(_NUMBER),
        re.compile(_WORD),
        re.compile(rf"(?:\s|\\{{{twice // 2}}}[nrt])*+(?:[\[{{]|{inner_quote})"),
    )


class _Region:
    """A text that may be JSON: the whole text, or the content of a string in another region."""

    def __init__(self, start: int, end: int, depth: int, is_json: bool) -> None:
        self.start, self.end, self.depth, self.is_json = start, end, depth, is_json
        self.position = start  # where the next token starts


def fit_to_json(text: str, spans: Iterable[Span]) -> Iterator[Span]:
    """Yield the parts of the spans that are values, if the text consists of JSON tokens.

    Only the value in which a span starts is masked: a part of a string, or a number as a whole.
    From the first token that is not JSON, spans are yielded as they are. `spans` must be sorted.
    """
    regions = _Regions(text)
    for span in spans:
        fitted = regions.fitted(span)
        if fitted and fitted.start < fitted.end:
            yield fitted


def split_json(text: str, position: int) -> tuple[str, str]:
    """Split JSON at or right before a position, such that both parts start like JSON.

    The second part has a bracket or a quote in front that is not in the text.
    """
    last = text.rfind("\\", max(0, position - 6), position)
    if last >= 0 and (last - len(text[:last].rstrip("\\"))) % 2 == 0:
        length = 6 if text.startswith("u", last + 1) else 2
        position = last if last + length > position else position
    strings = _STRINGS.match(text, 0, position)
    in_string = strings and strings["end"] == ""
    return text[:position], ('"' if in_string else "[") + text[position:]


def _matched(pattern: re.Pattern[str], text: str, start: int, end: int) -> int:
    """Return where a pattern that may match nothing stops."""
    match = pattern.match(text, start, end)
    return match.end() if match else start


class _Regions:
    """The regions of a text around a position that only moves forward, from the outermost one."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.open = [_Region(0, len(text), 0, is_json=True)]
        self.last_run = 0, 0  # the start and end of a run of backslashes

    def fitted(self, span: Span) -> Span | None:
        """Return the part of the span that is a value, or None if no value starts it."""
        self._leave_strings_before(span.start)
        while (region := self.open[-1]).is_json:
            grammar = _grammar(region.depth)
            end = min(span.start, region.end)
            position = _matched(grammar.tokens, self.text, region.position, end)
            position = _matched(grammar.marks, self.text, position, region.end)
            region.position = position
            if position >= span.end:
                return None  # only punctuation
            if self.text.startswith(grammar.quote, position):
                self._enter_string(grammar, position + len(grammar.quote), span)
            elif number := grammar.number.match(self.text, position, region.end):
                return Span(position, number.end(), grammar.quote)
            elif grammar.word.match(self.text, position, region.end):
                return None
            else:
                region.is_json = False
        if not region.depth:
            return span
        start = self._unit_start(max(span.start, region.start), region)
        fitted = Span(start, self._unit_start(min(span.end, region.end), region))
        return span if fitted[:2] == span[:2] else fitted

    def _leave_strings_before(self, position: int) -> None:
        while len(self.open) > 1 and self.open[-1].end <= position:
            end = self.open.pop().end
            self.open[-1].position = end + len(_grammar(self.open[-1].depth).quote)

    def _enter_string(self, grammar: _Grammar, start: int, span: Span) -> None:
        outer = self.open[-1]
        end = _matched(grammar.text, self.text, start, outer.end)
        is_whole = span.start <= start and end <= span.end
        may_be_json = outer.depth < _DEEPEST and grammar.opening.match(self.text, start, end)
        self.open.append(_Region(start, end, outer.depth + 1, bool(may_be_json) and not is_whole))

    def _unit_start(self, position: int, string: _Region) -> int:
        """Return where the escape starts that the position is inside of, or the position itself."""
        text, escaped = self.text, position
        letter = text.rfind("u", max(string.start, position - 4), position)
        if letter > string.start and _HEX.issuperset(text[letter + 1 : position]):
            escaped = letter
        since, end = self.last_run
        if not since < escaped <= end:
            since = escaped
            while since > string.start and text[since - 1] == "\\":
                since -= 1
            self.last_run = since, escaped
        rest = (escaped - since) % (1 << string.depth)
        return escaped - rest if rest else position
