"""Search for patterns that start with literal text, which is much faster than `re` alone.

`re` tries an alternation at almost every character; `str.find` skips to where a literal is.
"""

import re
import string
from collections.abc import Iterator
from functools import cached_property, lru_cache

_ONLY_LETTERS = bytes(
    byte if chr(byte) in string.ascii_lowercase else ord(" ") for byte in range(256)
)


class Lowercase(str):
    """Lowercase text that can tell fast that it lacks a literal."""

    @cached_property
    def vocabulary(self) -> bytes:
        """Each word of the text once, which is much less to search than the text."""
        words = self.encode("ascii", "replace").translate(_ONLY_LETTERS).split()
        return b" ".join(set(words))

    def may_contain(self, literal: str) -> bool:
        """Return False if the text lacks a word, or part of one, of the literal."""
        return all(letters in self.vocabulary for letters in _letters(literal))


@lru_cache(maxsize=1024)
def _letters(literal: str) -> list[bytes]:
    return [letters.encode() for letters in re.findall("[a-z]+", literal.lower())]


def find_matches(
    pattern: re.Pattern[str], text: str, literals: tuple[str, ...]
) -> Iterator[re.Match[str]]:
    """Yield what `pattern.finditer(text)` does, if all matches start with one of the literals."""
    end = 0
    for start in sorted(start for literal in literals for start in starts(text, literal)):
        if start >= end and (match := pattern.match(text, start)):
            yield match
            end = match.end()


def starts(text: str, literal: str) -> Iterator[int]:
    """Yield where a literal occurs in the text."""
    if isinstance(text, Lowercase) and not text.may_contain(literal):
        return
    start = text.find(literal)
    while start >= 0:
        yield start
        start = text.find(literal, start + 1)
