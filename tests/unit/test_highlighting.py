"""Tests for syntax highlighting."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.transcript import highlighting
from tasks.transcript.highlighting import MAX_LENGTH, language_of, spans

LANGUAGES = sorted(highlighting._ALIASES)
CODE = st.text(alphabet="{}[]()<>\"'`\\$#/*-+=:;,.|&%@!?~^ \t\n\r\0ab0é", max_size=60)


@pytest.mark.parametrize(
    ("path", "language"),
    [
        ("a/b/money.py", "python"),
        ("A.PY", "python"),
        ("Dockerfile", "docker"),
        ("x.tsx", "typescript"),
        ("nginx", "nginx"),
        ("notes.txt", ""),
        ("", ""),
        ("/", ""),
        ("x" * 10_000 + ".rs", "rust"),
    ],
)
def test_language_of_a_file_name(path: str, language: str):
    assert language_of(path) == language


def test_keywords_strings_and_comments_have_classes():
    class_of = {text: classes for classes, text in spans("def f(): return 'x'  # why", "python")}

    assert (class_of["def"], class_of["'x'"[1:2]], class_of["# why"]) == (
        "h-keyword",
        "h-string",
        "h-comment",
    )


@pytest.mark.parametrize("language", ["", "no such", "python" * 100])
def test_unknown_language_is_one_span(language: str):
    assert list(spans("def f()", language)) == [("", "def f()")]


def test_long_text_is_one_span():
    text = "x" * (MAX_LENGTH + 1)

    assert list(spans(text, "python")) == [("", text)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_rest_is_one_span_when_time_is_up(language: str):
    assert list(spans("if a: b" * 9, language, seconds=-1)) == [("", "if a: b" * 9)]


@given(CODE, st.sampled_from(LANGUAGES))
@settings(max_examples=300, deadline=None)
def test_spans_add_up_to_the_text(text: str, language: str):
    result = list(spans(text, language))

    assert "".join(piece for _, piece in result) == text
    assert {classes for classes, _ in result} <= highlighting.CLASSES | {""}
