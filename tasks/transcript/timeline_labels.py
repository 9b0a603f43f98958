"""Labels and numbers for the timeline's bars, and the timeline widths at which they fit."""

from collections.abc import Sequence

from tasks.transcript.invisible import escape_invisible
from tasks.transcript.steps import NO_TOOL, UNREADABLE, Outline

LETTER, PADDING = 6.7, 12  # the width of a letter and the space around a label, in pixels
WIDTHS = (320, 480, 900, 1180)  # breakpoints in pixels for showing labels, as in timeline.css
SCROLLED_WIDTHS = (1920, 3840)  # extra label breakpoints for timelines that scroll on a phone
MIN_LABEL = 4  # the fewest letters that a truncated label may keep
NUMBER_INTERVAL = 5  # when space is short, every fifth step shows its number


def fit_label(label: str, share: float, base: int) -> tuple[str, int | None]:
    """Return the label, shortened if needed, and the smallest timeline width at which it fits."""
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
    )  # escaped characters count towards the label's length


def number_of(steps: Sequence[Outline]) -> str:
    indexes = [step.step_index for step in (steps[0], steps[-1])]
    numbers = [f"{n:,}"[:20] if isinstance(n, int) else str(n)[:20] for n in indexes]
    return numbers[0] if len(steps) == 1 else " to ".join(numbers)


def fitting_width(text: str, share: float, base: int) -> int | None:
    """Return the smallest timeline width at which text fits into `share` of the width, or None."""
    needed = len(text) * LETTER + PADDING
    widths = (width for width in WIDTHS + SCROLLED_WIDTHS if width >= base)
    return next((width for width in widths if text and width * share >= needed), None)


def choose_numbers(
    numbers: Sequence[tuple[float, str, bool]], candidates: Sequence[bool], base: int
) -> list[bool]:
    """Choose which bars show a number wider than the bar itself, so that no numbers overlap.

    For each bar, `numbers` gives its position in pixels, its number, and whether the number fits.
    `candidates` tells whether each bar may show a number that does not fit.
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
