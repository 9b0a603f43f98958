"""Find the literals that rules need in a text, all in one pass over it."""

import re
from collections.abc import Iterable, Iterator, Set
from functools import cache, cached_property
from itertools import chain

from ahocorasick_rs import AhoCorasick, Implementation

_LITERALS: dict[str, None] = {}
_SURROGATE = re.compile("[\ud800-\udfff]")


def literals(*texts: str) -> tuple[str, ...]:
    """Return lowercase literals, after adding them to those that are searched for together.

    Modules must call this when they are imported.
    """
    _LITERALS.update(dict.fromkeys(texts))
    return texts


@cache
def _automaton() -> tuple[list[str], AhoCorasick]:
    names = list(_LITERALS)
    return names, AhoCorasick(names, implementation=Implementation.DFA)


def lowercase(text: str) -> str:
    """Convert text to lowercase without changing its length."""
    return text.replace("\u0130", "i").lower()  # only U+0130 becomes two characters in lowercase


class Lowercase(str):
    """Lowercase text that knows where the literals of all rules are."""

    @cached_property
    def found(self) -> dict[str, list[int]]:
        """Where each literal starts, in order. Literals that the text lacks are left out."""
        names, automaton = _automaton()
        text = self if self.isascii() else _SURROGATE.sub("\ufffd", self)
        found: dict[str, list[int]] = {}
        for number, start, _ in automaton.find_matches_as_indexes(text, overlapping=True):
            found.setdefault(names[number], []).append(start)
        return found

    def has(self, literals: Set[str]) -> bool:
        """Return whether the text contains any of the literals."""
        return not literals.isdisjoint(self.found)

    def starts(self, *literals: str) -> list[int]:
        """Return where any of the literals start, in order."""
        found = self.found
        lists = [found[literal] for literal in literals if literal in found]
        return lists[0] if len(lists) == 1 else sorted(chain.from_iterable(lists))


def lines_with(text: str, starts: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield the start and end of each line of the text with any of the positions, once."""
    end = -1
    for start in starts:
        if start > end:
            since = text.rfind("\n", max(0, end), start) + 1
            end = text.find("\n", start)
            end = len(text) if end < 0 else end
            yield since, end


def find_matches(
    pattern: re.Pattern[str], text: str, starts: Iterable[int]
) -> Iterator[re.Match[str]]:
    """Yield what `pattern.finditer(text)` does, if all matches start at one of the positions."""
    end = 0
    for start in starts:
        if start >= end and (match := pattern.match(text, start)):
            yield match
            end = match.end()
