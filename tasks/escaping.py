"""Texts of agents and visitors as a terminal or a log may have them."""


def one_line(text: object) -> str:
    """The text on one line, each character that has no look by its number in Python's form."""
    told = str(text)
    if told.isprintable():
        return told
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in told)


def lines(text: str) -> list[str]:
    """The same of each line of a text."""
    return [one_line(line) for line in text.split("\n")]
