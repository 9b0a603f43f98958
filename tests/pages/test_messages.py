"""Tests of how messages and tool calls are rendered."""

import json
import re

import pytest
from django.http import HttpRequest
from django.template.loader import render_to_string
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.messages import ChatMessage
from tasks.models import TaskRecord
from tasks.transcript.history import read_messages
from tasks.transcript.text_preview import Output
from tasks.transcript.tool_calls import Call
from tasks.views.thread_page import ThreadPage
from tests.support.markup import PAYLOADS, Markup
from tests.support.tool_calls import RESULTED, ROLES, TAGGED

LS = '<tool_call>{"name":"shell","arguments":{"command":"ls"}}</tool_call>'
RESULT = '[Tool results]\n<tool_result name="shell" status="error">\nno\n</tool_result>'

ELEMENTS = {
    *("article", "div", "header", "section", "details", "summary", "dl", "dt", "dd", "p", "i", "b"),
    *("a", "span", "button", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote"),
    *("ul", "ol", "li", "strong", "em", "s", "code", "pre", "table", "thead", "tbody", "tr"),
    *("th", "td", "svg", "use"),
}
ATTRIBUTES = {
    *("class", "id", "href", "rel", "title", "type", "data-copy", "role", "aria-label"),
    *("aria-hidden", "data-part", "dir", "start"),
}


def pages(*history: tuple[str, str]) -> list[str]:
    """Return the rendered HTML of each message in a history."""
    record = TaskRecord(task_id="t", thread_id="t 1")
    messages = read_messages(ChatMessage(*message) for message in history)
    context = {"page": ThreadPage(HttpRequest(), record, "/thread/?id=t%201")}
    return [
        render_to_string("tasks/thread/_message.html", context | {"message": message})
        for message in messages
    ]


def text(html: str) -> str:
    return " ".join("".join(Markup(html).texts).split())


def call(name: str, arguments: object) -> str:
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


def test_message_links_to_itself_and_to_its_raw_text():
    [html] = pages(("user", "hi"))

    assert 'id="message-1"' in html and 'href="/thread/?id=t%201&amp;message=1#message-1"' in html
    assert 'href="/thread/message/?id=t%201&amp;task=t&amp;message=1"' in html
    assert 'data-copy="#message-1-text"' in html and 'id="message-1-text"' in html


def test_system_prompt_is_folded_with_its_size():
    [html] = pages(("system", "be brief\n" * 200))

    assert "<summary>System prompt (1.8 KB, 200 lines)</summary>" in html
    assert "<details>" in html


def test_result_is_displayed_in_its_call():
    request, _ = pages(("assistant", f"I look. {LS}"), ("user", RESULT))

    assert text(request) == "assistant #1 Raw I look. shell failed 2 B #2 Raw ls no"
    assert 'href="/thread/?id=t%201&amp;message=2#message-2"' in request


def test_results_with_and_without_a_call_are_displayed_separately():
    orphaned = RESULT.removeprefix("[Tool results]").replace("no", "orphaned")
    request, response = pages(("assistant", LS), ("user", RESULT + orphaned))

    assert text(request) == "assistant #1 Raw shell failed 2 B #2 ls no"
    assert text(response) == (
        "results #2 Raw Other results are shown with their calls in #1. "
        "shell failed no matching call 8 B orphaned"
    )


def test_broken_calls_and_orphaned_results_are_marked():
    broken, orphaned = pages(("assistant", "a <tool>{b</tool> c <tool>d"), ("user", RESULT))

    assert text(broken) == (
        "assistant #1 Raw a tool call is not valid JSON <tool>{b</tool> c "
        "tool call is not closed <tool>d"
    )
    assert text(orphaned) == "results #2 Raw shell failed no matching call 2 B no"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"command": "ls -l", "cwd": "/"}, "t no result ls -l cwd /"),
        ({"path": "a", "old_string": "b", "new_string": "c"}, "t a no result -b+c"),
        ({"path": "a", "content": "b"}, "t a no result b"),
        ("lone", "t no result lone"),
        ({"a": {"b": 1}}, 't no result a { "b": 1 }'),
        ({}, "t no result"),
    ],
)
def test_arguments_are_displayed_by_kind(arguments: object, expected: str):
    [html] = pages(("assistant", call("t", arguments)))

    assert text(html) == f"assistant #1 Raw {expected}"


def test_long_output_is_folded_and_links_to_the_rest():
    output = "line\n" * 6_000
    request, response = pages(
        ("assistant", LS), ("user", RESULT.replace("\nno\n", f"\n{output}\n"))
    )

    assert "Show the first 20.0 KB of 30.0 KB, 6,000 lines" in request
    assert 'href="/thread/message/?id=t%201&amp;task=t&amp;message=2"' in request
    assert len(response) < 1_000


def test_output_of_a_file_read_is_highlighted():
    read = call("file_read", {"path": "a.py"})
    request, _ = pages(
        ("assistant", read),
        ("user", '[Tool results]\n<tool_result name="file_read">\nimport os\n</tool_result>'),
    )

    assert '<span class="h-keyword">import</span> os' in request


@pytest.mark.parametrize("evil", PAYLOADS)
def test_hostile_text_is_harmless_everywhere(evil: str):
    native = {
        "content": evil,
        "reasoning_content": evil,
        "tool_calls": [{"id": evil, "name": evil, "arguments": json.dumps({evil: evil})}],
    }
    messages = pages(
        (evil, evil),
        ("system", evil),
        ("user", evil),
        ("assistant", evil + call(evil, {"command": evil, evil: [evil]})),
        ("user", f'[Tool results]\n<tool_result name="{evil}">\n{evil}\n</tool_result>{evil}'),
        ("assistant", call(evil, {"path": evil, "old": evil, "new": evil + "\n"})),
        ("assistant", call(evil, {"path": evil + ".html", "content": evil, evil: {evil: evil}})),
        ("assistant", f"<tool>{evil}"),
        ("assistant", json.dumps(native)),
        ("tool", json.dumps({"tool_call_id": evil, "content": evil})),
        ("tool", evil),
    )

    assert_harmless("".join(messages))


def assert_harmless(html: str) -> None:
    for tag, attributes in Markup(html).elements:
        assert tag in ELEMENTS
        assert attributes.keys() <= ATTRIBUTES
        assert re.match(r"#|/thread/|https?://|mailto:", attributes.get("href") or "#")


@given(st.lists(st.tuples(ROLES | st.text(), TAGGED | RESULTED | st.text())))
@settings(max_examples=60, deadline=None)
def test_any_history_renders_a_harmless_page(history: list[tuple[str, str]]):
    assert_harmless("".join(pages(*history)))


def test_checkpoint_items_are_displayed_as_calls():
    items = [
        Call("shell", {"command": "ls"}, True, Output(""), anchor="step-5-call-1"),
        Call("shell", {"command": "ls"}, False, Output("no"), anchor="step-5-call-2"),
    ]
    html = "".join(render_to_string("tasks/thread/_call.html", {"call": call}) for call in items)

    assert text(html) == "shell ok no output ls shell failed 2 B ls no"
    assert re.findall(r'id="(step-5-call-\d)"', html) == ["step-5-call-1", "step-5-call-2"]


MANY = {
    "calls": [("assistant", LS * 10_000)],
    "arrays": [("assistant", f"<tool>[{','.join([LS[11:-12]] * 200)}]</tool>" * 100)],
    "open tags": [("assistant", "<tool_call>" * 100_000)],
    "results": [("assistant", LS), ("user", RESULT + RESULT[14:] * 10_000)],
    "brackets": [("assistant", "[" * 1_000_000)],
    "colors": [("tool", "\x1b[31ma\x1b[32m" * 100_000)],
    "control strings": [("tool", "\x1b]0;" * 250_000)],
    "redrawn": [("tool", "a\r" * 500_000)],
    "backspaces": [("tool", "a\b" * 500_000)],
    "unseen": [("user", "\u202e\u200b" * 500_000)],
    "table": [("assistant", "a|" * 50 + "\n" + "-|" * 50 + "\n" + "a\n" * 9_000)],
    "fields": [("assistant", call("t", {str(n): "x" * 9_000 for n in range(100)}))],
    "keys": [("assistant", call("t", dict.fromkeys(map(str, range(50_000)))))],
    "depth": [("assistant", '<tool>{"name":"t","arguments":' + "[" * 900 + "]" * 900 + "}</tool>")],
    "lines": [("assistant", call("t", {"old": "a\n" * 9_000, "new": "b\n" * 9_000}))],
    "quotes": [("user", ">" * 1_000_000)],
}


@pytest.mark.parametrize("history", MANY.values(), ids=MANY)
def test_page_size_is_bounded_for_hostile_histories(history: list[tuple[str, str]]):
    assert len("".join(pages(*history))) < 300_000


@pytest.mark.parametrize(("length", "is_part"), [(900, False), (30_000, True)])
def test_copy_button_of_truncated_text_is_marked(length: int, is_part: bool):
    [html] = pages(("user", "x" * length))

    assert ("data-part" in html) == is_part
