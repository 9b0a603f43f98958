"""The turns that an agent would resume a thread with, and the stored messages behind them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tasks.messages import ChatMessage
from tasks.models import DISPLAY_LENGTH
from tasks.sanitization import normalize_resumable_turns, strip_tool_call_tags, tool_calls
from tasks.secrets import request_masking
from tasks.transcript.text_preview import Text

_ROLES = "assistant", "user"  # the roles of even-numbered and odd-numbered turns


@dataclass(frozen=True)
class Segment:
    """Part of a stored message, flagged if it is removed before the agent sees the message."""

    text: str
    is_removed: bool


@dataclass(frozen=True)
class Source:
    """A stored message, and the reason why it is dropped ("" if it is kept)."""

    message: ChatMessage
    drop_reason: str

    @property
    def segments(self) -> list[Segment]:
        """The message split into segments, up to the maximum length that a page displays."""
        text = self.message.content
        if self.drop_reason or self.message.role != "assistant":
            start = request_masking.truncate(text, DISPLAY_LENGTH)
            return [Segment(start, bool(self.drop_reason))]
        return list(_truncate(_segments(text)))

    @property
    def text(self) -> Text | None:
        """The text of the message if the agent gets it unchanged, otherwise None."""
        is_changed = self.drop_reason or any(segment.is_removed for segment in self.segments)
        return None if is_changed else Text(self.message.content)

    @property
    def length(self) -> int:
        return len(self.message.content)

    @property
    def is_cut(self) -> bool:
        return self.length > DISPLAY_LENGTH


@dataclass(frozen=True)
class Turn:
    """A turn as the agent would see it, and the stored messages it was built from.

    Turn 0 has no message; it holds the stored messages that come before the first turn.
    """

    number: int
    message: ChatMessage | None
    sources: list[Source]

    @property
    def weight(self) -> int:
        """The approximate number of characters that the turn takes up on a page."""
        stored = sum(min(source.length, DISPLAY_LENGTH) for source in self.sources)
        return stored + min(self.text.length, DISPLAY_LENGTH)

    @property
    def text(self) -> Text:
        return Text(self.message.content if self.message else "")

    @property
    def is_changed(self) -> bool:
        """Whether the turn is anything but one unchanged stored message."""
        stored = [source.message for source in self.sources]
        return self.message is None or stored != [self.message]


def build_turns(history: Iterable[ChatMessage]) -> list[Turn]:
    """From a resumable history, build the turns that an agent would resume with.

    A dropped message is listed with the turn before it, or with turn 0 if there is none.
    """
    groups: list[list[Source]] = [[]]  # the source messages of each turn
    cleaned_messages: list[ChatMessage] = []
    for message in history:
        cleaned, drop_reason = _clean(message)
        if not drop_reason and message.role != _ROLES[len(groups) % 2]:
            drop_reason = "" if cleaned_messages else "no user turn before it"
        elif not drop_reason:
            groups.append([])
        if not drop_reason:
            cleaned_messages.append(cleaned)
        groups[-1].append(Source(message, drop_reason))
    messages = [None, *normalize_resumable_turns(cleaned_messages)]
    turns = [Turn(*turn) for turn in zip(range(len(groups)), messages, groups, strict=True)]
    return turns if groups[0] else turns[1:]


def _clean(message: ChatMessage) -> tuple[ChatMessage, str]:
    """Return the message as the agent would see it, and the reason to drop it ("" to keep it)."""
    if message.role == "user":
        return message, ""
    if message.role != "assistant":
        return message, f"messages with role {message.role or '(none)'} are not sent"
    content = strip_tool_call_tags(message.content)
    return ChatMessage("assistant", content), "" if content else "only tool calls"


def _segments(text: str) -> Iterator[Segment]:
    position = 0
    for tag, end in tool_calls(text):
        yield Segment(text[position : tag.start()], is_removed=False)
        yield Segment(text[tag.start() : end], is_removed=True)
        position = end
    yield Segment(text[position:], is_removed=False)


def _truncate(segments: Iterable[Segment]) -> Iterator[Segment]:
    room = DISPLAY_LENGTH
    for segment in segments:
        if segment.text and room > 0:
            yield Segment(request_masking.truncate(segment.text, room), segment.is_removed)
        room -= len(segment.text)
        if room <= 0:
            return
