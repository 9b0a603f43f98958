"""Escapes text from agents and visitors before it goes to terminals and logs."""


def one_line(text: object) -> str:
    """Return the text with each non-printable character replaced by its Python escape."""
    text = str(text)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
