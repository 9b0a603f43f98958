"""Reduces a thread's history to what a model needs to resume it: text turns without tool calls.

Every function is pure and takes linear time on any input.
"""

import re
from array import array
from collections.abc import Iterable, Iterator
from itertools import cycle
from math import isinf
from typing import Protocol

from tasks.messages import Chat, ChatMessage, ConversationMessage

# The White_Space characters that Rust trims. str.strip() would also remove U+001C to U+001F.
_WHITE_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
OPEN_TAG = re.compile("<(?:function_calls?|tool[_-]?call|tool|invoke)>")
_CLOSE_TAGS = re.compile(f"(?:[{_WHITE_SPACE}]*+</[^>]*+>)*+[{_WHITE_SPACE}]*+")
_BLANK_LINES = re.compile("\n\n\n+")


class HasResumableHistory(Protocol):
    """The part of a task record that holds its resumable turns."""

    @property
    def resumable_history(self) -> list[ChatMessage]: ...


def resumable_turns_from_task_record(record: HasResumableHistory) -> list[ChatMessage]:
    """Return a stored task's user and assistant turns, normalized and without tool calls."""
    return _resumable_turns(record.resumable_history)


def conversation_messages_to_resumable_turns(
    history: Iterable[ConversationMessage],
) -> list[ChatMessage]:
    """Return the turns of a live conversation, omitting native tool calls and their results."""
    return _resumable_turns(message.data for message in history if isinstance(message, Chat))


def resumable_turns_to_conversation_messages(
    turns: Iterable[ChatMessage],
) -> list[ConversationMessage]:
    """Wrap each turn in a ``Chat`` message."""
    return [Chat(data=turn) for turn in turns]


def _resumable_turns(messages: Iterable[ChatMessage]) -> list[ChatMessage]:
    return normalize_resumable_turns(
        turn for message in messages if (turn := _without_tool_calls(message)) is not None
    )


def _without_tool_calls(message: ChatMessage) -> ChatMessage | None:
    if message.role == "user":
        return message
    if message.role == "assistant" and (content := strip_tool_call_tags(message.content)):
        return ChatMessage(role="assistant", content=content)
    return None


def normalize_resumable_turns(turns: Iterable[ChatMessage]) -> list[ChatMessage]:
    """Return new turns that alternate between user and assistant, starting with the user.

    Consecutive turns with the same role are joined, separated by a blank line. Assistant turns
    before the first user turn are dropped, and so are turns with other roles.
    """
    contents: list[list[str]] = []  # of a user turn, an assistant turn, and so on
    expected, current = "user", "assistant"
    for turn in turns:
        role = turn.role
        if role == expected:
            contents.append([turn.content])
            expected, current = current, expected
        elif role == current and contents:
            contents[-1].append(turn.content)
    texts = [
        parts[0] if len(parts) == 1 else "\n\n".join(filter(None, parts)) for parts in contents
    ]
    return list(map(ChatMessage, cycle(("user", "assistant")), texts))


def strip_tool_call_tags(message: str) -> str:
    """Remove tool calls from a message, reduce runs of blank lines to one, and trim the message.

    A call extends from its opening tag to the next closing tag with the same name. If there is no
    such tag, the call extends through the next JSON object or array and any closing tags after it.
    If there is no JSON either, the rest of the message is kept.
    """
    # most messages have no tags and no blank lines to reduce, and `in` is faster than the patterns
    text = "".join(_segments_outside_calls(message)) if "<" in message else message
    if "\n\n\n" in text:
        text = _BLANK_LINES.sub("\n\n", text)
    return text.strip(_WHITE_SPACE)


def _segments_outside_calls(message: str) -> Iterable[str]:
    position = 0
    for tag, end in tool_calls(message):
        yield message[position : tag.start()]
        position = end
    yield message[position:]


def tool_calls(message: str) -> Iterator[tuple[re.Match[str], int]]:
    """Yield each tool call's opening tag and the position where the call ends."""
    call_ends = _CallEnds(message)
    position = 0
    while tag := OPEN_TAG.search(message, position):
        end = call_ends.after(tag)
        if end is None:
            break
        yield tag, end
        position = end


class _CallEnds:
    """Finds where the tool calls in a message end. Opening tags must be passed in order."""

    def __init__(self, message: str) -> None:
        self._message = message
        self._without_close_tag: set[str] = set()
        self._containers: _JsonContainers | None = None

    def after(self, open_tag: re.Match[str]) -> int | None:
        close_tag = f"</{open_tag[0][1:]}"
        if close_tag not in self._without_close_tag:
            start = self._message.find(close_tag, open_tag.end())
            if start >= 0:
                return start + len(close_tag)
            # Remember that the tag is missing, so that no later call searches for it again.
            self._without_close_tag.add(close_tag)
        if self._containers is None:
            self._containers = _JsonContainers(self._message)
        end = self._containers.first_end(open_tag.end())
        return None if end is None else self._skip_close_tags(end)

    def _skip_close_tags(self, position: int) -> int:
        skipped = _CLOSE_TAGS.match(self._message, position)
        assert skipped is not None  # always matches, since the pattern accepts ""
        unfinished = self._message.startswith("</", skipped.end())
        return len(self._message) if unfinished else skipped.end()


# The JSON grammar (RFC 8259) with serde_json's limits. Possessive quantifiers prevent
# backtracking. Escaped surrogates must come in pairs.
_WS = rb"[ \t\n\r]*+"
_HEX = rb"[0-9A-Fa-f]"
_UNICODE_ESCAPE = (
    rb"u(?:[0-9A-CE-Fa-ce-f]" + _HEX + rb"{3}|[Dd][0-7]" + _HEX + rb"{2}"
    rb"|[Dd][89ABab]" + _HEX + rb"{2}\\u[Dd][C-Fc-f]" + _HEX + rb"{2})"
)
_STRING = rb'"(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|' + _UNICODE_ESCAPE + rb'))*+"'
_NUMBER = rb"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?[0-9]++)?+"
# A number with at most 100 digits and an exponent of at most 199 always fits in a float.
_SMALL_NUMBER = rb"-?(?:0|[1-9][0-9]{0,99}+)(?:\.[0-9]++)?+(?:[eE](?:-[0-9]++|\+?1?[0-9]{1,2}+))?+"
_SCALAR = rb"(?:" + _STRING + rb"|true|false|null|" + _SMALL_NUMBER + rb")"
_NUMBER_PARTS = re.compile(rb"-?([0-9]+)(?:\.([0-9]+))?(?:[eE]\+?(-?)0*([0-9]*))?")


def _items(key: bytes, close: bytes) -> bytes:
    """Build a regex for scalars up to a bracket (group 1 if opening) or large number (group 2)."""
    item = key + _SCALAR + _WS
    large_number = rb"(%b)(?=%b(?:,|%b))" % (_NUMBER, _WS, close)
    child = rb"(?:(\[++|\{)|%b)" % large_number
    return rb"(?:%b,%b)*+(?:%b%b|%b%b)" % (item, _WS, item, close, key, child)


_OPENED = 1  # the group that matches opening brackets; a closing bracket has no group
_ARRAY = ord("["), rb"\]", _items(b"", rb"\]")
_OBJECT = ord("{"), rb"\}", _items(_STRING + _WS + rb":" + _WS, rb"\}")
_AFTER_OPEN_RULES = {
    bracket: rb"%b(?:%b|%b)" % (_WS, close, items) for bracket, close, items in (_ARRAY, _OBJECT)
}
_AFTER_OPEN = {bracket: re.compile(rule).match for bracket, rule in _AFTER_OPEN_RULES.items()}
_AFTER_CHILD = {
    bracket: re.compile(rb"%b(?:%b|,%b%b)" % (_WS, close, _WS, items)).match
    for bracket, close, items in (_ARRAY, _OBJECT)
}
_CANDIDATE = re.compile(rb"\[(?=%b)|\{(?=%b)" % tuple(_AFTER_OPEN_RULES.values()))
_BLANK = ord("?")
_MAX_HEIGHT = 127
_MAX_SIGNIFICAND = 0xFFFF_FFFF_FFFF_FFFF
_POWERS_OF_TEN = [float(f"1e{exponent}") for exponent in range(309)]


class _JsonContainers:
    """Finds where the JSON objects and arrays in a message end, parsing them as serde_json would.

    An opening bracket that fails to parse is replaced by `_BLANK`, so that it is not tried again.
    Replacing it does not affect a parse that starts elsewhere: the bracket and `_BLANK` both cause
    an error outside strings and are both plain text inside them.

    Parsing therefore takes linear time. If two parses with different starts overlap, one is inside
    a string wherever the other is outside, since a backslash outside a string ends a parse. So at
    most two overlap, and neither reaches a bracket that the other opened.
    """

    def __init__(self, text: str) -> None:
        # Use one byte per character to preserve positions; all JSON syntax is ASCII.
        self._text = bytearray(text.encode("latin-1", "replace"))

    def first_end(self, position: int) -> int | None:
        """Return where the first valid container at or after the position ends, or None."""
        for candidate in _CANDIDATE.finditer(self._text, position):
            open_brackets = array("Q", [candidate.start()])
            end = self._close_all(open_brackets)
            if end is not None:
                return end
            for failed in open_brackets:
                self._text[failed] = _BLANK
        return None

    def _close_all(self, open_brackets: "array[int]") -> int | None:
        """Return the outermost container's end, or None, leaving unclosed brackets in the array."""
        # Parse to any depth: if the outer containers are too deep, an inner one may be valid.
        text, position = self._text, open_brackets[0] + 1
        heights = bytearray(1)
        step = _AFTER_OPEN[text[position - 1]]
        while match := step(text, position):
            position = match.end()
            if match.lastindex is None:
                height = heights.pop() + 1
                if height > _MAX_HEIGHT:
                    return None
                open_brackets.pop()
                if not open_brackets:
                    return position
                if height > heights[-1]:
                    heights[-1] = height
            elif match.lastindex == _OPENED:
                for opened in range(match.start(_OPENED), position):
                    open_brackets.append(opened)
                    heights.append(0)
                step = _AFTER_OPEN[text[position - 1]]
                continue
            elif _is_out_of_range(match[match.lastindex]):
                return None
            step = _AFTER_CHILD[text[open_brackets[-1]]]
        return None


def _is_out_of_range(number: bytes) -> bool:
    """Return whether serde_json would reject the number as too large, replicating its rounding."""
    parts = _NUMBER_PARTS.match(number)
    assert parts is not None
    whole, fraction, sign, power = parts.groups(b"")
    significand, used = _accumulate(0, whole)
    exponent = len(whole) - used
    significand, used = _accumulate(significand, fraction)
    exponent -= used
    if not significand:
        return False
    exponent += int(sign + (power[:10] or b"0"))  # 10 digits are enough; int() rejects huge inputs
    if exponent < 0:
        return False
    return exponent > 308 or isinf(significand * _POWERS_OF_TEN[exponent])


def _accumulate(significand: int, digits: bytes) -> tuple[int, int]:
    """Append as many digits as fit in 64 bits. Return the new significand and the digit count."""
    for used, digit in enumerate(digits):
        longer = significand * 10 + digit - ord("0")
        if longer > _MAX_SIGNIFICAND:
            return significand, used
        significand = longer
    return significand, len(digits)
