"""Where a value in quotes begins and ends, also where its quotes are escaped, once or often."""

import re

from masking.values import SPACE

OPENED = re.compile(
    r"(?:[bruf]{1,2})?(?P<slashes>\\{0,15})(?P<quote>[\"'`])(?!(?P=quote)(?P=quote))", re.ASCII
)
ENDS_JSON = re.compile(rf"{SPACE}(?:[,\]}}:]|\Z)")
_QUOTES = {quote: re.compile(rf"(?P<slashes>\\*+)(?P<quote>[\"{quote}])|\n") for quote in "\"'`"}


def is_in_json(text: str) -> bool:
    """Whether a text begins as JSON does."""
    return text[:200].lstrip()[:1] in ("{", "[", '"')


def quoted_end(text: str, opened: re.Match[str], in_json: bool) -> int | None:
    """Where a quoted value ends; None where its line does first. Escapes count by level."""
    quote, slashes = opened["quote"], len(opened["slashes"])
    for found in _QUOTES[quote].finditer(text, opened.end()):
        if found[0] == "\n":
            return None
        count = len(found["slashes"])
        ends = found.end() - (1 << _level(count))
        if found["quote"] == '"' == quote:
            if _level(count) <= _level(slashes):
                return ends
        elif found["quote"] == quote:
            if count <= slashes or count % 2 == 0:
                return found.end() - 1 - min(count, slashes)
        elif (in_json or count) and ENDS_JSON.match(text, found.end()):
            return ends
    return len(text)


def is_like(opened: re.Match[str], closed: str) -> bool:
    """Whether a quote is of the kind and the level of the one that ends the name."""
    is_deep = _level(len(opened["slashes"])) >= _level(len(closed) - 1) if closed else False
    return is_deep and opened["quote"] == closed[-1]


def _level(slashes: int) -> int:
    """How many times a quote after so many backslashes has been escaped: 0, 1, 3, 7 are 0 to 3."""
    return (~slashes & (slashes + 1)).bit_length() - 1
