"""Escapes invisible characters and characters that reorder text, for example as `[U+202E]`."""

import re

# These are control characters, bidirectional marks, zero-width spaces, fillers and tags.
# Joiners are listed separately because some scripts and emoji need them.
_CHARACTERS = (
    "\0-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff"
)
_JOINERS = "\u200c\u200d"
INVISIBLE = re.compile(
    f"[{_CHARACTERS}]"
    "|(?<![\u0600-\u08ff\u0900-\u0dff\u2600-\u27bf\ufe0f\U0001f000-\U0001faff])"
    f"[{_JOINERS}]"
)
INVISIBLE_RUN = re.compile(rf"(?P<one>{INVISIBLE.pattern})(?P=one)*+")
_CANDIDATE = re.compile(f"[{_CHARACTERS}{_JOINERS}]")  # faster than INVISIBLE, but less precise
# In HTML, line endings and the attributes that forms and scripts rely on stay unchanged.
_IN_HTML = re.compile(
    r'(?P<exact> (?:value|data-text|data-query|datetime)="[^"]*+"|\r\n)'
    f"|(?:{INVISIBLE_RUN.pattern})"
)


def describe(run: str) -> str:
    """Return the name of a run of identical invisible characters, such as "ESC" or "U+202E"."""
    name = "ESC" if run[0] == "\x1b" else f"U+{ord(run[0]):04X}"
    return f"{name} \u00d7 {len(run)}" if len(run) > 1 else name


def escape_invisible(text: str) -> str:
    """Replace invisible characters with their names in brackets."""
    return INVISIBLE_RUN.sub(_escape, text)


def escape_invisible_in_html(html: str) -> str:
    """Escape invisible characters in HTML. All attribute values must be in double quotes."""
    if not _CANDIDATE.search(html):
        return html
    return _IN_HTML.sub(lambda match: match["exact"] or _escape(match), html)


def _escape(run: re.Match[str]) -> str:
    return f"[{describe(run[0])}]"
