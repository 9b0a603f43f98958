"""Extracts the text that terminal output leaves on the screen, with its colors and styles.

Everything in this module runs in linear time.
"""

import re
from collections.abc import Iterator

Span = tuple[str, str]  # CSS class names, and the text they apply to

# Matches ECMA-48 control strings (such as OSC, used for titles), control sequences and escapes.
# An unterminated control string is cut off at the end of its line, unlike in a terminal.
_CONTROL = re.compile(
    "(?:\x1b[\\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n]*+(?:\x07|\x9c|\x1b\\\\|(?=\x1b|\n|\\Z))"
    "|(?:\x1b\\[|\x9b)(?P<parameters>[0-?]*+)(?P<middle>[ -/]*+)(?P<final>[@-~]?)"
    "|\x1b[ -/]*+[0-~]?"
)
_SGR = re.compile("\x1b\\[([0-9;:]*+)m")

_CUT_CODE = re.compile("\x1b(?:\\[[0-9;:]*+)?\\Z")  # an escape sequence cut off by truncation

_STYLES = {1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "inverse", 9: "strike"}
_ENDED_STYLES = {21: "bold", 23: "italic", 24: "underline", 27: "inverse", 29: "strike"}
_BASIC = (  # the usual RGB values of the 16 basic colors
    (0, 0, 0), (205, 0, 0), (0, 205, 0), (205, 205, 0),
    (0, 0, 238), (205, 0, 205), (0, 205, 205), (229, 229, 229),
    (127, 127, 127), (255, 0, 0), (0, 255, 0), (255, 255, 0),
    (92, 92, 255), (255, 0, 255), (0, 255, 255), (255, 255, 255),
)  # fmt: skip


def replay(output: str) -> str:
    """Return the text left on the screen at the end, with no control codes except colors."""
    text = _CONTROL.sub(_only_colors, output.replace("\r\n", "\n"))
    if "\r" not in text and "\b" not in text:
        return text
    return "\n".join(map(_last_drawn, text.split("\n")))


def _only_colors(sequence: re.Match[str]) -> str:
    if sequence["final"] != "m" or sequence["middle"]:
        return ""
    colors = f"\x1b[{sequence['parameters']}m"
    return colors if _SGR.fullmatch(colors) else ""


def _last_drawn(line: str) -> str:
    """Return the final state of a redrawn line, with the colors in effect at that point."""
    states = line.rstrip("\r").split("\r")
    colors = "".join(code[0] for state in states[:-1] for code in _SGR.finditer(state))
    return colors + _without_backspaces(states[-1])


def _without_backspaces(text: str) -> str:
    if "\b" not in text:
        return text
    characters: list[str] = []
    for character in text:
        if character != "\b":
            characters.append(character)
        elif characters:
            characters.pop()
    return "".join(characters)


def spans(text: str) -> Iterator[Span]:
    """Split text from `replay()` into spans, each in a single style."""
    text = _CUT_CODE.sub("", text)
    pen, position = _Pen(), 0
    for code in _SGR.finditer(text):
        if code.start() > position:
            yield pen.classes, text[position : code.start()]
        pen.apply(code[1])
        position = code.end()
    if position < len(text):
        yield pen.classes, text[position:]


class _Pen:
    """The text style that results from the SGR codes applied so far."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._styles: set[str] = set()
        self._colors: dict[str, int] = {}

    def apply(self, parameters: str) -> None:
        numbers = iter([int(number[:4] or 0) for number in re.split("[;:]", parameters)][:64])
        for number in numbers:
            self._apply(number, numbers)

    def _apply(self, number: int, rest: Iterator[int]) -> None:
        layer = "on" if number >= 100 or 40 <= number < 50 else "ink"
        if number == 0:
            self._reset()
        elif number in _STYLES:
            self._styles.add(_STYLES[number])
        elif number == 22:
            self._styles -= {"bold", "dim"}
        elif number in _ENDED_STYLES:
            self._styles.discard(_ENDED_STYLES[number])
        elif number in (38, 48):
            self._set(layer, _extended_color(rest))
        elif number in (39, 49):
            self._colors.pop(layer, None)
        elif 30 <= number < 50:
            self._set(layer, number % 10)
        elif 90 <= number < 98 or 100 <= number < 108:
            self._set(layer, number % 10 + 8)

    def _set(self, layer: str, color: int | None) -> None:
        if color is not None:
            self._colors[layer] = color

    @property
    def classes(self) -> str:
        ink, on = self._colors.get("ink"), self._colors.get("on")
        styles = self._styles
        if "inverse" in styles:
            ink, on = on, 7 if ink is None else ink
        names = [f"t-{style}" for style in sorted(styles - {"inverse"})]
        # On a colored background, ignore the agent's text color, which might not be legible.
        if on is not None:
            names.append(f"t-on{on}")
        elif ink is not None:
            names.append(f"t-ink{ink}")
        return " ".join(names)


def _extended_color(rest: Iterator[int]) -> int | None:
    """Convert an indexed or RGB color to the nearest basic color, or to None if it is invalid."""
    kind = next(rest, 0)
    if kind == 5:
        return _nearest_to_indexed(min(next(rest, 0), 255))
    if kind == 2:
        return _nearest((next(rest, 0), next(rest, 0), next(rest, 0)))
    return None


def _nearest_to_indexed(number: int) -> int:
    if number < 16:
        return number
    if number >= 232:
        gray = 8 + 10 * (number - 232)
        return _nearest((gray, gray, gray))
    cube = number - 16
    return _nearest(tuple(55 + 40 * n if n else 0 for n in (cube // 36, cube // 6 % 6, cube % 6)))


def _nearest(color: tuple[int, ...]) -> int:
    def distance(number: int) -> int:
        return sum((a - b) ** 2 for a, b in zip(_BASIC[number], color, strict=True))

    return min(range(16), key=distance)
