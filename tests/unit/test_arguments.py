"""Tests for displaying the arguments of tool calls, including diffs."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.models import DISPLAY_LENGTH
from tasks.transcript import diffs
from tasks.transcript.arguments import MAX_FIELDS, Arguments

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def fields(value: Any) -> list[tuple[str, str]]:
    return [(field.name, field.text.whole) for field in Arguments(value).fields]


@pytest.mark.parametrize("key", ["command", "cmd", "script"])
def test_command_has_its_own_form(key: str):
    arguments = Arguments({key: "ls -l", "timeout": 5})

    assert arguments.command is not None and arguments.command.whole == "ls -l"
    assert fields(arguments.value) == [("timeout", "5")]


@pytest.mark.parametrize(
    ("old", "new"), [("old_string", "new_string"), ("old_str", "new_str"), ("old", "new")]
)
def test_edit_is_a_diff(old: str, new: str):
    arguments = Arguments({"path": "a.py", old: "a\nb\nc", new: "a\nB\nc"})

    assert arguments.diff is not None
    assert [line.sign + line.text for line in arguments.diff] == [" a", "-b", "+B", " c"]
    assert (arguments.path, arguments.language, arguments.fields) == ("a.py", "python", [])


@pytest.mark.parametrize("key", ["content", "contents", "file_text"])
def test_written_file_has_its_own_form(key: str):
    arguments = Arguments({"file_path": "a.rs", key: "fn main() {}"})

    assert arguments.content is not None and arguments.content.whole == "fn main() {}"
    assert (arguments.path, arguments.language, arguments.fields) == ("a.rs", "rust", [])


@pytest.mark.parametrize("value", ["x 3", {"arguments": "x 3"}, {"input": "x 3"}])
def test_single_text_has_no_name(value: Any):
    arguments = Arguments(value)

    assert arguments.single_text is not None and arguments.single_text.whole == "x 3"
    assert arguments.fields == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"url": "http://x"}, [("url", "http://x")]),
        ({"n": 1, "on": True, "none": None}, [("n", "1"), ("on", "true"), ("none", "null")]),
        ({"a": [1]}, [("a", "[\n  1\n]")]),
        ({"a": {}, "": ""}, [("a", "{}"), ("", "")]),
        ([1, 2], [("", "[\n  1,\n  2\n]")]),
        (7, [("", "7")]),
        ({}, []),
        (None, []),
        ("", []),
        ({"command": ["ls", "-l"]}, [("command", '[\n  "ls",\n  "-l"\n]')]),
        ({"old_string": "x"}, [("old_string", "x")]),
        ({"content": "x"}, [("content", "x")]),
    ],
)
def test_other_arguments_are_named_values(value: Any, expected: list[tuple[str, str]]):
    assert fields(value) == expected


def test_excess_arguments_share_one_field():
    *_, last = fields({str(n): n for n in range(MAX_FIELDS + 2)})

    assert last == ("2 more", '{\n  "40": 40,\n  "41": 41\n}')


def test_deep_arguments_are_not_indented():
    deep: Any = 1
    for _ in range(100):
        deep = [deep]

    assert fields({"a": deep}) == [("a", "[" * 100 + "1" + "]" * 100)]


@pytest.mark.parametrize(
    ("value", "cut"),
    [
        ({"command": "x" * DISPLAY_LENGTH}, False),
        ({"command": "x" * (DISPLAY_LENGTH + 1)}, True),
        ({"path": "a", "old": "", "new": "x" * (DISPLAY_LENGTH + 1)}, True),
        ({"a": "x" * DISPLAY_LENGTH}, True),
        ({"a": "x" * 100}, False),
    ],
)
def test_arguments_are_cut_if_a_part_is(value: Any, cut: bool):
    assert Arguments(value).is_cut == cut


@given(JSON)
def test_any_arguments_have_a_form(value: Any):
    arguments = Arguments(value)

    forms = [
        arguments.command,
        arguments.path,
        arguments.diff,
        arguments.content,
        arguments.single_text,
        arguments.fields,
    ]
    assert (
        any(bool(form) for form in forms)
        or not value
        or value == {"arguments": ""}
        or (isinstance(value, dict) and "" in value.values())
    )


def test_diff_omits_lines_far_from_a_change():
    old = [str(n) for n in range(60)]
    new = [*old[:20], "new", *old[21:50], "newer", *old[51:]]

    lines = [line.sign + line.text for line in diffs.diff_lines("\n".join(old), "\n".join(new))]

    assert lines == [
        *("…", " 17", " 18", " 19", "-20", "+new", " 21", " 22", " 23"),
        *("…", " 47", " 48", " 49", "-50", "+newer", " 51", " 52", " 53"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [("", "a\n", ["+a"]), ("a", "", ["-a"]), ("", "", []), ("a", "a\n", []), ("a\n\n", "a", ["-"])],
)
def test_diff_of_short_texts(old: str, new: str, expected: list[str]):
    lines = [line.sign + line.text for line in diffs.diff_lines(old, new)]

    assert [line for line in lines if not line.startswith(" ")] == expected


def test_long_texts_are_not_compared():
    count = diffs.MAX_LINES + 1
    lines = list(diffs.diff_lines("a\n" * count, "b\n" * count))

    assert len(lines) == 2 * diffs.MAX_LINES + 1
    assert lines[-1].text == f"{count} lines become {count}"


@given(st.text(alphabet="ab\n"), st.text(alphabet="ab\n"))
def test_diff_has_every_changed_line(old: str, new: str):
    diff = list(diffs.diff_lines(old, new))

    removed = sum(line.kind == "removed" for line in diff)
    added = sum(line.kind == "added" for line in diff)
    lines = [text.removesuffix("\n").split("\n") if text else [] for text in (old, new)]
    assert added - removed == len(lines[1]) - len(lines[0])
