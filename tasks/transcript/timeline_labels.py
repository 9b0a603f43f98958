"""Labels and numbers of the timeline's bars, and the timeline widths at which they fit."""

from collections.abc import Sequence

from tasks.transcript.invisible import escape_invisible
from tasks.transcript.steps import NO_TOOL, UNREADABLE, Outline

LETTER, PADDING = 6.7, 12  # pixels: one letter of a label, and the space around a label
WIDTHS = (320, 480, 900, 1180)  # at which labels may appear; timeline.css repeats them
SCROLLED_WIDTHS = (1920, 3840)  # more of them, where a phone scrolls the timeline
MIN_LABEL = 4  # letters of a truncated label
NUMBER_INTERVAL = 5  # where not every step has room for its number, every fifth shows it


def fit_label(label: str, share: float, base: int) -> tuple[str, int | None]:
    """Return the label, truncated if it fits at no width, and the least width that holds it."""
    width = fitting_width(label, share, base)
    letters = int((WIDTHS[-1] * share - PADDING) / LETTER) - 1
    if (width is None or width > WIDTHS[-1]) and MIN_LABEL <= letters < len(label):
        return f"{label[:letters]}…", WIDTHS[-1]
    return label, width


def label_of(steps: Sequence[Outline]) -> str:
    if len(steps) > 1:
        return ""
    if steps[0].outcome in (NO_TOOL, UNREADABLE):
        return "no tool" if steps[0].outcome == NO_TOOL else "unreadable"
    return escape_invisible(steps[0].tool) + (
        " +" if steps[0].has_more else ""
    )  # escapes count as letters


def number_of(steps: Sequence[Outline]) -> str:
    indexes = [step.step_index for step in (steps[0], steps[-1])]
    numbers = [f"{n:,}"[:20] if isinstance(n, int) else str(n)[:20] for n in indexes]
    return numbers[0] if len(steps) == 1 else " to ".join(numbers)


def fitting_width(text: str, share: float, base: int) -> int | None:
    """Return the least timeline width at which a bar of this share holds the text, or None."""
    needed = len(text) * LETTER + PADDING
    widths = (width for width in WIDTHS + SCROLLED_WIDTHS if width >= base)
    return next((width for width in widths if text and width * share >= needed), None)


def choose_numbers(
    numbers: Sequence[tuple[float, str, bool]], candidates: Sequence[bool], base: int
) -> list[bool]:
    """Return which bars show a number wider than themselves, so that no two numbers overlap.

    `numbers` has the position in pixels, the number, and whether it fits, of each bar; `candidates`
    has whether a bar may show a number that does not fit.
    """
    fitting = [x for x, _, fits in numbers if fits]
    chosen, free = [], 0.0
    for (x, number, fits), is_candidate in zip(numbers, candidates, strict=True):
        end = x + len(number) * LETTER + PADDING
        limit = next((other for other in fitting if other > x), base)
        is_chosen = is_candidate and not fits and free <= x and end <= limit
        free = end if is_chosen or fits else free
        chosen.append(is_chosen)
    return chosen
