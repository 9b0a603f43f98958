"""The results of a store check."""

from typing import Any, NamedTuple


class Finding(NamedTuple):
    """One result of a store check: a problem, or just a note if `wrong` is False."""

    kind: str
    text: str
    table: str = ""
    key: str = ""
    column: str = ""
    wrong: bool = True


def note(kind: str, text: str) -> Finding:
    return Finding(kind, text, wrong=False)


def quote(value: Any) -> str:
    """Return a stored value as a short, escaped literal on one line."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    literal = ascii(value)
    return literal if len(literal) <= 100 else f"{literal[:99]}…"


def escape(text: str | bytes) -> str:
    """Escape and shorten untrusted text, such as an error message, without adding quotes."""
    return quote(text).strip("'\"")
