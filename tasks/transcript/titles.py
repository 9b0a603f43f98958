"""Chooses titles from user messages (the lines that state the requests), and summarizes notes."""

import contextlib
import re
from collections.abc import Iterator
from itertools import pairwise

import msgspec

from masking import MARGIN
from tasks.models import TaskRecord
from tasks.secrets import request_masking
from tasks.transcript.text_preview import collapse_data_urls

TITLE_LENGTH = 200
_MESSAGE_LENGTH = TITLE_LENGTH * 12  # characters of a message that are searched for a title
_NOTE_BOILERPLATE = "- Continue from the latest confirmed state"  # gloamy adds this to every note

_USER_MESSAGE = re.compile(r'\{"role":"user","content":"((?:[^"\\]|\\u[0-9a-f]{4}|\\[^u])*+)')

# Matches a line that only labels the next line, such as "ISSUE:", "# Task" or "--- Question ---".
_LABEL = re.compile(
    r"(?:[#*\-=\s]*)(?:the )?(?:issue|task|title|subject|problem|question|goal|request|objective"
    r"|query|summary)(?: (?:text|title|description|statement))?[\s:*#\-=]*",
    re.IGNORECASE,
)
_INLINE_LABEL = re.compile(
    r"(?:issue|task|title|subject|question|goal|request|objective):\s+", re.I
)
_MARKUP = re.compile(r"^(?:[#>*\-=\s]+|\d+[.)]\s+|\[[\d\-:T. ]{8,40}(?:UTC|Z)?\]\s*)+")
_TAGS_AROUND = re.compile(r"^(?:</?[\w-]{1,40}>\s*)++|(?:(?<!\s)\s*+</?[\w-]{1,40}>)++$")
_IMAGE = re.compile(r"\[IMAGE:[^\[\]\n]*+\]?")
_GREETING = re.compile(
    r"^(?:hi|hello|hey|dear|good (?:morning|day|evening)|please note)\b[^.,!:\n]{0,30}[.,!:]+\s*",
    re.I,
)
# Matches the start of a line that only introduces the request.
_LEAD_IN = re.compile(
    "(?:here(?: is| are|['\u2019]s)|below (?:is|are)|the following|this is an? (?:demo|example)"
    "|you(?: are|['\u2019]re) (?:an?|the|my|now|currently|going)\\b"
    "|you do not (?:need|have)|we(?: are|['\u2019]re) (?:now|currently)\\b|i want you to act|act as"
    "|it is (?:included|meant|for)|---)",
    re.IGNORECASE,
)
_NAME = re.compile(r"\b(?:named|called|titled|entitled) [\"“']([^\"”'\n]{2,80})[\"”']")


def task_title(record: TaskRecord) -> str:
    """Return the title of the first user message, or "". `record` must come from `for_list()`."""
    for start in (record.history_start, record.resumable_start):  # type: ignore[attr-defined]
        match = isinstance(start, str) and _USER_MESSAGE.search(start)
        if match and (title := message_title(_decode_start(match[1]))):
            return title
    return ""


def _decode_start(json_text: str) -> str:
    """Decode the start of a JSON string, which may be cut off in the middle of an escape."""
    text = json_text[: _MESSAGE_LENGTH + MARGIN]  # the margin avoids cutting a secret in half
    for _ in range(3):  # the cut may be inside either escape of a surrogate pair
        with contextlib.suppress(msgspec.DecodeError):
            return msgspec.json.decode(f'"{text}"', type=str)
        text = text[: text.rfind("\\")]
    return ""


def message_title(message: str) -> str:
    """Return the line that states the request, prefixed with any name given in an earlier line."""
    lines = list(_lines(request_masking.truncate(message, _MESSAGE_LENGTH)))
    title = _labelled_line(lines) or next(filter(_is_request, lines), "") or "".join(lines[:1])
    title = _strip_label(title)
    introduction = lines[: lines.index(title)] if title in lines else []
    name = next((match[1] for line in introduction if (match := _NAME.search(line))), "")
    if name and name not in title:
        title = f"{name}: {title}"
    return _shorten(title)


def _shorten(line: str) -> str:
    """Truncate a line that is too long, ending at a word boundary if possible."""
    if len(line) <= TITLE_LENGTH:
        return line
    start = line[: TITLE_LENGTH - 1]
    words, _, last = start.rpartition(" ")
    is_word_near = words and len(last) < TITLE_LENGTH // 4
    return (words if is_word_near else start).rstrip(" ,;:") + "…"


def _lines(text: str) -> Iterator[str]:
    """Yield the non-blank lines of the text, without markup or greetings."""
    for line in collapse_data_urls(text).split("\n"):
        if not _IMAGE.sub("", line).strip():
            continue
        text = _TAGS_AROUND.sub("", _IMAGE.sub("an image", line).strip())
        bare = _MARKUP.sub("", text).replace("**", "").strip().rstrip("*_#= ")
        if bare:
            yield _GREETING.sub("", bare, count=1) or bare


def _labelled_line(lines: list[str]) -> str:
    """Return the line after the first line that is only a label, or "" if there is none."""
    for label, line in pairwise(lines):
        if _LABEL.fullmatch(label):
            return line
    return ""


def _strip_label(line: str) -> str:
    label = _INLINE_LABEL.match(line)
    return line[label.end() :] if label and label.end() < len(line) else line


def _is_request(line: str) -> bool:
    return not (line.endswith(":") or _LEAD_IN.match(line) or _GREETING.fullmatch(line))


def note_summary(note: str) -> str:
    """Return a note's first line that is neither a heading nor boilerplate."""
    lines = [line.strip() for line in request_masking.mask(note).splitlines() if line.strip()]
    specific = (line for line in lines if not line.startswith(("#", _NOTE_BOILERPLATE)))
    return _shorten(next(specific, "".join(lines[:1])).lstrip("-*# "))
