"""A history as a person reads it: messages, and calls with their results."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property

from django.conf import settings

from masking import MARGIN
from tasks.messages import ChatMessage
from tasks.models import PREFIX_LENGTH, TaskRecord
from tasks.sanitization import resumable_turns_from_task_record
from tasks.transcript import tool_calls
from tasks.transcript.text_preview import DISPLAY_LENGTH, format_size
from tasks.transcript.text_preview import Text as Text
from tasks.transcript.titles import asked_for as asked_for
from tasks.transcript.titles import note_line as note_line
from tasks.transcript.titles import title as title
from tasks.transcript.tool_calls import Call, Part, Result

SHOWN_OF_LARGE = PREFIX_LENGTH - MARGIN  # characters of a history that is too large to be read


@dataclass
class Exchange:
    """An assistant's message with all up to the next one: its calls and their results."""

    messages: list["Message"] = field(default_factory=list)

    @cached_property
    def paired(self) -> bool:
        """Give each result to its call; at once, for whichever message is shown first."""
        first = self.messages[0]
        asked = [part for part in first.own_parts if isinstance(part, Call)]
        for place, call in enumerate(asked, start=1):
            call.anchor = f"{first.anchor}-call-{place}"
        for message in self.messages[1:]:
            tool_calls.pair(asked, message.own_results, message.number, first.number)
        return True


@dataclass
class Message:
    """One message of a history. It is read when it is shown, with the rest of its exchange."""

    number: int  # from 1
    role: str
    text: Text
    exchange: Exchange = field(repr=False, compare=False)

    @property
    def anchor(self) -> str:
        """Its place in a page, which stays the same: messages are only ever added."""
        return f"message-{self.number}"

    @cached_property
    def _native(self) -> tuple[str, list[Part]] | None:
        return tool_calls.native(self.text.whole) if self.role == "assistant" else None

    @cached_property
    def own_parts(self) -> list[Part]:
        """The text and the calls of an assistant's message, before results are given to calls."""
        if self.role != "assistant":
            return []
        return self._native[1] if self._native else tool_calls.parts(self.text.whole)

    @cached_property
    def own_results(self) -> list[Result]:
        """The results that a message holds, before they are given to calls."""
        return tool_calls.results(self.role, self.text.whole)

    @property
    def parts(self) -> list[Part]:
        """The text and the calls of an assistant's message, with the results of the calls."""
        return self.own_parts if self.exchange.paired else []

    @property
    def results(self) -> list[Result]:
        """The results that a message holds; each knows whether it is shown with its call."""
        return self.own_results if self.exchange.paired else []

    @property
    def left_results(self) -> list[Result]:
        """The results without a call, which are shown here."""
        return [result for result in self.results if result.shown_in is None]

    @property
    def shown_in(self) -> int | None:
        """The number of the message that shows results of this one, or None."""
        return next((r.shown_in for r in self.results if r.shown_in is not None), None)

    @property
    def prose(self) -> Text | None:
        """What it says in words, which is what one copies."""
        if self.role != "assistant":
            return None if self.is_tool_output else self.text
        return next((part for part in self.parts if isinstance(part, Text)), None)

    @property
    def is_moved(self) -> bool:
        """Whether all that it holds is shown with the calls."""
        return bool(self.results) and not self.left_results

    @property
    def reasoning(self) -> Text | None:
        """What a model thought before it answered, where its provider tells."""
        return Text(self._native[0]) if self._native and self._native[0].strip() else None

    @property
    def is_tool_output(self) -> bool:
        return bool(self.own_results)

    @property
    def weight(self) -> int:
        """About how many characters a page takes to show it."""
        return 500 + min(self.text.length, DISPLAY_LENGTH)


def messages(history: Iterable[ChatMessage]) -> list[Message]:
    """The messages in order, each read no further than to know its role."""
    found: list[Message] = []
    exchange = Exchange()
    for number, message in enumerate(history, start=1):
        if message.role == "assistant" or not found:
            exchange = Exchange()
        found.append(Message(number, message.role, Text(message.content), exchange))
        exchange.messages.append(found[-1])
    return found


class Thread:
    """What a thread's page shows of its latest task."""

    def __init__(self, record: TaskRecord) -> None:
        self.record = record

    @cached_property
    def title(self) -> str:
        asked = next((m.text.whole for m in self.messages if m.role == "user"), "")
        return asked_for(asked)

    @cached_property
    def messages(self) -> list[Message]:
        """The execution history; none where it cannot be read, see `problem`."""
        return [] if self.problem else messages(self.record.execution_history)

    @property
    def length(self) -> int:
        """The bytes of the execution history, if the row is one that `for_page()` gives.

        A row with whole histories has been asked for by who has seen to their size.
        """
        return getattr(self.record, "history_length", None) or 0

    @property
    def resumable_length(self) -> int:
        """The same of the resumable history."""
        return getattr(self.record, "resumable_length", None) or 0

    @property
    def is_too_large(self) -> bool:
        """Whether the execution history is larger than what is read into memory."""
        return self.length > settings.MAX_HISTORY_SIZE

    @property
    def is_resume_too_large(self) -> bool:
        return self.resumable_length > settings.MAX_HISTORY_SIZE

    @cached_property
    def problem(self) -> str:
        """Why the execution history cannot be read, or nothing."""
        if self.is_too_large:
            return _too_large(self.length)
        return _problem(lambda: self.record.execution_history)

    @cached_property
    def resume_problem(self) -> str:
        """Why the resumable history cannot be read, or nothing."""
        if self.is_resume_too_large:
            return _too_large(self.resumable_length)
        return _problem(lambda: self.record.resumable_history)

    @cached_property
    def resumable_turns(self) -> list[ChatMessage]:
        """The turns that the agent would resume with; none where there is nothing to resume."""
        return [] if self.resume_problem else resumable_turns_from_task_record(self.record)

    @property
    def raw(self) -> Text:
        """The history as stored; the beginning of one that is too large."""
        if self.is_too_large:
            return Text(str(self.record.history_start), SHOWN_OF_LARGE)  # type: ignore[attr-defined]
        return Text(str(self.record.execution_history_json))


def _too_large(length: int) -> str:
    limit = format_size(settings.MAX_HISTORY_SIZE)
    return f"it has {format_size(length)}, and more than {limit} is not read"


def _problem(read: Callable[[], object]) -> str:
    try:
        read()
    except (TypeError, ValueError) as error:
        return str(error)
    return ""
