"""What a check of the store finds, and how a stored value is shown in it."""

from typing import Any, NamedTuple


class Finding(NamedTuple):
    """One thing found; a note says what is worth knowing, and is nothing wrong."""

    kind: str
    text: str
    table: str = ""
    key: str = ""
    column: str = ""
    wrong: bool = True


def quoted(value: Any) -> str:
    """A stored value on one line of ASCII, shortened."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    return shortened(ascii(value))


def shown(message: str | bytes) -> str:
    """What somebody else says, likewise, and without the quotes."""
    return quoted(message).strip("'\"")


def shortened(line: str) -> str:
    return line if len(line) <= 100 else f"{line[:99]}…"


def note(kind: str, told: str) -> Finding:
    return Finding(kind, told, wrong=False)
