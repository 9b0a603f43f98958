"""Find where quoted values begin and end, at any level of backslash escaping."""

import re

from masking.values import SPACE

OPENING_QUOTE = re.compile(
    r"(?:[bruf]{1,2})?(?P<slashes>\\{0,15})(?P<quote>[\"'`])(?!(?P=quote)(?P=quote))", re.ASCII
)
ENDS_JSON = re.compile(rf"{SPACE}(?:[,\]}}:]|\Z)")
# A quote with the backslashes before it, or the end of a line. The search starts only at the first
# backslash of a run, since starting at each one would take quadratic time.
_QUOTES = {quote: re.compile(rf'"|{quote}|\n|\\(?<!\\\\)\\*+["{quote}]') for quote in "\"'`"}


def is_json(text: str) -> bool:
    """Return whether the text appears to be JSON, judging by its first character."""
    return text[:200].lstrip()[:1] in ("{", "[", '"')


def end_of_quoted(text: str, opening: re.Match[str], in_json: bool) -> int | None:
    """Return where a quoted value ends, or None if its line ends first.

    Which later quote closes the value depends on how deeply the opening quote is escaped.
    """
    quote, slashes = opening["quote"], len(opening["slashes"])
    for match in _QUOTES[quote].finditer(text, opening.end()):
        if match[0] == "\n":
            return None
        count, closing = len(match[0]) - 1, match[0][-1]
        ends = match.end() - (1 << _level(count))
        if closing == '"' == quote:
            if _level(count) <= _level(slashes):
                return ends
        elif closing == quote:
            if count <= slashes or count % 2 == 0:
                return match.end() - 1 - min(count, slashes)
        elif (in_json or count) and ENDS_JSON.match(text, match.end()):
            return ends
    return len(text)


def is_same_quote(opening: re.Match[str], closed: str) -> bool:
    """Return whether a value's quote matches its name's quote and is escaped at least as deeply."""
    is_deep = _level(len(opening["slashes"])) >= _level(len(closed) - 1) if closed else False
    return is_deep and opening["quote"] == closed[-1]


def _level(slashes: int) -> int:
    """Return how many times a quote was escaped: 0, 1, 3 and 7 backslashes mean 0, 1, 2 and 3."""
    return (~slashes & (slashes + 1)).bit_length() - 1
