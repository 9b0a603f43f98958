"""Matches a task's steps with the messages that requested their tool calls."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from tasks.transcript.history import Message
from tasks.transcript.steps import Step
from tasks.transcript.tool_calls import Call


def messages_by_step(
    steps: Sequence[Step], messages: Iterable[Message], *, are_last: bool
) -> dict[int, Message]:
    """Map each step's checkpoint id to the message that requested the step's tool calls.

    The history keeps only what the model still sees, so some steps have no message. Because calls
    may be repeated, steps are matched from the end. If `steps` are not the task's last steps, a
    step is matched only if exactly one message requested its calls.
    """
    candidates_of: dict[bytes, list[Message]] = defaultdict(list)
    for message in messages:
        if message.calls:
            candidates_of[_key(message.calls)].append(message)
    matches: dict[int, Message] = {}
    limit: float = math.inf
    for step in reversed(steps):
        candidates = candidates_of.get(_key(step.calls), [])
        while candidates and candidates[-1].number >= limit:
            candidates.pop()
        if candidates and (are_last or len(candidates) == 1):
            message = matches[step.checkpoint.id] = candidates.pop()
            limit = message.number
    return matches


def steps_by_message(steps: Sequence[Step], messages: Iterable[Message]) -> dict[int, Step]:
    """Map the number of each message to the step that recorded the message's tool calls.

    `steps` must be the task's last steps, and `messages` its entire history.
    """
    matches = messages_by_step(steps, messages, are_last=True)
    return {matches[s.checkpoint.id].number: s for s in steps if s.checkpoint.id in matches}


def fill_outcomes(message: Message, step: Step) -> None:
    """Use the recorded step to fill in outcomes and outputs that the message's calls lack."""
    message.exchange.pair()
    for call, recorded in zip(message.calls, step.calls, strict=True):
        if call.success is None:
            call.success = recorded.success
        if call.output is None:
            call.output = recorded.output


def _key(calls: Iterable[Call]) -> bytes:
    return msgspec.json.encode([(c.tool_name, c.arguments) for c in calls], order="sorted")
