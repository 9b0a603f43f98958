"""Which message of a history a step came from: the one that asked for the same calls.

A step knows how its calls went, and a history need not: the agent writes most results without.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from tasks.transcript.history import Message
from tasks.transcript.steps import Step
from tasks.transcript.tool_calls import Call


def messages_of(
    steps: Sequence[Step], messages: Iterable[Message], *, to_the_end: bool
) -> dict[int, Message]:
    """The message of each step for which there is one, by the checkpoint's id.

    A history keeps what the model still sees, so some steps have none. Looked for from the end,
    as the same call may be made again; unless these are the last steps, only what was asked for
    once is sure.
    """
    asked = _by_calls(messages)
    found: dict[int, Message] = {}
    limit: float = math.inf
    for step in reversed(steps):
        candidates = asked.get(_key(step.items), [])
        while candidates and candidates[-1].number >= limit:
            candidates.pop()
        if candidates and (to_the_end or len(candidates) == 1):
            message = found[step.checkpoint.id] = candidates.pop()
            limit = message.number
    return found


def steps_of(steps: Sequence[Step], messages: Iterable[Message]) -> dict[int, Step]:
    """The step of each message for which there is one, by the message's number.

    These must be the last steps, and the messages those of the whole history.
    """
    found = messages_of(steps, messages, to_the_end=True)
    return {found[s.checkpoint.id].number: s for s in steps if s.checkpoint.id in found}


def tell_outcomes(step: Step, message: Message) -> None:
    """Tell the calls of a step's message how they went, where the history does not."""
    calls = [part for part in message.parts if isinstance(part, Call)]
    for call, item in zip(calls, step.items, strict=True):
        if call.success is None:
            call.success = item.success
        if call.output is None:
            call.output = item.output


def _by_calls(messages: Iterable[Message]) -> dict[bytes, list[Message]]:
    asked: dict[bytes, list[Message]] = defaultdict(list)
    for message in messages:
        if calls := [part for part in message.own_parts if isinstance(part, Call)]:
            asked[_key(calls)].append(message)
    return asked


def _key(calls: Iterable[Call]) -> bytes:
    return msgspec.json.encode([(c.tool_name, c.arguments) for c in calls], order="sorted")
