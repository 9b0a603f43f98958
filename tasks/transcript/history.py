"""Reads a task's execution history as messages, and pairs each tool result with its call."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import overload

from django.conf import settings

from masking import MARGIN
from tasks.messages import ChatMessage, as_text, read_history
from tasks.models import DISPLAY_LENGTH, PREFIX_LENGTH, TaskCheckpoint, TaskRecord
from tasks.sanitization import resumable_turns_from_task_record
from tasks.transcript import large_history, tool_calls
from tasks.transcript.large_history import LargeHistory
from tasks.transcript.steps import Outline
from tasks.transcript.text_preview import Text, format_size
from tasks.transcript.titles import message_title
from tasks.transcript.tool_calls import Call, Part, Result

MAX_CONTEXT = 4_000_000  # characters to read of an exchange before and after the messages needed
LARGE_HISTORY_DISPLAY = PREFIX_LENGTH - MARGIN  # characters to show of an oversized history


class Exchange:
    """An assistant message and the messages that follow it, up to the next assistant message."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._is_paired = False

    def pair(self) -> None:
        """Attach the tool results in this exchange to the calls in its first message."""
        if self._is_paired:
            return
        self._is_paired = True
        first = self.messages[0]
        for position, call in enumerate(first.calls, start=1):
            call.anchor = f"{first.anchor}-call-{position}"
        for message in self.messages[1:]:
            tool_calls.pair(first.calls, message.unpaired_results, first.number, message.number)
            if message.is_absorbed:
                calls = (call for call in first.calls if call.result_number == message.number)
                next(calls).result_anchor = message.anchor


@dataclass
class Message:
    """One message in a history. It is parsed on demand, together with the rest of its exchange."""

    number: int  # the message's position in the history, starting at 1
    role: str
    text: Text
    exchange: Exchange = field(repr=False, compare=False)

    @property
    def anchor(self) -> str:
        """The message's HTML id. It never changes, because messages are only ever appended."""
        return f"message-{self.number}"

    @cached_property
    def _parsed(self) -> tuple[str, list[Part]]:
        is_assistant = self.role == "assistant"
        return tool_calls.parse_assistant(self.text.whole) if is_assistant else ("", [])

    @cached_property
    def calls(self) -> list[Call]:
        """The tool calls in the message. `Exchange.pair()` fills in their results."""
        return [part for part in self._parsed[1] if isinstance(part, Call)]

    @cached_property
    def unpaired_results(self) -> list[Result]:
        return tool_calls.parse_results(self.role, self.text.whole)

    @property
    def parts(self) -> list[Part]:
        """The text and tool calls of an assistant message. Each call holds its result, if any."""
        self.exchange.pair()
        return self._parsed[1]

    @property
    def results(self) -> list[Result]:
        """The tool results in the message, paired with their calls."""
        self.exchange.pair()
        return self.unpaired_results

    @property
    def orphaned_results(self) -> list[Result]:
        """The tool results without a matching call. All others are displayed with their calls."""
        return [result for result in self.results if result.call_number is None]

    @property
    def call_number(self) -> int | None:
        """The number of the message that made the calls for this message's results, or None."""
        return next((r.call_number for r in self.results if r.call_number is not None), None)

    @property
    def prose(self) -> Text | None:
        """The message's text without tool calls and results, or None if there is no other text."""
        if self.role != "assistant":
            return None if self.is_tool_output else self.text
        return next((part for part in self.parts if isinstance(part, Text)), None)

    @property
    def is_absorbed(self) -> bool:
        """Whether the message holds only tool results, which are all shown with their calls."""
        return bool(self.results) and not self.orphaned_results

    @property
    def reasoning(self) -> Text | None:
        """The model's reasoning before its answer, if the provider reported any."""
        reasoning = self._parsed[0]
        return Text(reasoning) if reasoning.strip() else None

    @property
    def is_tool_output(self) -> bool:
        return bool(self.unpaired_results)

    @property
    def may_hold_results(self) -> bool:
        return tool_calls.may_hold_results(self.role, self.text.whole)

    @property
    def weight(self) -> int:
        """The approximate number of characters that the message takes up on a page."""
        return weight(self.text.length)


def weight(length: int) -> int:
    """Return the weight of a message whose text has `length` characters."""
    return 500 + min(length, DISPLAY_LENGTH)


def read_messages(history: Iterable[ChatMessage], first: int = 1) -> list[Message]:
    """Number the messages of a history and group them into exchanges, without parsing them.

    If they are from the middle of a history, `first` is the number of the first one.
    """
    messages: list[Message] = []
    exchange = Exchange()
    for number, message in enumerate(history, start=first):
        if message.role == "assistant" or not messages:
            exchange = Exchange()
        messages.append(Message(number, message.role, Text(message.content), exchange))
        exchange.messages.append(messages[-1])
    return messages


class LargeMessages(Sequence[Message]):
    """The messages of a large history, which are read when a slice of them is taken.

    Exchanges of more than MAX_CONTEXT before or after a slice are cut off: its results of calls
    that are not read are displayed by themselves.
    """

    def __init__(self, history: LargeHistory) -> None:
        self._history = history

    def __len__(self) -> int:
        return len(self._history.layout)

    @property
    def weights(self) -> Iterator[int]:
        return map(weight, self._history.layout.lengths)

    @property
    def may_hold_results(self) -> Iterator[bool]:
        return map(bool, self._history.layout.may_hold_results)

    @overload
    def __getitem__(self, index: int) -> Message: ...
    @overload
    def __getitem__(self, index: slice) -> list[Message]: ...
    def __getitem__(self, index: int | slice) -> Message | list[Message]:
        if isinstance(index, slice):
            first, last, _ = index.indices(len(self))
            start, end = self._exchanges(first, max(first, last))
            messages = read_messages(self._history.read(start, end), start + 1)
            return messages[first - start : max(first, last) - start]
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self[index : index + 1][0]

    def _exchanges(self, first: int, last: int) -> tuple[int, int]:
        """Return where the exchanges of these messages begin and end."""
        layout = self._history.layout
        starts, is_assistant = layout.starts, layout.is_assistant
        start, end = is_assistant.rfind(1, 0, first + 1), is_assistant.find(1, last)
        if start < 0 or starts[first] - starts[start] > MAX_CONTEXT:
            start = first
        limit = bisect_right(starts, starts[last] + MAX_CONTEXT) - 1
        return start, min(limit, len(layout) if end < 0 else end)


class Thread:
    """A task with its message histories, or the reasons why they cannot be read."""

    def __init__(self, record: TaskRecord) -> None:
        self.record = record

    @cached_property
    def title(self) -> str:
        """The title of the latest request, or "" if there is none."""
        requests = (m for m in reversed(self.messages) if m.role == "user" and not m.is_tool_output)
        return next(filter(None, (message_title(m.text.whole) for m in requests)), "")

    @cached_property
    def messages(self) -> Sequence[Message]:
        """The messages of the execution history, or [] if it cannot be read (see `problem`)."""
        if self._large:
            return LargeMessages(self._large)
        return [] if self.problem else read_messages(self.record.execution_history)

    def read_all(self) -> Iterable[ChatMessage]:
        """Return all stored messages. If they are many, they are decoded one by one."""
        if not self._large:
            return [] if self.problem else self.record.execution_history
        rows = TaskRecord.objects.filter(pk=self.record.pk).with_raw_text(large_history.COLUMN)
        return read_history(rows.get().execution_history_json)

    @property
    def weights(self) -> Iterable[int]:
        """The weights of all messages, in their order."""
        messages = self.messages
        if isinstance(messages, LargeMessages):
            return messages.weights
        return (message.weight for message in messages)

    @property
    def may_hold_results(self) -> Iterable[bool]:
        """For each message, whether it may be displayed with calls in an earlier one."""
        messages = self.messages
        if isinstance(messages, LargeMessages):
            return messages.may_hold_results
        return (message.may_hold_results for message in messages)

    def checkpoints(self, steps: Sequence[Outline]) -> dict[int, TaskCheckpoint]:
        """Return the checkpoints of these steps by id, and only the start of very large ones."""
        rows = TaskCheckpoint.objects.in_bulk([s.id for s in steps if not s.is_too_large])
        if large := [step.id for step in steps if step.is_too_large]:
            rows |= TaskCheckpoint.objects.with_items_start(DISPLAY_LENGTH + MARGIN).in_bulk(large)
        return rows

    def checkpoints_since(self, first: int) -> dict[int, TaskCheckpoint]:
        """Return the task's checkpoints from this one on by id, without their notes."""
        rows = TaskCheckpoint.objects.filter(task_id=self.record.task_id, id__gte=first)
        return rows.defer("checkpoint_note").in_bulk()

    @cached_property
    def _large(self) -> LargeHistory | None:
        """The execution history, if it is large, and written so that parts of it can be read."""
        if large_history.MIN_SIZE < self.length <= settings.MAX_HISTORY_SIZE:
            with suppress(ValueError):
                return LargeHistory(self.record)
        return None

    @property
    def length(self) -> int:
        """The size of the execution history in bytes, or 0 if the query did not measure it.

        A query that does not measure histories must itself exclude histories that are too large.
        """
        return getattr(self.record, "history_length", None) or 0

    @property
    def resumable_length(self) -> int:
        """The size of the resumable history in bytes, or 0 if the query did not measure it."""
        return getattr(self.record, "resumable_length", None) or 0

    @property
    def is_too_large(self) -> bool:
        """Whether the execution history is too large to read into memory."""
        return self.length > settings.MAX_HISTORY_SIZE

    @property
    def is_resume_too_large(self) -> bool:
        return self.resumable_length > settings.MAX_HISTORY_SIZE

    @cached_property
    def problem(self) -> str:
        """Why the execution history cannot be read, or "" if it can."""
        return "" if self._large else _problem(self.length, lambda: self.record.execution_history)

    @cached_property
    def resume_problem(self) -> str:
        """Why the resumable history cannot be read, or "" if it can."""
        return _problem(self.resumable_length, lambda: self.record.resumable_history)

    @cached_property
    def resumable_turns(self) -> list[ChatMessage]:
        """The turns that the agent would resume the thread with, or [] if they cannot be read."""
        return [] if self.resume_problem else resumable_turns_from_task_record(self.record)

    @property
    def raw(self) -> Text:
        """The execution history exactly as stored, or only its start if it is too large."""
        if self.is_too_large:
            start = str(self.record.history_start)  # type: ignore[attr-defined]
            return Text(start, LARGE_HISTORY_DISPLAY)
        return Text(str(as_text(self.record.execution_history_json)))


def _problem(length: int, read: Callable[[], object]) -> str:
    if length > settings.MAX_HISTORY_SIZE:
        limit = format_size(settings.MAX_HISTORY_SIZE)
        return f"it is {format_size(length)}, and the limit is {limit}"
    try:
        read()
    except (TypeError, ValueError) as error:
        return str(error)
    return ""
