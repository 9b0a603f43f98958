"""Tests for matching each step to the message that requested it."""

import json

from tasks.messages import ChatMessage
from tasks.models import TaskCheckpoint
from tasks.transcript.history import read_messages
from tasks.transcript.step_messages import messages_by_step
from tasks.transcript.steps import Outline, Step


def step(id: int, *commands: str) -> Step:
    items = [
        {"tool_name": "shell", "arguments": {"b": c, "a": 1}, "success": True, "output": ""}
        for c in commands
    ]
    row = TaskCheckpoint(id=id, step_index=id, items_json=json.dumps(items))
    return Step(Outline(id, id, 1, "shell", False, "ok", 9, None, None), row, None)


def asks(*commands: str) -> ChatMessage:
    calls = [json.dumps({"name": "shell", "arguments": {"a": 1, "b": c}}) for c in commands]
    return ChatMessage("assistant", "So." + "".join(f"<tool_call>{c}</tool_call>" for c in calls))


def numbers(steps: list[Step], history: list[ChatMessage], *, are_last: bool = True) -> dict:
    matches = messages_by_step(steps, read_messages(history), are_last=are_last)
    return {id: message.number for id, message in matches.items()}


def test_step_matches_the_message_that_requested_its_calls():
    history = [ChatMessage("user", "go"), asks("ls"), ChatMessage("user", "ok"), asks("a", "b")]

    assert numbers([step(1, "ls"), step(2, "a", "b")], history) == {1: 2, 2: 4}


def test_step_that_the_history_lacks_has_no_message():
    assert numbers([step(1, "gone"), step(2, "ls"), step(3)], [asks("ls")]) == {2: 1}


def test_repeated_calls_are_matched_from_the_end():
    history = [asks("ls"), asks("ls"), asks("pwd"), asks("ls")]

    assert numbers([step(1, "ls"), step(2, "pwd"), step(3, "ls")], history) == {1: 2, 2: 3, 3: 4}


def test_earlier_steps_match_only_calls_requested_once():
    history = [asks("ls"), asks("pwd"), asks("ls")]

    assert numbers([step(1, "ls"), step(2, "pwd")], history, are_last=False) == {1: 1, 2: 2}
    assert numbers([step(1, "ls")], history, are_last=False) == {}
