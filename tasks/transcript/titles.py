"""Chooses titles from user messages (the lines that state the requests), and summarizes notes."""

import contextlib
import re
from collections.abc import Iterator
from functools import cache, lru_cache
from itertools import chain, pairwise
from typing import Any, NamedTuple

import msgspec

from masking import MARGIN
from tasks.models import TaskRecord, TaskStatus
from tasks.secrets import request_masking
from tasks.transcript.text_preview import collapse_data_urls
from tasks.transcript.tool_calls import RESULTS_HEAD, Call, parse_assistant

TITLE_LENGTH = 200
_MESSAGE_LENGTH = TITLE_LENGTH * 12  # characters of a message that are searched for a title
_NOTE_BOILERPLATE = (  # lines that gloamy adds to every note
    "Continue from the latest confirmed state",
    "Confirmed steps:",
    "Choose the smallest next action",
)

# How messages begin in compact JSON. A text cannot imitate it, since its quotes are escaped.
_MESSAGE = '{{"role":"{}","content":"'
_USER, _ASSISTANT = _MESSAGE.format("user"), _MESSAGE.format("assistant")
_STRING = re.compile(r'(?:[^"\\]++|\\u[0-9a-f]{4}|\\[^u])*+')

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


class Heading(NamedTuple):
    """What a thread is about. Each text is "" if there is none, or if it cannot be found."""

    title: str  # the latest request
    first: str  # the first request, if it is another one
    call: str  # the latest tool call of a running thread, such as "shell: make test"


def heading(record: TaskRecord) -> Heading:
    """Return the heading of a task that was read by `for_list()`.

    The latest request is looked for near the end of the history, then among the resumable turns if
    all of them were read. Otherwise, the first request stands for it.
    """
    texts: Any = record
    start, end, turns = (
        text if isinstance(text, str) else ""
        for text in (texts.history_start, texts.history_end, texts.resumable_start)
    )
    title_of = cache(message_title)  # the two requests are often the same
    first = next(filter(None, map(title_of, chain(_requests(start), _requests(turns)))), "")
    is_whole = texts.resumable_length == len(turns.encode("utf-8", "replace"))
    latest = chain(_last_requests(end), _last_requests(turns) if is_whole else ())
    title = next(filter(None, map(title_of, latest)), first)
    is_running = not TaskStatus.read(record.status).is_terminal
    call = _latest_call(end) if is_running else ""
    return Heading(title, "" if first == title else first, call)


def task_title(record: TaskRecord) -> str:
    return heading(record).title


def _requests(history: str) -> Iterator[str]:
    """Yield the user's requests in a piece of a history, or as much of them as a title needs."""
    position = history.find(_USER)
    while position >= 0:
        yield _request(history, position)
        position = history.find(_USER, position + 1)


def _last_requests(history: str) -> Iterator[str]:
    """Yield the same from the last one to the first."""
    position = history.rfind(_USER)
    while position >= 0:
        yield _request(history, position)
        position = history.rfind(_USER, 0, position)


def _request(history: str, position: int) -> str:
    """Return the user's message at this position, or "" if it holds tool results."""
    start = position + len(_USER)
    is_result = history.startswith(RESULTS_HEAD, start)
    return "" if is_result else _decode(history, start, _MESSAGE_LENGTH)


def _latest_call(end: str) -> str:
    """Return the last tool call in the end of a history, unless a request came after it."""
    start, user = end.rfind(_ASSISTANT), end.rfind(_USER)
    if start < 0 or (user > start and not end.startswith(RESULTS_HEAD, user + len(_USER))):
        return ""
    _, parts = parse_assistant(_decode(end, start + len(_ASSISTANT), len(end)))
    return next((part.summary for part in reversed(parts) if isinstance(part, Call)), "")


def _decode(history: str, start: int, length: int) -> str:
    """Decode the JSON string at `start`, or its beginning, even if an escape in it is cut."""
    cut = start + length + MARGIN  # the margin avoids cutting a secret in half
    string = _STRING.match(history, start, cut)
    text = string[0] if string else ""
    for _ in range(3):  # the cut may be inside either escape of a surrogate pair
        with contextlib.suppress(msgspec.DecodeError):
            return msgspec.json.decode(f'"{text}"', type=str)
        text = text[: text.rfind("\\")]
    return ""


def message_title(message: str) -> str:
    """Return the line that states the request, prefixed with any name given in an earlier line."""
    return _title(request_masking.truncate(message, _MESSAGE_LENGTH))


@lru_cache(2_000)
def _title(message: str) -> str:
    lines = list(_lines(message))
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
    """Return a note's first line that is neither a heading nor boilerplate, or ""."""
    lines = [line.strip() for line in request_masking.mask(note).splitlines() if line.strip()]
    specific = (line.lstrip("-* ") for line in lines if not line.startswith("#"))
    return _shorten(next((text for text in specific if not text.startswith(_NOTE_BOILERPLATE)), ""))
