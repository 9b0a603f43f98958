"""The arguments of a tool call as a person reads them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.transcript import diffs
from tasks.transcript.arguments import MAX_FIELDS, Arguments
from tasks.transcript.text_preview import DISPLAY_LENGTH

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def fields(value: Any) -> list[tuple[str, str]]:
    return [(field.name, field.text.whole) for field in Arguments(value).fields]


@pytest.mark.parametrize("key", ["command", "cmd", "script"])
def test_command_is_shown_as_one(key: str):
    given = Arguments({key: "ls -l", "timeout": 5})

    assert given.command is not None and given.command.whole == "ls -l"
    assert fields(given.value) == [("timeout", "5")]


@pytest.mark.parametrize(
    ("old", "new"), [("old_string", "new_string"), ("old_str", "new_str"), ("old", "new")]
)
def test_edit_is_shown_as_a_diff(old: str, new: str):
    given = Arguments({"path": "a.py", old: "a\nb\nc", new: "a\nB\nc"})

    assert given.diff is not None
    assert [line.sign + line.text for line in given.diff] == [" a", "-b", "+B", " c"]
    assert (given.path, given.language, given.fields) == ("a.py", "python", [])


@pytest.mark.parametrize("key", ["content", "contents", "file_text"])
def test_written_file_is_shown_as_one(key: str):
    given = Arguments({"file_path": "a.rs", key: "fn main() {}"})

    assert given.content is not None and given.content.whole == "fn main() {}"
    assert (given.path, given.language, given.fields) == ("a.rs", "rust", [])


@pytest.mark.parametrize("value", ["x 3", {"arguments": "x 3"}, {"input": "x 3"}])
def test_single_text_is_shown_without_its_name(value: Any):
    given = Arguments(value)

    assert given.single_text is not None and given.single_text.whole == "x 3"
    assert given.fields == []


@pytest.mark.parametrize(
    ("value", "shown"),
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
def test_other_arguments_are_named_values(value: Any, shown: list[tuple[str, str]]):
    assert fields(value) == shown


def test_many_arguments_are_shown_together():
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
def test_arguments_say_whether_all_is_shown(value: Any, cut: bool):
    assert Arguments(value).is_cut == cut


@given(JSON)
def test_any_arguments_are_shown(value: Any):
    given = Arguments(value)

    shown = [given.command, given.path, given.diff, given.content, given.single_text, given.fields]
    assert (
        any(bool(part) for part in shown)
        or not value
        or value == {"arguments": ""}
        or (isinstance(value, dict) and "" in value.values())
    )


def test_diff_leaves_out_what_is_far_from_a_change():
    old = [str(n) for n in range(60)]
    new = [*old[:20], "new", *old[21:50], "newer", *old[51:]]

    shown = [line.sign + line.text for line in diffs.diff_lines("\n".join(old), "\n".join(new))]

    assert shown == [
        *("…", " 17", " 18", " 19", "-20", "+new", " 21", " 22", " 23"),
        *("…", " 47", " 48", " 49", "-50", "+newer", " 51", " 52", " 53"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "shown"),
    [("", "a\n", ["+a"]), ("a", "", ["-a"]), ("", "", []), ("a", "a\n", []), ("a\n\n", "a", ["-"])],
)
def test_diff_of_little(old: str, new: str, shown: list[str]):
    lines = [line.sign + line.text for line in diffs.diff_lines(old, new)]

    assert [line for line in lines if not line.startswith(" ")] == shown


def test_diff_of_long_texts_is_not_compared():
    count = diffs.MAX_LINES + 1
    shown = list(diffs.diff_lines("a\n" * count, "b\n" * count))

    assert len(shown) == 2 * diffs.MAX_LINES + 1
    assert shown[-1].text == f"{count} lines become {count}"


@given(st.text(alphabet="ab\n"), st.text(alphabet="ab\n"))
def test_diff_holds_every_changed_line(old: str, new: str):
    shown = list(diffs.diff_lines(old, new))

    removed = sum(line.kind == "removed" for line in shown)
    added = sum(line.kind == "added" for line in shown)
    lines = [text.removesuffix("\n").split("\n") if text else [] for text in (old, new)]
    assert added - removed == len(lines[1]) - len(lines[0])
