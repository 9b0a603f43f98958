"""Line-by-line diffs of edits, with context lines, and between the text of two steps."""

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

MAX_LINES = 150  # maximum on each side of an edit; longer edits are not compared
CONTEXT = 3  # unchanged lines to show around a change
MAX_COMPARED_LENGTH, MAX_COMPARED_LINES = 20_000, 400  # maximum totals for two steps to compare


@dataclass(frozen=True)
class Line:
    sign: str  # "+", "-", " ", or "…" for omitted lines
    text: str

    @property
    def kind(self) -> str:
        return {"+": "added", "-": "removed", " ": "same"}.get(self.sign, "gap")


def diff_lines(old: str, new: str) -> Iterator[Line]:
    """Yield the lines of a diff: removed and added lines, with context."""
    before, after = _split(old), _split(new)
    if max(len(before), len(after)) > MAX_LINES:
        yield from (Line("-", line) for line in before[:MAX_LINES])
        yield from (Line("+", line) for line in after[:MAX_LINES])
        yield Line("…", f"{len(before):,} lines become {len(after):,}")
        return
    yield from _compare(before, after, CONTEXT)


def changed_lines(old: str, new: str) -> list[tuple[str, str]]:
    """Return the removed ("-") and added ("+") lines, or [] if the input is too long."""
    if old == new or len(old) + len(new) > MAX_COMPARED_LENGTH:
        return []
    before, after = old.split("\n"), new.split("\n")
    if len(before) + len(after) > MAX_COMPARED_LINES:
        return []
    lines = _compare(before, after, context=0)
    return [(line.sign, line.text) for line in lines if line.sign in "+-" and line.text.strip()]


def _compare(before: list[str], after: list[str], context: int) -> Iterator[Line]:
    groups = SequenceMatcher(None, before, after, autojunk=False).get_grouped_opcodes(context)
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
