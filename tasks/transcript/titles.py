"""What a thread is called: what the user first asked for, without what goes before it."""

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
_LOOKED_AT = TITLE_LENGTH * 12  # characters of a message
_NOTE_BEGINNING = "- Continue from the latest confirmed state"  # of every note of gloamy

_ASKED = re.compile(r'\{"role":"user","content":"((?:[^"\\]|\\u[0-9a-f]{4}|\\[^u])*+)')

# A line that only says what the next one is: "ISSUE:", "# Task", "--- Question ---".
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
_PICTURE = re.compile(r"\[IMAGE:[^\[\]\n]*+\]?")
_GREETING = re.compile(
    r"^(?:hi|hello|hey|dear|good (?:morning|day|evening)|please note)\b[^.,!:\n]{0,30}[.,!:]+\s*",
    re.I,
)
# How a line begins that prepares for what is asked.
_PREPARES = re.compile(
    "(?:here(?: is| are|['\u2019]s)|below (?:is|are)|the following|this is an? (?:demo|example)"
    "|you(?: are|['\u2019]re) (?:an?|the|my|now|currently|going)\\b"
    "|you do not (?:need|have)|we(?: are|['\u2019]re) (?:now|currently)\\b|i want you to act|act as"
    "|it is (?:included|meant|for)|---)",
    re.IGNORECASE,
)
_NAME = re.compile(r"\b(?:named|called|titled|entitled) [\"“']([^\"”'\n]{2,80})[\"”']")


def title(record: TaskRecord) -> str:
    """What the user first asked for, or nothing; of a row as `for_list()` reads it."""
    for start in (record.history_start, record.resumable_start):  # type: ignore[attr-defined]
        asked = isinstance(start, str) and _ASKED.search(start)
        if asked and (line := asked_for(_decoded(asked[1]))):
            return line
    return ""


def _decoded(json_text: str) -> str:
    """The start of a JSON string's text, which may be cut off within an escape."""
    text = json_text[: _LOOKED_AT + MARGIN]  # so that a cut goes through no secret unseen
    for _ in range(3):  # a surrogate pair is two escapes, and either may be cut
        with contextlib.suppress(msgspec.DecodeError):
            return msgspec.json.decode(f'"{text}"', type=str)
        text = text[: text.rfind("\\")]
    return ""


def asked_for(message: str) -> str:
    """The line of a message that says what it is about, with the name that it is given."""
    lines = list(_lines(request_masking.truncate(message, _LOOKED_AT)))
    telling = _labelled(lines) or next(filter(_tells, lines), "") or "".join(lines[:1])
    telling = _without_label(telling)
    introduction = lines[: lines.index(telling)] if telling in lines else []
    name = next((named[1] for line in introduction if (named := _NAME.search(line))), "")
    if name and name not in telling:
        telling = f"{name}: {telling}"
    return shortened(telling)


def shortened(line: str) -> str:
    """The line, cut after a word if it is too long, and marked as cut."""
    if len(line) <= TITLE_LENGTH:
        return line
    start = line[: TITLE_LENGTH - 1]
    words, _, last = start.rpartition(" ")
    is_word_near = words and len(last) < TITLE_LENGTH // 4
    return (words if is_word_near else start).rstrip(" ,;:") + "…"


def _lines(text: str) -> Iterator[str]:
    """The lines that say something, without markup and greetings."""
    for line in collapse_data_urls(text).split("\n"):
        if not _PICTURE.sub("", line).strip():
            continue
        named = _TAGS_AROUND.sub("", _PICTURE.sub("an image", line).strip())
        bare = _MARKUP.sub("", named).replace("**", "").strip().rstrip("*_#= ")
        if bare:
            yield _GREETING.sub("", bare, count=1) or bare


def _labelled(lines: list[str]) -> str:
    """The line after the first that is a label."""
    for label, line in pairwise(lines):
        if _LABEL.fullmatch(label):
            return line
    return ""


def _without_label(line: str) -> str:
    label = _INLINE_LABEL.match(line)
    return line[label.end() :] if label and label.end() < len(line) else line


def _tells(line: str) -> bool:
    prepares = line.endswith(":") or _PREPARES.match(line) or _GREETING.fullmatch(line)
    return not prepares


def note_line(note: str) -> str:
    """The first line of a note that tells of this thread: no heading, nor what each begins with."""
    lines = [line.strip() for line in request_masking.mask(note).splitlines() if line.strip()]
    telling = (line for line in lines if not line.startswith(("#", _NOTE_BEGINNING)))
    line = next(telling, "".join(lines[:1])).lstrip("-*# ")
    return shortened(line)
