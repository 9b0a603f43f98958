"""What one cannot see in a text, and what shows it in another order, made visible."""

import re

# Controls, bidirectional marks, blanks of no width, fillers, tags. Joiners belong between the
# letters of some scripts, and between emoji.
_CHARACTERS = (
    "\0-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff"
)
_JOINERS = "\u200c\u200d"
UNSEEN = re.compile(
    f"[{_CHARACTERS}]"
    "|(?<![\u0600-\u08ff\u0900-\u0dff\u2600-\u27bf\ufe0f\U0001f000-\U0001faff])"
    f"[{_JOINERS}]"
)
UNSEEN_RUN = re.compile(rf"(?P<one>{UNSEEN.pattern})(?P=one)*+")
_ANY = re.compile(f"[{_CHARACTERS}{_JOINERS}]")  # looked for in a fifth of the time
# In a page: not where a form or a script needs the very text, nor the ends of lines.
_IN_PAGE = re.compile(
    rf'(?P<exact> (?:value|data-text|data-query|datetime)="[^"]*+"|\r\n)|(?:{UNSEEN_RUN.pattern})'
)


def unseen_name(character: str) -> str:
    """A short name for a character without a look: "ESC", "U+202E"."""
    if character == "\x1b":
        return "ESC"
    return f"U+{ord(character):04X}"


def times(run: str) -> str:
    return f" \u00d7 {len(run)}" if len(run) > 1 else ""


def visible(text: str) -> str:
    """A text with names in place of what cannot be seen."""
    return UNSEEN_RUN.sub(lambda run: _named(run[0]), text)


def visible_page(html: str) -> str:
    """The same of a page, whose templates write each attribute with double quotes."""
    if not _ANY.search(html):
        return html
    return _IN_PAGE.sub(lambda found: found["exact"] or _named(found[0]), html)


def _named(run: str) -> str:
    return f"[{unseen_name(run[0])}{times(run)}]"
