"""Tests for replaying and displaying terminal output."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.transcript import terminal

ESCAPES = st.text(alphabet="\x1b[]P^_m;:0123456789KHJl?\x07\x9b\x9c\\\r\n\b aé", max_size=80)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("plain", "plain"),
        ("a\r\nb\r\n", "a\nb\n"),
        ("10%\r50%\r100%", "100%"),
        ("10%\r100%\r", "100%"),
        ("a\n1\r2\nb", "a\n2\nb"),
        ("-\b \b\\\b \bdone", "done"),
        ("\b\bx", "x"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]0;no end\nnext", "\nnext"),
        ("\x1bPq#0;2;0\x1b\\after", "after"),
        ("\x1b[2J\x1b[1;1Htop\x1b[K", "top"),
        ("\x1b[?25lhidden\x1b[?25h", "hidden"),
        ("\x1b(Bset\x1b=", "set"),
        ("\x9b31mred", "\x1b[31mred"),
        ("\x1b[>4;2mnot colors", "not colors"),
        ("cut\x1b", "cut"),
        ("cut\x1b[31", "cut"),
        ("\x1b[32m50%\r100%\x1b[0m", "\x1b[32m100%\x1b[0m"),
    ],
)
def test_replay_returns_the_final_text(output: str, expected: str):
    assert terminal.replay(output) == expected


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("a", [("", "a")]),
        ("\x1b[31ma\x1b[0mb", [("t-ink1", "a"), ("", "b")]),
        ("\x1b[ma", [("", "a")]),
        ("\x1b[1;4;92ma", [("t-bold t-underline t-ink10", "a")]),
        ("\x1b[1;2ma\x1b[22mb", [("t-bold t-dim", "a"), ("", "b")]),
        ("\x1b[3;9ma\x1b[23;29mb", [("t-italic t-strike", "a"), ("", "b")]),
        ("\x1b[31;44ma\x1b[49mb\x1b[39mc", [("t-on4", "a"), ("t-ink1", "b"), ("", "c")]),
        ("\x1b[7ma\x1b[27mb", [("t-on7", "a"), ("", "b")]),
        ("\x1b[7;31ma", [("t-on1", "a")]),
        ("\x1b[38;5;9ma", [("t-ink9", "a")]),
        ("\x1b[38;5;196ma", [("t-ink9", "a")]),
        ("\x1b[38;5;21ma", [("t-ink4", "a")]),
        ("\x1b[38;5;244ma", [("t-ink8", "a")]),
        ("\x1b[48;2;0;200;0ma", [("t-on2", "a")]),
        ("\x1b[38:5:1ma", [("t-ink1", "a")]),
        ("\x1b[38;21ma", [("", "a")]),
        ("\x1b[107ma", [("t-on15", "a")]),
        ("cut\x1b[3", [("", "cut")]),
        ("cut\x1b", [("", "cut")]),
        ("\x1b[99999999999ma", [("", "a")]),
    ],
)
def test_spans_have_classes_for_colors_and_styles(text: str, spans: list[tuple[str, str]]):
    assert list(terminal.spans(text)) == spans


@given(ESCAPES)
def test_replay_keeps_no_sequences_but_colors(output: str):
    text = terminal.replay(output)

    assert "\r" not in text and "\b" not in text
    assert "\x1b" not in "".join(part for _, part in terminal.spans(text))
    assert terminal.replay(text) == text


@given(st.text(alphabet=st.characters(exclude_characters="\x1b\r\b\x9b\x90\x98\x9d\x9e\x9f")))
def test_replay_leaves_text_without_controls_alone(text: str):
    assert terminal.replay(text) == text
    assert "".join(piece for _, piece in terminal.spans(text)) == text
