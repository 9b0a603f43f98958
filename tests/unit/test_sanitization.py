"""Tests that tool calls are removed as in the original program, even from hostile text."""

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.messages import (
    AssistantToolCalls,
    Chat,
    ChatMessage,
    ConversationMessage,
    ToolCallRequest,
    ToolResult,
    ToolResults,
)
from tasks.sanitization import (
    conversation_messages_to_resumable_turns,
    normalize_resumable_turns,
    resumable_turns_from_task_record,
    resumable_turns_to_conversation_messages,
    strip_tool_call_tags,
)

DATA = Path(__file__).parents[1] / "data"
TAG_NAMES = (
    "function_calls",
    "function_call",
    "tool_call",
    "toolcall",
    "tool-call",
    "tool",
    "invoke",
)


def _vectors(name: str) -> list[dict[str, Any]]:
    return msgspec.json.decode((DATA / name).read_bytes(), type=list[dict[str, Any]])


def _turns(*pairs: tuple[str, str]) -> list[ChatMessage]:
    return [ChatMessage(role=role, content=content) for role, content in pairs]


def _nested(depth: int) -> str:
    return "[" * depth + "]" * depth


# Test vectors from the original program


def test_strip_equals_the_original() -> None:
    for vector in _vectors("sanitize.json"):
        assert strip_tool_call_tags(vector["text"]) == vector["expected"], vector["text"]


def test_turns_equal_the_original() -> None:
    for vector in _vectors("turns.json"):
        history = msgspec.convert(vector["history"], list[ConversationMessage])
        turns = conversation_messages_to_resumable_turns(history)
        assert msgspec.to_builtins(turns) == vector["expected"], vector["history"]


# Tags


@pytest.mark.parametrize("name", TAG_NAMES)
def test_strip_removes_a_call_up_to_its_own_close_tag(name: str) -> None:
    assert strip_tool_call_tags(f"a <{name}>x</other>y</{name}> b") == "a  b"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("<tool>{} a</tool> b <tool>c", "b <tool>c"),
        ("<tool>{}</invoke> </x>\u3000</y> a", "a"),
        ("<tool>{}</invoke a", ""),
        ("<tool>{}< /tool> a", "< /tool> a"),
        ("<to<tool></tool>ol>{} a", "<tool>{} a"),
        ("<TOOL>{}</TOOL>", "<TOOL>{}</TOOL>"),
        ("</tool><tool>a", "</tool><tool>a"),
        ("a\n<tool></tool>\n\n\nb", "a\n\nb"),
        ('<tool>["<invoke>", {} <invoke>{} a', "a"),
    ],
)
def test_strip_at_tags(message: str, expected: str) -> None:
    assert strip_tool_call_tags(message) == expected


@pytest.mark.parametrize("space", "\t\v\f \x85\xa0\u1680\u2000\u200a\u2028\u2029\u202f\u205f\u3000")
def test_strip_trims_unicode_white_space(space: str) -> None:
    assert strip_tool_call_tags(f"{space}a{space}b{space}") == f"a{space}b"


@pytest.mark.parametrize("other", "\x00\x1c\x1d\x1e\x1f\u180e\u200b\ufeff")
def test_strip_keeps_what_is_not_white_space(other: str) -> None:
    assert strip_tool_call_tags(f" {other}a{other} ") == f"{other}a{other}"


# JSON is parsed the way Rust's serde_json parses it


@pytest.mark.parametrize(
    "container",
    [
        "[]",
        "{\t}",
        '{"a":1,"a":[true , false,null]}',
        '["\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83D\\uDE00 \x7f\x85\U0001f600"]',
        "[0,-0,1.5,-1.5e-5,1E+5]",
        "[0e999]",
        "[0.0e99999999999]",
        "[1e-99999999999]",
        "[1e308]",
        "[1.7976931348623157e308]",
        f"[1{'0' * 308}]",
        f"[0.{'0' * 400}1e708]",
        f"[0.{'0' * 400}10e401]",
        f"[1{'0' * 400}e-100]",
        f"[1{'0' * 400}e-{'9' * 5000}]",
        f"[1e{'0' * 5000}5]",
        _nested(127),
    ],
)
def test_strip_removes_json_that_parses(container: str) -> None:
    assert strip_tool_call_tags(f"<tool> text {container}</x> after") == "after"


@pytest.mark.parametrize(
    "container",
    [
        "[",
        "[}",
        "{]",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[\xa01]",
        '{"a":1,}',
        '{"a"}',
        "{a:1}",
        "{1:1}",
        '["a\nb"]',
        '["\\x"]',
        '["\\ud800"]',
        '["\\ud800\\u0041"]',
        '["\\udc00\\ud800"]',
        '["\\u00g0"]',
        "[NaN]",
        "[Infinity]",
        "[True]",
        "[truee]",
        "[01]",
        "[-]",
        "[+1]",
        "[.5]",
        "[1.]",
        "[1e]",
        "[18446744073709551616.]",
        "[1e999]",
        "[17976931348623156391e289]",  # in range, but the original rounds twice and overflows
        "[17976931348623156507992e286]",  # in range, but the original truncates to 20 digits first
        "[-1e309]",
        "[1e99999999999]",
        f"[1e{'9' * 5000}]",
        "[1.7976931348623159e308]",
        "[17976931348623158e292]",  # in range, but overflows in the original, which rounds twice
        f"[1{'0' * 309}]",
        f"[{'9' * 400}e-5]",
        f"[0.{'0' * 400}1e710]",
    ],
)
def test_strip_keeps_json_that_does_not_parse(container: str) -> None:
    message = f"<tool>{container} after"
    assert strip_tool_call_tags(message) == message


@pytest.mark.parametrize(
    ("json_text", "rest"),
    [
        ("[1, [2] x", "x"),
        ('["a [3] b", {"c": 1e999}, [4] x', 'b", {"c": 1e999}, [4] x'),
        (_nested(128) + "x", "]x"),
        (_nested(300) + "x", "]" * 173 + "x"),
        (f'[{_nested(127)}, {{"a":[]}}] x', ', {"a":[]}] x'),
    ],
)
def test_strip_finds_json_inside_text_that_does_not_parse(json_text: str, rest: str) -> None:
    assert strip_tool_call_tags(f"<tool>{json_text}") == rest


def test_strip_counts_the_depth_of_each_branch() -> None:
    deep = _nested(130)
    assert strip_tool_call_tags(f"<tool>[[[]],{deep}]") == f",{deep}]"


# Random text, compared with a simple but slow reference implementation

_PIECES = st.sampled_from(
    [f"<{slash}{name}>" for name in TAG_NAMES for slash in ("", "/")]
    + ["<tool>"] * 14
    + list('[]{}",:\\ \n\r\t\x1c\x85\u3000<>/-.e015a\xe9\U0001f600')
    + ['"a":', "[1,", '{"a":', '["', "[]", "{}", '\\"', "\\ud83d", "\\ude00", "true", "1e400"]
)


def _reference(message: str) -> str:
    white_space = "".join(
        filter(str.isspace, map(chr, {*range(0x3001)} - {0x1C, 0x1D, 0x1E, 0x1F}))
    )
    cleaned, rest = "", message
    while tags := [(rest.find(f"<{name}>"), name) for name in TAG_NAMES if f"<{name}>" in rest]:
        start, name = min(tags)
        inside = rest[start + len(name) + 2 :]
        if f"</{name}>" in inside:
            after = inside.partition(f"</{name}>")[2]
        elif (end := _reference_json_end(inside)) is not None:
            after = inside[end:].lstrip(white_space)
            while after.startswith("</"):
                after = after.partition(">")[2].lstrip(white_space)
        else:
            break
        cleaned, rest = cleaned + rest[:start], after
    cleaned += rest
    while "\n\n\n" in cleaned:
        cleaned = cleaned.replace("\n\n\n", "\n\n")
    return cleaned.strip(white_space)


def _reference_json_end(text: str) -> int | None:
    for start, character in enumerate(text):
        if character in "[{":
            try:
                value, end = _JSON.raw_decode(text, start)
                json.dumps(value, ensure_ascii=False).encode()  # fails on lone surrogates
            except ValueError:
                continue
            return end
    return None


def _finite(number: str) -> float:
    if not math.isfinite(float(number)):
        raise ValueError(number)
    return float(number)


def _refuse(constant: str) -> None:
    raise ValueError(constant)


_JSON = json.JSONDecoder(
    object_pairs_hook=list, parse_float=_finite, parse_int=_finite, parse_constant=_refuse
)


@given(st.lists(_PIECES, max_size=40).map("".join))
def test_strip_equals_the_reference(message: str) -> None:
    assert strip_tool_call_tags(message) == _reference(message)


@given(st.text(st.characters(), max_size=30), st.lists(_PIECES, max_size=10).map("".join))
def test_strip_accepts_any_text(before: str, after: str) -> None:
    assert isinstance(strip_tool_call_tags(f"{before}<tool>{before}{after}{before}"), str)


# Hostile input

_HOSTILE = [
    ("", "<tool></tool>x"),
    ("", '<tool>{"a":1}'),
    ("", "<tool>["),
    ("", '<tool>{"a":'),
    ("", "<tool>\n "),
    ("", "<tool><invoke>{}"),
    ("", "<tool>" + "[" * 130 + "]" * 130),
    ("<tool>", "["),
    ("<tool>", '{"a":'),
    ("<tool>", '["'),
    ("<tool>", "[1,"),
    ("<tool>", "[[1]"),
    ("<tool>", '",[",['),
    ("<tool>", '[{"[":['),
    ("<tool>", '["[\\"",["'),
    ("<tool>", '["\\'),
    ("<tool>", '["a[\n'),
    ("<tool>", "[{},"),
    ("<tool>", "[1"),
    ("<tool>", "[[x"),
    ("<tool>", "[1e999,"),
    ("<tool>", "[ \n"),
    ("<tool>[", "1e308,"),
    ("<tool>[", "1"),
    ("<tool>[1e", "1"),
    ("<tool>[0.", "0"),
    ("<tool>[", '"<tool>",{},'),
    ('<tool>["', "\\ud83d\\ude00"),
    ('<tool>["', "\ud800["),
    ("<tool>{}", "</"),
    ("<tool>{}", "</a> "),
    ("</tool></invoke>", "<tool>{}<invoke>[]"),
    ("", "\n"),
    ("", "<"),
]


@pytest.mark.parametrize(("start", "repeated"), _HOSTILE)
def test_strip_takes_linear_time(start: str, repeated: str) -> None:
    short, long = (start + repeated * (size // len(repeated)) for size in (4_000, 32_000))
    assert _calls_made(long) <= 8.5 * _calls_made(short)


def _calls_made(message: str) -> int:
    """Count the function calls, including calls to built-ins, made while stripping a message."""
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    previous = sys.getprofile()
    sys.setprofile(count)
    try:
        strip_tool_call_tags(message)
    finally:
        sys.setprofile(previous)
    return calls


@pytest.mark.parametrize(("start", "repeated"), _HOSTILE)
def test_strip_finishes_within_the_test_run(start: str, repeated: str) -> None:
    # A slow regular expression is not visible in call counts, but would run for a minute here.
    message = start + repeated * (200_000 // len(repeated))
    assert len(strip_tool_call_tags(message)) <= len(message)


# Turns


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        ([], []),
        ([("assistant", "a"), ("system", "s")], []),
        ([("assistant", "a"), ("user", "b")], [("user", "b")]),
        ([("user", "a"), ("user", "b")], [("user", "a\n\nb")]),
        ([("user", "a"), ("tool", "t"), ("user", "b")], [("user", "a\n\nb")]),
        ([("user", ""), ("user", "b"), ("user", "")], [("user", "b")]),
        ([("user", ""), ("user", "")], [("user", "")]),
        (
            [("user", "a"), ("assistant", "b"), ("assistant", "c"), ("user", "d"), ("user", "e")],
            [("user", "a"), ("assistant", "b\n\nc"), ("user", "d\n\ne")],
        ),
    ],
)
def test_normalize_makes_turns_alternate(
    turns: list[tuple[str, str]], expected: list[tuple[str, str]]
) -> None:
    assert normalize_resumable_turns(_turns(*turns)) == _turns(*expected)


def test_normalize_does_not_change_its_input() -> None:
    turns = _turns(("user", "a"), ("user", "b"), ("assistant", "c"))
    normalized = normalize_resumable_turns(turns)
    normalized[1].content = "changed"
    assert turns == _turns(("user", "a"), ("user", "b"), ("assistant", "c"))


def test_turns_of_a_task_record_have_no_tool_calls() -> None:
    @dataclass
    class Record:
        resumable_history: list[ChatMessage]

    history = _turns(
        ("system", "be brief"),
        ("user", " list <tool>{}</tool> "),
        ("assistant", " <tool>{}</tool> \n"),
        ("tool", "ok"),
        ("assistant", "Done. <tool>{}</tool>"),
    )
    expected = _turns(("user", " list <tool>{}</tool> "), ("assistant", "Done."))
    assert resumable_turns_from_task_record(Record(history)) == expected


def test_turns_of_a_conversation_are_its_chat_messages() -> None:
    history: list[ConversationMessage] = [
        Chat(data=ChatMessage(role="user", content="a")),
        AssistantToolCalls(data=ToolCallRequest(text="calling", tool_calls=[])),
        ToolResults(data=[ToolResult(tool_call_id="1", content="ok")]),
        Chat(data=ChatMessage(role="assistant", content="<tool>[1] b")),
    ]
    expected = _turns(("user", "a"), ("assistant", "b"))
    assert conversation_messages_to_resumable_turns(history) == expected


def test_turns_become_chat_messages() -> None:
    turns = _turns(("user", "a"), ("assistant", "b"))
    messages = resumable_turns_to_conversation_messages(turns)
    assert messages == [Chat(data=turns[0]), Chat(data=turns[1])]
