"""The shape of an error: what it has in common with others that differ in their details.

An error's line is the first one that names an error and does not begin like code or a heading, or
else the first. Its shape is the line with quoted texts, addresses, paths, times, ids and
numbers replaced by the names of their kinds.
"""

import re
from hashlib import blake2b
from typing import Any

import msgspec

from tasks.transcript.terminal import replay, spans

MAX_LINE = 300  # characters
MAX_OUTPUT = 20_000  # characters in which the line is looked for

_WORDS = re.compile(
    r"error|exception|fail|fatal|panic|abort|invalid|missing|unexpected|unable|cannot|can.t|could"
    r" not|couldn.t|not found|no such|denied|refused|forbidden|timed out|timeout|too many",
    re.IGNORECASE,
)
_CODE = re.compile(r"\s|\d+\s*[:|]|[=_*#-]{3}")
_KEYS = ("error", "message", "detail", "reason", "stderr")  # of a JSON object that is an error
_PARTS = re.compile(
    r"""(?P<url>(?<![\w.+-])[a-zA-Z][a-zA-Z0-9+.-]*+://[^\s"'<>]++)
    | (?P<text>"[^"]*+"|“[^“”]*+”|`[^`']*+[`']|(?<!\w)'[^']*+'(?!\w))
    | (?P<time>\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d++)?)?(?:Z|[+-]\d\d:?\d\d)?)?
        | \d\d?:\d\d:\d\d(?:[.,]\d++)?)
    | (?P<path>(?<!\w)(?:[A-Za-z]:|~|\.{1,2})?[/\\][\w.@+~%*-]++(?:[/\\][\w.@+~%*-]*+)*+
        | (?<![\w.@+-])[\w.@+-]++/(?:[\w.@+-]++(?:/[\w.@+-]++)++ | [\w@+-]*+\.\w++))
    | (?P<word>(?:0x|[^\W\d])[\w-]*+ | \d\w*[^\W\d][\w-]*+)
    | (?P<number>\d++(?:[.,:]\d++)*+)""",
    re.VERBOSE,
)
_HEX = re.compile(r"0x[0-9a-fA-F]+|(?=\D*\d)[0-9a-fA-F]{7,}")
_END_NUMBER = re.compile(r"(?<=[_-])\d+(?![^\W_])")
_NAMES = re.compile(r"<(?:url|text|time|path|id|number)>")


def error_line(masked: str) -> str:
    """Return the line of a masked text that says what the error is, or "" if there is none."""
    text = "".join(part for _, part in spans(replay(_message(masked[:MAX_OUTPUT]))))
    lines = [line for line in text.splitlines() if line.strip()]
    named = (line for line in lines if not _CODE.match(line) and _WORDS.search(line[:MAX_LINE]))
    line = next(named, lines[0] if lines else "")
    return " ".join(line.split())[:MAX_LINE].encode(errors="replace").decode()


def _message(text: str) -> str:
    """Return the message in a JSON object, or the text if it is none."""
    if not text.startswith("{"):
        return text
    try:
        value: Any = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return text
    while isinstance(value, dict):
        value = next((value[key] for key in _KEYS if value.get(key)), None)
    return value if isinstance(value, str) else text


def shape_of(line: str) -> str:
    """Return the line's shape. A line of which no word would be left is its own shape."""
    shape = _PARTS.sub(_name, line)
    return shape if re.search(r"[^\W\d]", _NAMES.sub("", shape)) else line


def _name(part: re.Match[str]) -> str:
    if part.lastgroup != "word":
        return f"<{part.lastgroup}>"
    word = part[0]
    is_id = _HEX.fullmatch(word) or (len(word) >= 12 and sum(map(str.isdigit, word)) >= 3)
    return "<id>" if is_id else _END_NUMBER.sub("<number>", _unit(word))


def _unit(word: str) -> str:
    """Return a word such as "300s" without its number."""
    return re.sub(r"^\d+", "<number>", word)


def shape_id(text: str) -> int:
    """Return the number of a shape or another text, which is the same in all indexes."""
    digest = blake2b(text.encode(errors="replace"), digest_size=7).digest()
    return int.from_bytes(digest)
