"""Escapes text from agents and visitors before it goes to terminals and logs."""

MAX_REASON_LENGTH = 300  # characters


def one_line(text: object) -> str:
    """Return the text with each non-printable character replaced by its Python escape."""
    text = str(text)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def reason(error: Exception) -> str:
    """Return an error's first line, escaped and without its full stop."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return one_line(line.rstrip("."))[:MAX_REASON_LENGTH]
