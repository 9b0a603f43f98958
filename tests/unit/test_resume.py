"""Tests for the resume tab, which shows the turns that an agent would continue from."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.messages import ChatMessage
from tasks.models import TaskRecord
from tasks.sanitization import resumable_turns_from_task_record
from tasks.transcript import resume
from tests.support.factories import data
from tests.support.tables import failures

contents = st.sampled_from(
    [
        "",
        "hi",
        "a <tool>b</tool> c",
        "<tool_call>{}</tool_call>",
        "<invoke>[1]",
        "<tool>",
        "x\n\n\ny",
    ]
)
roles = st.sampled_from(["user", "assistant", "system", "tool", ""])
histories = st.lists(st.builds(ChatMessage, roles, contents), max_size=12)


def expected(history: list[ChatMessage]) -> list[ChatMessage]:
    record = TaskRecord()
    record.resumable_history = history
    return resumable_turns_from_task_record(record)


def displayed(history: list[ChatMessage]) -> list[ChatMessage]:
    return [turn.message for turn in resume.build_turns(history) if turn.message is not None]


@given(histories)
def test_turns_are_what_the_agent_gets(history: list[ChatMessage]):
    assert displayed(history) == expected(history)


def test_turns_equal_those_of_the_original():
    table = []
    for case in data("turns.json"):
        history = [ChatMessage(**m["data"]) for m in case["history"] if m["type"] == "Chat"]
        table.append((history, [ChatMessage(**turn) for turn in case["expected"]]))

    assert failures(displayed, table) == []


@given(histories)
def test_every_stored_message_is_a_source_once_and_whole(history: list[ChatMessage]):
    sources = [source for turn in resume.build_turns(history) for source in turn.sources]

    assert [source.message for source in sources] == history
    assert ["".join(segment.text for segment in source.segments) for source in sources] == [
        message.content for message in history
    ]


def test_tool_calls_are_removed_segments():
    [_, turn] = resume.build_turns(
        [ChatMessage("user", "go"), ChatMessage("assistant", "a<tool>b</tool>c<invoke>[1] d")]
    )

    [source] = turn.sources
    assert [(segment.text, segment.is_removed) for segment in source.segments] == [
        ("a", False),
        ("<tool>b</tool>", True),
        ("c", False),
        ("<invoke>[1] ", True),
        ("d", False),
    ]
    assert turn.is_changed


@pytest.mark.parametrize(
    ("role", "content", "reason"),
    [
        ("assistant", "hello", "no user turn before it"),
        ("assistant", "<tool></tool>", "only tool calls"),
        ("system", "hello", "messages with role system are not sent"),
        ("", "hello", "messages with role (none) are not sent"),
    ],
)
def test_dropped_message_has_a_reason(role: str, content: str, reason: str):
    [turn] = resume.build_turns([ChatMessage(role, content)])

    assert (turn.message, [source.drop_reason for source in turn.sources]) == (None, [reason])
    assert all(segment.is_removed for source in turn.sources for segment in source.segments)


def test_turn_of_one_unchanged_message_is_not_changed():
    [turn] = resume.build_turns([ChatMessage("user", "hello")])

    assert not turn.is_changed
    assert turn.sources[0].text is not None


def test_long_message_is_cut():
    [turn] = resume.build_turns([ChatMessage("user", "x" * 30_000)])

    [source] = turn.sources
    assert (len(turn.text.display), len(source.segments[0].text)) == (20_000, 20_000)
    assert turn.text.is_cut and source.is_cut
