"""A history as a person reads it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks import transcript
from tasks.messages import ChatMessage, encode_history
from tasks.models import TaskCheckpoint, TaskRecord


def row(history_start: str, resumable_start: str = "[]") -> TaskRecord:
    """A row as the list reads it."""
    record = TaskRecord()
    vars(record).update(history_start=history_start, resumable_start=resumable_start)
    return record


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("fix it", "fix it"),
        ("\n\n  fix it  \nnow", "fix it"),
        ("Here is the issue:\nISSUE:\nIt is slow", "It is slow"),
        ("Only this:", "Only this:"),
        ("", ""),
        (" \n ", ""),
        ("x" * 500, "x" * transcript.TITLE_LENGTH),
    ],
)
def test_title_is_the_line_that_tells(message: str, line: str):
    assert transcript.asked_for(message) == line


def test_title_comes_from_the_first_user_message():
    history = [ChatMessage("system", 'say {"role":"user"'), ChatMessage("user", "tidy up")]

    assert transcript.title(row(encode_history(history, "history"))) == "tidy up"


def test_title_comes_from_the_resumable_history_if_the_other_starts_too_long():
    resumable = encode_history([ChatMessage("user", "tidy up")], "history")

    assert transcript.title(row('[{"role":"system","content":"very long', resumable)) == "tidy up"


@pytest.mark.parametrize("text", ["", "[]", "not json", '[{"role":"user"', '[["user","hi"]]'])
def test_title_of_anything_else_is_empty(text: str):
    assert transcript.title(row(text)) == ""


@given(st.text(max_size=60), st.integers(0, 400))
def test_title_of_a_history_cut_anywhere_is_the_start_of_the_whole_one(content: str, cut: int):
    whole = encode_history([ChatMessage("user", content)], "history")

    title = transcript.title(row(whole[:cut]))

    assert transcript.title(row(whole)).startswith(title) or title in content


@pytest.mark.parametrize(
    ("step_indexes", "expected"),
    [
        ([], []),
        ([1, 2, 3], [1, 1, 1]),
        ([1, 2, 1, 2], [1, 1, 2, 2]),
        ([1, 1, 1], [1, 2, 3]),
        ([5, 9, 0, 7], [1, 1, 2, 2]),
    ],
)
def test_attempts_split_where_the_step_does_not_rise(step_indexes: list[int], expected: list[int]):
    taken = list(enumerate(step_indexes, start=10))

    assert list(transcript.attempts(taken).values()) == expected


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ({"command": "ls -l"}, "ls -l"),
        ("ls", "ls"),
        ({}, "{}"),
        (None, "null"),
        ({"path": "a", "line": 3}, '{\n  "path": "a",\n  "line": 3\n}'),
        ({"n": 1}, '{\n  "n": 1\n}'),
    ],
)
def test_step_shows_arguments_readably(arguments: object, shown: str):
    items = [{"tool_name": "t", "arguments": arguments, "success": True, "output": ""}]
    checkpoint = TaskCheckpoint(id=1, step_index=1, items_json=json.dumps(items))

    [step] = transcript.steps([checkpoint], {1: 1})

    assert [item.arguments.whole for item in step.items] == [shown]


def test_step_that_cannot_be_read_says_so():
    [step] = transcript.steps([TaskCheckpoint(id=1, step_index=1, items_json="{")], {1: 1})

    assert (step.items, bool(step.problem), step.raw.whole) == ([], True, "{")


def test_text_is_folded_and_cut_by_its_length():
    short, long, huge = (transcript.Text("x" * n) for n in (1_200, 1_201, 20_001))

    assert (short.is_long, long.is_long) == (False, True)
    assert (long.is_cut, huge.is_cut) == (False, True)
    assert (len(huge.preview), len(huge.shown), huge.length) == (900, 20_000, 20_001)


def test_resumable_turns_are_what_the_agent_would_get():
    record = TaskRecord(resumable_history_json='[["user","hi"],["assistant","<tool></tool>"]]')

    assert transcript.Thread(record).resumable_turns == [ChatMessage("user", "hi")]


@pytest.mark.parametrize("cut", range(1, 13))
def test_title_cut_within_a_long_text_of_escapes_is_what_stands_before(cut: int):
    escaped = "x" * (transcript.TITLE_LENGTH * 12 - cut) + "\\ud83d\\ude00" * 2

    line = transcript.title(row('[{"role":"user","content":"' + escaped + '"}]'))

    assert line == "x" * transcript.TITLE_LENGTH


@pytest.mark.parametrize("end", ["\\", "\\u", "\\u00e", "\\ud83d", "\\ud83d\\ude"])
def test_title_of_a_history_cut_within_an_escape_is_what_stands_before(end: str):
    assert transcript.title(row('[{"role":"user","content":"tidy up' + end)) == "tidy up"


@pytest.mark.parametrize(
    ("note", "line"),
    [
        ("", ""),
        ("\n \n", ""),
        ("half way", "half way"),
        ("## Checkpoint\n\n- Failed steps: shell", "Failed steps: shell"),
        (
            "## Runtime Checkpoint\n\n- Continue from the latest confirmed state. Do not restart"
            " successful steps.\n- Confirmed steps: shell\n",
            "Confirmed steps: shell",
        ),
        ("# Only this", "Only this"),
        ("x" * 300, "x" * 200),
    ],
)
def test_note_line_tells_of_the_thread(note, line):
    assert transcript.note_line(note) == line
