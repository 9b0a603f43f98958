import json
import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks import messages
from tasks.messages import (
    MAX_DEPTH,
    ChatMessage,
    ExecutionCheckpointItem,
    decode_history,
    decode_items,
    encode_history,
    encode_items,
    load_all_items,
    load_history,
    read_history,
)
from tests.support.factories import data, item

texts = st.text()
numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda children: st.lists(children) | st.dictionaries(texts, children),
    max_leaves=20,
)
histories = st.lists(st.builds(ChatMessage, role=texts, content=texts))
item_lists = st.lists(
    st.builds(
        ExecutionCheckpointItem,
        tool_name=texts,
        arguments=json_values,
        success=st.booleans(),
        output=texts,
    ),
    max_size=3,
)


def exactly(value: Any) -> str:
    """Return the repr, which distinguishes values that `==` considers equal, such as 1 and True."""
    return repr(value)


def item_with(arguments: str) -> str:
    return f'[{{"tool_name":"t","arguments":{arguments},"success":true,"output":""}}]'


def nested(containers: int, wrap: Callable[[Any], Any]) -> Any:
    value: Any = []
    for _ in range(containers - 1):
        value = wrap(value)
    return value


# Round trips


@given(histories)
def test_history_round_trips(history):
    raw = encode_history(history, "history")
    assert decode_history(raw) == history
    assert encode_history(decode_history(raw), "history") == raw


@given(item_lists)
def test_items_round_trip(items):
    raw = encode_items(items, "items")
    assert exactly(decode_items(raw)) == exactly(with_sorted_keys(items))
    assert encode_items(decode_items(raw), "items") == raw


def with_sorted_keys(value: Any) -> Any:
    if isinstance(value, ExecutionCheckpointItem):
        return item(
            tool_name=value.tool_name,
            arguments=with_sorted_keys(value.arguments),
            success=value.success,
            output=value.output,
        )
    if isinstance(value, dict):
        # Keys are sorted by code point, which is also the order of their UTF-8 bytes.
        return {key: with_sorted_keys(value[key]) for key in sorted(value)}
    return [with_sorted_keys(child) for child in value] if isinstance(value, list) else value


@given(item_lists)
def test_items_are_valid_json_for_other_readers(items):
    read = json.loads(encode_items(items, "items"))
    assert [exactly(entry["arguments"]) for entry in read] == [
        exactly(with_sorted_keys(entry.arguments)) for entry in items
    ]


def test_histories_encode_like_the_originals():
    records = [row for sequence in data("store.json") for row in sequence["task_records"]]
    for raw in (row["execution_history_json"] for row in records):
        assert encode_history(decode_history(raw), "history") == raw


def test_items_encode_like_the_originals():
    steps = [row for sequence in data("store.json") for row in sequence["task_checkpoints"]]
    for raw in (row["items_json"] for row in steps):
        assert encode_items(decode_items(raw), "items") == raw


# Encoding


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("é ü 🚀", "é ü 🚀"),
        ('a"b\\c/d', 'a\\"b\\\\c/d'),
        ("\b\t\n\f\r", "\\b\\t\\n\\f\\r"),
        ("\0\x01\x1b\x1f", "\\u0000\\u0001\\u001b\\u001f"),
        ("\x7f\x80\u2028\u2029\ufeff\uffff", "\x7f\x80\u2028\u2029\ufeff\uffff"),
        ("<tool_call>&'", "<tool_call>&'"),
    ],
)
def test_text_is_escaped_only_where_json_requires(text, written):
    raw = encode_history([ChatMessage("user", text)], "history")
    assert raw == f'[{{"role":"user","content":"{written}"}}]'


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ({"b": {"z": 1, "a": 2}, "a": [], "B": {}}, '{"B":{},"a":[],"b":{"a":2,"z":1}}'),
        ({"é": 1, "z": 2, "🚀": 3, "\uffff": 4, "": 5}, '{"":5,"z":2,"é":1,"\uffff":4,"🚀":3}'),
        ((1, [True, None, False]), "[1,[true,null,false]]"),
        (2**64 - 1, "18446744073709551615"),
        (-(2**63), "-9223372036854775808"),
        (2**64, "1.8446744073709552e19"),
        (-(2**63) - 1, "-9.223372036854776e18"),
        (10**300, "1e300"),
        (1.0, "1.0"),
        (-0.0, "-0.0"),
        (0.1, "0.1"),
        (1e15, "1000000000000000.0"),
        (1e16, "1e16"),
        (1234567890123456.7, "1234567890123456.8"),
        (1.5e300, "1.5e300"),
        (1e-5, "0.00001"),
        (1.234e-6, "1.234e-6"),
        (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e308"),
    ],
)
def test_arguments_encode_like_serde_json(value, written):
    assert encode_items([item(tool_name="t", arguments=value, output="")], "items") == item_with(
        written
    )


def test_encoding_does_not_change_its_input():
    original = item(arguments={"b": (1,), "a": 2**64})
    encode_items([original], "items")
    assert exactly(original.arguments) == "{'b': (1,), 'a': 18446744073709551616}"


def test_subclass_of_str_is_encoded_as_its_text():
    class Safe(str):
        def __str__(self):
            return "not this"

    text = Safe("é")
    assert encode_history([ChatMessage("user", "x"), ChatMessage(text, text)], "history") == (
        '[{"role":"user","content":"x"},{"role":"é","content":"é"}]'
    )
    assert encode_items([item(tool_name=text, output=text)], "items") == (
        '[{"tool_name":"é","arguments":{},"success":true,"output":"é"}]'
    )


def test_empty_lists_encode_as_empty_arrays():
    assert (encode_history([], "history"), encode_items([], "items")) == ("[]", "[]")


# Decoding


FORMS = [
    '[{"role":"user","content":"hi"}]',
    ' [ {\n"content" : "hi" ,\t"role":"user" } ]\r\n',
    '[["user","hi"]]',
    '[{"role":"user","content":"hi","name":"x","tags":[{}]}]',
    '[{"role":"user","content":"hi","name":1,"name":2}]',
    '[{"r\\u006fle":"us\\u0065r","content":"\\u0068i"}]',
]


@pytest.mark.parametrize("raw", FORMS)
def test_history_decodes_in_every_form_of_serde_json(raw):
    assert decode_history(raw) == [ChatMessage("user", "hi")]


def test_history_may_hold_the_names_of_its_fields_as_text():
    messages = [ChatMessage("role", '"content"'), ChatMessage("content", '{"role":"role"}')]
    assert decode_history(encode_history(messages, "history")) == messages


def test_text_of_either_store_decodes_fast(monkeypatch):
    monkeypatch.delattr(messages, "_decode_slowly")
    history = [ChatMessage("user", f"\0\x1b {number}") for number in range(300)]
    assert decode_history(encode_history(history, "history")) == history


def test_items_decode_by_position_too():
    raw = f'[["t",{{"b":1,"a":[2]}},false,"x"],{item_with("1")[1:-1]}]'
    assert decode_items(raw) == [
        ExecutionCheckpointItem("t", {"b": 1, "a": [2]}, False, "x"),
        ExecutionCheckpointItem("t", 1, True, ""),
    ]


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("18446744073709551615", 2**64 - 1),
        ("18446744073709551616", 18446744073709551616.0),
        ("-9223372036854775808", -(2**63)),
        ("-9223372036854775809", -9223372036854775809.0),
        ("1" + "0" * 300, 1e300),
        ("1E+2", 100.0),
        ("1e-400", 0.0),
        ('"\\ud83d\\ude80"', "🚀"),
        ('"\\u0000"', "\0"),
        ('{"a":1,"b":2,"a":3}', {"a": 3, "b": 2}),
        ('{"output":"tool_name","success":[{"arguments":1}]}', None),
    ],
)
def test_arguments_decode_like_serde_json(raw, value):
    if value is None:
        value = json.loads(raw)
    [read] = decode_items(item_with(raw))
    assert exactly(read.arguments) == exactly(value)


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "[",
        "{}",
        "null",
        '"[]"',
        "[] x",
        "\ufeff[]",
        "[null]",
        "['user']",
        '[{"role":"user"}]',
        '[{"role":"user","content":null}]',
        '[{"role":1,"content":""}]',
        '[["user"]]',
        '[["user","hi","more"]]',
        '[["user",null]]',
        '[{"role":"user","role":"user","content":""}]',
        '[{"role":"user","content":"a","content":"b"}]',
        '[{"role":"user","content":"a","role":"user","content":"a"}]',
        '[{"role":"user","r\\u006fle":"user","content":""}]',
        '[{"role":"user","content":"\\ud800"}]',
        '[{"role":"user","content":"\\udc00\\ud800"}]',
        '[["user","\\ud800"]]',
        '[{"role":"user","content":"\ud800"}]',
        '[{"role":"user","content":"\n"}]',
        '[{"role":"user","content":"","x":NaN}]',
        '[{"role":"user","content":"",}]',
        "[" * 100_000,
    ],
    ids=lambda raw: raw[:60].encode("unicode_escape").decode(),
)
def test_history_that_serde_json_refuses_is_refused(raw):
    with pytest.raises(ValueError, match=r".") as error:
        decode_history(raw)
    with pytest.raises(ValueError, match=re.escape(str(error.value))):
        read_history(raw)


@given(histories.map(lambda history: encode_history(history, "history")) | st.sampled_from(FORMS))
def test_history_is_the_same_when_it_is_read_message_by_message(raw):
    expected = decode_history(raw)

    assert list(read_history(raw)) == expected
    assert decode_history(msgspec.Raw(raw.encode())) == expected


def test_invalid_utf8_in_a_raw_history_is_replaced():
    raw = msgspec.Raw(b'[{"role":"user","content":"a\xff"}]')

    assert list(read_history(raw)) == decode_history(raw) == [ChatMessage("user", "a\ufffd")]


@pytest.mark.parametrize(
    "raw",
    [
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "-1e999",
        "[[1e400]]",
        pytest.param("1" * 400, id="400 digits"),
        pytest.param("1" * 5000, id="5000 digits"),
        "01",
        "1.",
        "+1",
        '"\\ud800"',
        '{"\\udc00":1}',
        '"\\x"',
        "'a'",
        "[1,]",
        '{"a":1,}',
        "{a:1}",
        "// x\n1",
    ],
)
def test_arguments_that_serde_json_refuses_are_refused(raw):
    with pytest.raises(ValueError, match=r"."):
        decode_items(item_with(raw))


@pytest.mark.parametrize(
    "raw",
    [
        '[{"tool_name":"t","arguments":1,"success":1,"output":""}]',
        '[{"tool_name":"t","success":true,"output":""}]',
        '[{"tool_name":"t","arguments":1,"arguments":2,"success":true,"output":""}]',
        '[["t",1,true]]',
    ],
)
def test_items_that_lack_or_repeat_a_field_are_refused(raw):
    with pytest.raises(ValueError, match=r"^\[0\]"):
        decode_items(raw)


# Nesting depth: the list of items counts as one level, and so does each item


@pytest.mark.parametrize("form", ["by name", "by position"])
@pytest.mark.parametrize("leaf", ["[]", "{}"])
def test_items_decode_to_the_depth_of_serde_json(form, leaf):
    def raw(containers: int) -> str:
        arguments = "[" * (containers - 3) + leaf + "]" * (containers - 3)
        return item_with(arguments) if form == "by name" else f'[["t",{arguments},true,""]]'

    assert len(decode_items(raw(127))) == 1
    for containers in (128, 500, 5_000, 100_000):
        with pytest.raises(ValueError, match=r"levels of nesting|nested too deeply"):
            decode_items(raw(containers))


@pytest.mark.parametrize("wrap", [lambda value: [value], lambda value: {"k": value}])
def test_items_encode_no_deeper_than_serde_json_reads(wrap):
    assert MAX_DEPTH == 127
    deepest = nested(125, wrap)
    assert decode_items(encode_items([item(arguments=deepest)], "items"))[0].arguments == deepest
    for containers in (126, 5_000):
        with pytest.raises(ValueError) as caught:
            encode_items([item(), item(arguments=nested(containers, wrap))], "items")
        assert str(caught.value) == ("items[1].arguments: more than 127 levels of nesting")


def test_cyclic_arguments_are_refused():
    arguments: dict[str, Any] = {}
    arguments["self"] = arguments
    with pytest.raises(ValueError, match="more than 127 levels of nesting"):
        encode_items([item(arguments=arguments)], "items")


# Errors name the invalid field


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (float("nan"), "items[0].arguments: nan cannot be represented in JSON"),
        ([float("-inf")], "items[0].arguments: -inf cannot be represented in JSON"),
        (10**400, "items[0].arguments: inf cannot be represented in JSON"),
        (b"x", "items[0].arguments: bytes is not a JSON value"),
        ({"x": {1}}, "items[0].arguments: set is not a JSON value"),
        ({1: 2}, "items[0].arguments: the key 1 must be str, not int"),
        ("\ud800", "items: a lone surrogate is not text that UTF-8 can hold"),
        ({"\ud800": 1}, "items: a lone surrogate is not text that UTF-8 can hold"),
    ],
)
def test_arguments_without_a_json_form_are_refused(arguments, message):
    with pytest.raises((TypeError, ValueError)) as caught:
        encode_items([item(arguments=arguments)], "items")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([{}], "turns[0] must be ChatMessage, not dict"),
        ([ChatMessage("a", "b"), None], "turns[1] must be ChatMessage, not NoneType"),
        ([ChatMessage(None, "b")], "turns[0].role must be str, not NoneType"),  # type: ignore[arg-type]
        ([ChatMessage("a", b"b")], "turns[0].content must be str, not bytes"),  # type: ignore[arg-type]
    ],
)
def test_messages_of_a_wrong_type_are_refused(messages, message):
    with pytest.raises(TypeError) as caught:
        encode_history(messages, "turns")
    assert str(caught.value) == message


CANONICAL = [
    "[]",
    '[{"tool_name":"shell","arguments":{"command":"ls"},"success":true,"output":"a\\nb"}]',
    '[{"tool_name":"a","arguments":{},"success":false,"output":"\\u0000 \u2028"},'
    '{"tool_name":"b","arguments":{"x":null,"y":true},"success":true,"output":""}]',
]


ODD_ARGUMENTS = [
    f'[{{"tool_name":"a","arguments":{arguments},"success":true,"output":""}}]'
    for arguments in ("5", '"text"', '{"n":[1,{"a":2.5}]}', '{"n":18446744073709551616}')
]


@pytest.mark.parametrize("raws", [[], CANONICAL, CANONICAL[:1] * 3, ODD_ARGUMENTS])
def test_load_all_items_matches_decode_items(raws):
    assert load_all_items(raws) == [decode_items(raw) for raw in raws]


@pytest.mark.parametrize(
    "odd",
    [
        "[] ",
        "[\n]",
        '[{"tool_name":"a","arguments":{"n":1e2},"success":true,"output":""}]',
        '[{"tool_name":"a","arguments":{"b":"","a":""},"success":true,"output":""}]',
        '[{"output":"","tool_name":"a","arguments":{},"success":true}]',
        '[{"tool_name":"a","arguments":{},"success":true,"output":"","more":1}]',
    ],
)
def test_load_all_items_decodes_other_forms(odd):
    assert load_all_items([CANONICAL[1], odd]) == [decode_items(CANONICAL[1]), decode_items(odd)]


@pytest.mark.parametrize(
    "odd",
    [
        "",
        "[]\n[]",
        "[",
        "[],",
        "nonsense",
        '[{"tool_name":"a","arguments":{},"success":true,"output":"\ud800"}]',
        '[{"tool_name":"a","arguments":{"n":1e999},"success":true,"output":""}]',
        f'[{{"tool_name":"a","arguments":{"[" * 126 + "]" * 126},"success":true,"output":""}}]',
        '[["a",{},true,""]]',
        "[" * 2000 + "]" * 2000,
    ],
)
def test_load_all_items_leaves_what_is_odd_or_corrupt_to_decode_items(odd):
    assert load_all_items([CANONICAL[1], odd]) is None


def test_loading_uses_the_last_of_repeated_fields():
    history = '[{"role":"user","content":"a","role":"system"}]'
    items = '[{"tool_name":"a","tool_name":"b","arguments":{},"success":true,"output":""}]'
    assert load_history(history) == [ChatMessage("system", "a")]
    assert load_all_items([items]) == [[ExecutionCheckpointItem("b", {}, True, "")]]
    for raw, decode in ((history, decode_history), (items, decode_items)):
        with pytest.raises(ValueError, match="duplicate field"):
            decode(raw)
