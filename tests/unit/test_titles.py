"""Tests for thread titles and summaries of notes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.messages import ChatMessage, encode_history
from tasks.models import TaskRecord
from tasks.transcript import titles


def row(
    history_start: str, resumable: str = "[]", history_end: str = "", status: str = "completed"
) -> TaskRecord:
    """Return a task record with the fields that `for_list()` would add."""
    record = TaskRecord(status=status)
    vars(record).update(
        history_start=history_start,
        history_end=history_end,
        resumable_start=resumable,
        resumable_length=len(resumable),
    )
    return record


def encoded(*messages: tuple[str, str]) -> str:
    return encode_history([ChatMessage(*message) for message in messages], "history")


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("fix it", "fix it"),
        ("\n\n  fix it  \nnow", "fix it"),
        ("Here is the issue:\nISSUE:\nIt is slow", "It is slow"),
        ("Only this:", "Only this:"),
        ("", ""),
        (" \n ", ""),
        ("x" * 500, "x" * (titles.TITLE_LENGTH - 1) + "…"),
        ("word " * 50, "word " * 38 + "word…"),
        (
            "Why is <T> dropped from List<T>, and not <b>",
            "Why is <T> dropped from List<T>, and not",
        ),
        ("<b>bold <i>text</i></b>", "bold <i>text"),
        ("Task: tidy up", "tidy up"),
        ("Task:", "Task:"),
        ("# Tidy up\n\nAll of it.", "Tidy up"),
        ("**Tidy** up", "Tidy up"),
        ("<task>\ntidy up\n</task>", "tidy up"),
        ("Hi there!\n\ntidy up", "tidy up"),
        ("Hi there!", "Hi there!"),
        ("Hello, please tidy up.", "please tidy up."),
        ("They are hey, you", "They are hey, you"),
        ("[2026-11-02 11:07:52 UTC] tidy up", "tidy up"),
        ("You are a careful gardener.\nTidy up.", "Tidy up."),
        ("You are a careful gardener.", "You are a careful gardener."),
        ("You are after the gardener.\nFind him.", "You are after the gardener."),
        ("We're currently on it. Here's the text:\nTITLE\nIt is slow", "It is slow"),
        ("Here is an example.\n--- EXAMPLE ---\nHere it is:\nISSUE:\nIt is slow", "It is slow"),
        ('Do the one named "Rock". It says:\nNever stop.', "Rock: Never stop."),
        ('Do the one named "Rock". It says:\nRock on.', "Rock on."),
        ("[IMAGE:/tmp/a.png]\nwhat is this?", "what is this?"),
        ("what is data:image/png;base64,AAAA?", "what is an image?"),
    ],
)
def test_message_title(message: str, line: str):
    assert titles.message_title(message) == line


def test_title_comes_from_the_first_user_message():
    history = [ChatMessage("system", 'say {"role":"user"'), ChatMessage("user", "tidy up")]

    assert titles.task_title(row(encode_history(history, "history"))) == "tidy up"


def test_title_falls_back_to_the_resumable_history():
    resumable = encode_history([ChatMessage("user", "tidy up")], "history")

    assert titles.task_title(row('[{"role":"system","content":"very long', resumable)) == "tidy up"


@pytest.mark.parametrize("text", ["", "[]", "not json", '[{"role":"user"', '[["user","hi"]]'])
def test_title_without_a_user_message_is_empty(text: str):
    assert titles.task_title(row(text)) == ""


RESULTS = ("user", '[Tool results]\n<tool_result name="shell">\nok\n</tool_result>')
CALL = ("assistant", '<tool_call>{"name":"shell","arguments":{"command":"make"}}</tool_call>')
NATIVE = ("assistant", '{"content":null,"tool_calls":[{"id":"1","name":"read","arguments":{}}]}')
TWO = [("user", "tidy up"), ("assistant", "done"), ("user", "now water")]


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([("user", "tidy up")], ("tidy up", "", "")),
        ([*TWO, CALL, RESULTS], ("now water", "tidy up", "shell: make")),
        ([*TWO, CALL], ("now water", "tidy up", "shell: make")),
        ([*TWO, NATIVE, ("tool", "ok")], ("now water", "tidy up", "read")),
        ([("user", "tidy up"), CALL, RESULTS, ("user", "now water")], ("now water", "tidy up", "")),
        ([*TWO, CALL, RESULTS, ("assistant", "done")], ("now water", "tidy up", "")),
        ([("user", "tidy up"), ("user", "tidy up")], ("tidy up", "", "")),
        ([*TWO, ("user", "")], ("now water", "tidy up", "")),
        ([RESULTS, ("user", "now water")], ("now water", "", "")),
    ],
)
def test_heading_is_the_latest_request_above_the_first(messages: list, expected: tuple):
    history = encoded(*messages)

    assert titles.heading(row(history, history_end=history, status="running")) == expected
    assert titles.heading(row(history, history_end=history)) == (*expected[:2], "")


def test_latest_request_is_looked_for_in_the_end_and_in_all_turns():
    long = encoded(("user", "tidy up"), ("user", "now water"), CALL, ("user", "x" * 99_999))
    start, turns = long[:60], encoded(*TWO)

    assert titles.task_title(row(start, turns, long[-70:])) == "now water"
    assert titles.task_title(row(start, "[]", long[-70:])) == "tidy up"
    cut = row(start, turns, long[-70:])
    vars(cut)["resumable_length"] += 1
    assert titles.task_title(cut) == "tidy up"
    assert titles.task_title(row(start, turns, long[20:-9])).startswith("xxx")


@given(st.text(max_size=60), st.integers(0, 400))
def test_title_of_a_cut_history_is_the_start_of_the_title(content: str, cut: int):
    whole = encode_history([ChatMessage("user", content)], "history")

    title = titles.task_title(row(whole[:cut]))

    assert titles.task_title(row(whole)).startswith(title) or title in content


@pytest.mark.parametrize("cut", range(1, 13))
def test_title_ends_before_an_escape_cut_by_the_limit(cut: int):
    escaped = "x" * (titles.TITLE_LENGTH * 12 - cut) + "\\ud83d\\ude00" * 2

    line = titles.task_title(row('[{"role":"user","content":"' + escaped + '"}]'))

    assert line == "x" * (titles.TITLE_LENGTH - 1) + "…"


@pytest.mark.parametrize("end", ["\\", "\\u", "\\u00e", "\\ud83d", "\\ud83d\\ude"])
def test_title_ends_before_an_escape_cut_by_the_history(end: str):
    assert titles.task_title(row('[{"role":"user","content":"tidy up' + end)) == "tidy up"


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
            "",
        ),
        ("# Only this", ""),
        ("- Choose the smallest next action that\n- Ask for the key", "Ask for the key"),
        ("x" * 300, "x" * 199 + "…"),
    ],
)
def test_note_summary(note, line):
    assert titles.note_summary(note) == line
