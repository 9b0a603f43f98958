"""What is written on and under the bars of a picture, and from what width on there is room."""

from collections.abc import Sequence

from tasks.transcript.invisible import visible
from tasks.transcript.steps import NO_TOOL, UNREADABLE, Outline

LETTER, PADDING = 6.7, 12  # pixels: of a label's letter, and around a label
ROOMS = (320, 480, 900, 1180)  # widths from which a label may fit; the styles have the same
SCROLLED_ROOMS = (1920, 3840)  # and those of pictures that a phone scrolls
SHORTEST_LABEL = 4  # letters of a label that is cut
NUMBERED = 5  # one in so many steps has its number where there is no room for each


def fitted(label: str, share: float, base: int) -> tuple[str, int | None]:
    """The label, or as much of it as the bar holds in a wide picture, and from what width on."""
    room = room_for(label, share, base)
    letters = int((ROOMS[-1] * share - PADDING) / LETTER) - 1
    if (room is None or room > ROOMS[-1]) and SHORTEST_LABEL <= letters < len(label):
        return f"{label[:letters]}…", ROOMS[-1]
    return label, room


def label_of(steps: Sequence[Outline]) -> str:
    if len(steps) > 1:
        return ""
    if steps[0].outcome in (NO_TOOL, UNREADABLE):
        return "no tool" if steps[0].outcome == NO_TOOL else "unreadable"
    return visible(steps[0].tool) + (" +" if steps[0].has_more else "")  # as long as it is shown


def number_of(steps: Sequence[Outline]) -> str:
    indexes = [step.step_index for step in (steps[0], steps[-1])]
    numbers = [f"{n:,}"[:20] if isinstance(n, int) else str(n)[:20] for n in indexes]
    return numbers[0] if len(steps) == 1 else " to ".join(numbers)


def room_for(text: str, share: float, base: int) -> int | None:
    """The width of a picture from which on a bar of this share holds the text; None if none."""
    needed = len(text) * LETTER + PADDING
    rooms = (room for room in ROOMS + SCROLLED_ROOMS if room >= base)
    return next((room for room in rooms if text and room * share >= needed), None)


def sparsely_numbered(
    numbers: Sequence[tuple[float, str, bool]], marked: Sequence[bool], base: int
) -> list[bool]:
    """Which bars get a number though it is wider than they are: no two of them overlap.

    Of (place in pixels, number, whether it has room) of each bar, and which steps may be told.
    """
    ahead = [x for x, _, has_room in numbers if has_room]
    chosen, free = [], 0.0
    for (x, number, has_room), is_marked in zip(numbers, marked, strict=True):
        end = x + len(number) * LETTER + PADDING
        limit = next((other for other in ahead if other > x), base)
        is_chosen = is_marked and not has_room and free <= x and end <= limit
        free = end if is_chosen or has_room else free
        chosen.append(is_chosen)
    return chosen
