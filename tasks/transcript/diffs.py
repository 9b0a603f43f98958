"""What an edit changes, line by line."""

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

MOST_LINES = 150  # of each side; more are shown as removed and added, not compared
CONTEXT = 3  # equal lines around a change


@dataclass(frozen=True)
class Line:
    sign: str  # "+", "-", " ", or "…" for lines left out
    text: str

    @property
    def kind(self) -> str:
        return {"+": "added", "-": "removed", " ": "same"}.get(self.sign, "gap")


def lines(old: str, new: str) -> Iterator[Line]:
    """The lines removed and added, with the equal ones around them."""
    before, after = _split(old), _split(new)
    if max(len(before), len(after)) > MOST_LINES:
        yield from (Line("-", line) for line in before[:MOST_LINES])
        yield from (Line("+", line) for line in after[:MOST_LINES])
        yield Line("…", f"{len(before):,} lines become {len(after):,}")
        return
    groups = SequenceMatcher(None, before, after, autojunk=False).get_grouped_opcodes(CONTEXT)
    for number, group in enumerate(groups):
        if number or group[0][1] > 0:
            yield Line("…", "")
        for kind, start, end, new_start, new_end in group:
            if kind == "equal":
                yield from (Line(" ", line) for line in before[start:end])
            else:
                yield from (Line("-", line) for line in before[start:end])
                yield from (Line("+", line) for line in after[new_start:new_end])


def _split(text: str) -> list[str]:
    return text.removesuffix("\n").split("\n") if text else []
