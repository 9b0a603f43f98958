"""What an agent would resume with, beside what it is made of."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tasks.messages import ChatMessage
from tasks.sanitization import normalize_resumable_turns, strip_tool_call_tags, tool_calls
from tasks.secrets import request_masking
from tasks.transcript.text_preview import DISPLAY_LENGTH, Text

_ROLES = "assistant", "user"  # of a turn with an even, and with an odd number


@dataclass(frozen=True)
class Part:
    """A stretch of a stored message, which the agent gets or does not get."""

    text: str
    removed: bool


@dataclass(frozen=True)
class Source:
    """A stored message, and why the agent gets nothing of it, if so."""

    number: int
    message: ChatMessage
    dropped: str

    @property
    def parts(self) -> list[Part]:
        """The message in stretches; as much of it as a page shows."""
        text = self.message.content
        if self.dropped or self.message.role != "assistant":
            return [Part(request_masking.truncate(text, DISPLAY_LENGTH), bool(self.dropped))]
        return list(_bounded(_parts(text)))

    @property
    def text(self) -> Text | None:
        """The message, if the agent gets it as it is."""
        kept = not self.dropped and all(not part.removed for part in self.parts)
        return Text(self.message.content) if kept else None

    @property
    def length(self) -> int:
        return len(self.message.content)

    @property
    def is_cut(self) -> bool:
        return self.length > DISPLAY_LENGTH


@dataclass(frozen=True)
class Turn:
    """A turn as the agent gets it, or None, and the stored messages it is made of."""

    number: int
    turn: ChatMessage | None
    sources: list[Source]

    @property
    def size(self) -> int:
        """About how many characters a page needs to show it."""
        stored = sum(min(source.length, DISPLAY_LENGTH) for source in self.sources)
        return stored + min(self.text.length, DISPLAY_LENGTH)

    @property
    def text(self) -> Text:
        return Text(self.turn.content if self.turn else "")

    @property
    def is_changed(self) -> bool:
        """Whether the agent gets anything else than what is stored."""
        stored = [source.message for source in self.sources]
        return self.turn is None or stored != [self.turn]


def turns(history: Iterable[ChatMessage]) -> list[Turn]:
    """The turns that the agent gets of a resumable history, each with what it is made of.

    A message that goes into no turn stands with the turn before it, or else with none.
    """
    groups: list[list[Source]] = [[]]  # the first is of what comes before any turn
    kept: list[ChatMessage] = []
    for number, message in enumerate(history, start=1):
        cleaned, dropped = _cleaned(message)
        if not dropped and message.role != _ROLES[len(groups) % 2]:
            dropped = "" if kept else "no user turn comes before it"
        elif not dropped:
            groups.append([])
        if not dropped:
            kept.append(cleaned)
        groups[-1].append(Source(number, message, dropped))
    exact = [None, *normalize_resumable_turns(kept)]
    made = [Turn(*found) for found in zip(range(len(groups)), exact, groups, strict=True)]
    return made if groups[0] else made[1:]


def _cleaned(message: ChatMessage) -> tuple[ChatMessage, str]:
    """The message as it goes into a turn, or why it does not."""
    if message.role == "user":
        return message, ""
    if message.role != "assistant":
        return message, f"the role {message.role or '(none)'} is not resumed"
    content = strip_tool_call_tags(message.content)
    return ChatMessage("assistant", content), "" if content else "nothing but tool calls"


def _parts(text: str) -> Iterator[Part]:
    position = 0
    for tag, end in tool_calls(text):
        yield Part(text[position : tag.start()], removed=False)
        yield Part(text[tag.start() : end], removed=True)
        position = end
    yield Part(text[position:], removed=False)


def _bounded(parts: Iterable[Part]) -> Iterator[Part]:
    """As many of the parts as a page shows."""
    room = DISPLAY_LENGTH
    for part in parts:
        if part.text and room > 0:
            yield Part(request_masking.truncate(part.text, room), part.removed)
        room -= len(part.text)
        if room <= 0:
            return
