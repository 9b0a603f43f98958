"""Tests for finding tool calls and their results in messages."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.messages import ChatMessage
from tasks.transcript import tool_calls
from tasks.transcript.history import Message, read_messages
from tasks.transcript.text_preview import Output, Text
from tasks.transcript.tool_calls import MAX_CALLS, Broken, Call, Result
from tests.support.tool_calls import LS, RESULTED, ROLES, TAGGED

NAMES = ["function_calls", "function_call", "toolcall", "tool_call", "tool-call", "tool", "invoke"]
SHELL = Call("shell", {"command": "ls"})


def read(*history: tuple[str, str]) -> list[Message]:
    return read_messages(ChatMessage(role, content) for role, content in history)


def results(*outputs: str, name: str = "shell", status: str = "ok") -> str:
    tags = [f'<tool_result name="{name}" status="{status}">\n{o}\n</tool_result>' for o in outputs]
    return "\n".join(["[Tool results]", *tags])


@pytest.mark.parametrize("name", NAMES)
def test_call_in_each_tag(name: str):
    parts = tool_calls.parse_tagged(f"I look.\n<{name}>\n{LS}\n</{name}>\nThen more.")

    assert parts == [Text("I look."), SHELL, Text("Then more.")]


@pytest.mark.parametrize(
    "stored",
    [
        '{"name":"shell","arguments":"{\\"command\\":\\"ls\\"}"}',
        '{"name":"shell","parameters":{"command":"ls"}}',
        '{"function":{"name":"shell","arguments":{"command":"ls"}}}',
        f"[{LS}]",
    ],
)
def test_call_in_other_json_forms(stored: str):
    assert tool_calls.parse_tagged(f"<tool>{stored}</tool>") == [SHELL]


def test_element_may_hold_several_calls():
    assert tool_calls.parse_tagged(f"<function_calls>[{LS},{LS}]</function_calls>") == [
        SHELL,
        SHELL,
    ]


def test_calls_inside_another_element():
    message = f"<function_calls>\n<invoke>{LS}</invoke>\n<invoke>{LS}</invoke>\n</function_calls>"

    assert tool_calls.parse_tagged(message) == [SHELL, SHELL]


def test_elements_may_nest_to_any_depth():
    assert len(tool_calls.parse_tagged("".join(f"<{name}>" for name in NAMES * 9_000) + LS)) == 1
    nested = "".join(f"<{n}>" for n in NAMES) + LS + "".join(f"</{n}>" for n in reversed(NAMES))
    assert tool_calls.parse_tagged(nested) == [SHELL]


def test_call_without_an_end_tag_ends_with_its_json():
    assert tool_calls.parse_tagged(f"<tool_call>{LS} and so on") == [SHELL, Text("and so on")]


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        ("<tool_call>no json</tool_call>", "tool call is not valid JSON"),
        ("<tool_call></tool_call>", "tool call is not valid JSON"),
        ('<tool_call>{"name":"x"</tool_call>', "tool call is not valid JSON"),
        ('<tool_call>{"a":1}</tool_call>', "tool call has no name"),
        ("<tool_call>[]</tool_call>", "tool call has no name"),
        ('<tool_call>{"name":3}</tool_call>', "tool call has no name"),
        ("<tool_call>never ends", "tool call is not closed"),
        ("<tool>" + "[" * 5_000 + "]" * 5_000 + "</tool>", "tool call is not valid JSON"),
    ],
)
def test_malformed_call_is_kept_as_text(message: str, problem: str):
    assert tool_calls.parse_tagged(message) == [Broken(Text(message), problem)]


def test_excess_calls_are_kept_as_text():
    one = f"<tool>{LS}</tool>"

    *parts, rest = tool_calls.parse_tagged(one * (MAX_CALLS + 2))

    assert parts == [SHELL] * MAX_CALLS
    assert isinstance(rest, Broken) and rest.text.whole == one * 2


def test_result_is_paired_with_its_call():
    request, response = read(("assistant", f"<tool>{LS}</tool>"), ("user", results("a.py")))

    [call] = request.parts
    assert isinstance(call, Call) and call.output == Output("a.py")
    assert (call.success, call.result_number, call.anchor) == (True, 2, "message-1-call-1")
    assert (response.call_number, response.orphaned_results, response.is_absorbed) == (1, [], True)


def test_results_are_paired_by_tool_name_in_order():
    request, _ = read(
        ("assistant", f'<tool>{LS}</tool><tool>{{"name":"read"}}</tool><tool>{LS}</tool>'),
        ("user", results("one", "two") + results("three", name="read", status="error")[14:]),
    )

    calls = [part for part in request.parts if isinstance(part, Call)]
    assert [(c.output and c.output.whole, c.success) for c in calls] == [
        ("one", True),
        ("three", False),
        ("two", True),
    ]


def test_result_may_contain_an_end_tag():
    request, _ = read(
        ("assistant", f"<tool>{LS}</tool>"), ("user", results("a </tool_result>\nb <tool_result>"))
    )

    [call] = request.parts
    assert isinstance(call, Call) and call.output == Output("a </tool_result>\nb <tool_result>")


@pytest.mark.parametrize(
    ("message", "orphaned"),
    [
        ("[Tool results]", []),
        (results("x"), [("shell", "x", "")]),
        ("[Tool results]\nstopped", [("", "stopped", "text outside of results")]),
        (
            '[Tool results]\n<tool_result name="shell">\nx',
            [("shell", "x", "result is not closed")],
        ),
        (results("x") + "\nmore", [("shell", "x", ""), ("", "more", "text outside of results")]),
    ],
)
def test_result_without_a_call_is_orphaned(message: str, orphaned: list[tuple[str, str, str]]):
    _, response = read(("assistant", "nothing called"), ("user", message))

    fields = [(r.tool_name, r.output, r.problem) for r in response.orphaned_results]
    assert (fields, response.call_number) == (orphaned, None)


def test_excess_results_are_kept_as_text():
    [response] = read(("user", results(*["x"] * (MAX_CALLS + 5))))

    assert len(response.orphaned_results) == MAX_CALLS + 1
    assert response.orphaned_results[-1].output.count("<tool_result ") == 5


def native(*calls: dict, content: str | None = None, reasoning: str | None = None) -> str:
    return json.dumps({"content": content, "tool_calls": calls, "reasoning_content": reasoning})


def native_call(id: str) -> dict:
    return {"id": id, "name": "shell", "arguments": '{"command":"ls"}'}


def test_native_results_are_paired_by_id():
    request, second, first = read(
        (
            "assistant",
            native(native_call("a"), native_call("b"), content="I look.", reasoning="Hm."),
        ),
        ("tool", '{"tool_call_id":"b","content":"two"}'),
        ("tool", '{"tool_call_id":"a","content":"one"}'),
    )

    text, *calls = request.parts
    assert (text, request.reasoning) == (Text("I look."), Text("Hm."))
    outputs = [(c.tool_name, c.output, c.result_number) for c in calls if isinstance(c, Call)]
    assert outputs == [("shell", Output("one"), 3), ("shell", Output("two"), 2)]
    assert (first.call_number, second.call_number) == (1, 1)


@pytest.mark.parametrize(
    ("message", "output"),
    [
        ('{"tool_call_id":"z","content":"x"}', "x"),
        ('{"tool_call_id":"a"}', '{"tool_call_id":"a"}'),
        ('{"tool_call_id":1,"content":"x"}', '{"tool_call_id":1,"content":"x"}'),
        ("plain", "plain"),
        ('{"broken', '{"broken'),
        ("", ""),
    ],
)
def test_native_result_without_a_call_is_orphaned(message: str, output: str):
    _, response = read(("assistant", native(native_call("a"))), ("tool", message))

    assert [result.output for result in response.orphaned_results] == [output]


def test_native_call_keeps_arguments_that_are_not_json():
    [request] = read(("assistant", native({"id": "a", "name": "shell", "arguments": "{oops"})))

    assert request.parts == [Call("shell", "{oops", id="a", anchor="message-1-call-1")]


def test_native_call_without_a_name_is_kept_as_text():
    [request] = read(("assistant", native({"id": "a"})))

    assert request.parts == [Broken(Text('{"id":"a"}'), "tool call has no name")]


@pytest.mark.parametrize("text", ['{"tool_calls":1}', '{"tool_calls":', '{"a":"tool_calls"}', "{}"])
def test_other_json_is_text(text: str):
    [message] = read(("assistant", text))

    assert message.parts == [Text(text)]


def test_results_are_paired_within_their_exchange():
    history = read(
        ("assistant", f"<tool>{LS}</tool>"),
        ("assistant", "no call"),
        ("user", results("late")),
    )

    assert [result.output for result in history[2].orphaned_results] == ["late"]


def _text(part: tool_calls.Part) -> str:
    if isinstance(part, Call):
        return part.tool_name
    return part.whole if isinstance(part, Text) else part.text.whole


@given(TAGGED)
def test_parts_lose_no_text(message: str):
    text = "".join(map(_text, tool_calls.parse_tagged(message)))

    assert text.count("x") >= message.replace(LS, "").count("x")


@given(st.lists(st.tuples(ROLES, TAGGED | RESULTED | st.text())))
def test_any_history_can_be_parsed(history: list[tuple[str, str]]):
    for message in read(*history):
        assert isinstance(message.parts, list)
        for result in message.results:
            assert isinstance(result, Result)
            assert result.call_number is None or result.call_number < message.number
