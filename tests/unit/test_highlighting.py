"""The pieces of a program's text by what they are."""

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
def test_language_is_known_by_the_name_of_the_file(path: str, language: str):
    assert language_of(path) == language


def test_spans_tell_keywords_strings_and_comments():
    found = {text: classes for classes, text in spans("def f(): return 'x'  # why", "python")}

    assert (found["def"], found["'x'"[1:2]], found["# why"]) == (
        "h-keyword",
        "h-string",
        "h-comment",
    )


@pytest.mark.parametrize("language", ["", "no such", "python" * 100])
def test_spans_of_an_unknown_language_are_the_text(language: str):
    assert list(spans("def f()", language)) == [("", "def f()")]


def test_spans_of_a_long_text_are_the_text():
    text = "x" * (MAX_LENGTH + 1)

    assert list(spans(text, "python")) == [("", text)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_spans_end_when_the_time_is_over(language: str):
    assert list(spans("if a: b" * 9, language, seconds=-1)) == [("", "if a: b" * 9)]


@given(CODE, st.sampled_from(LANGUAGES))
@settings(max_examples=300, deadline=None)
def test_spans_lose_nothing(text: str, language: str):
    found = list(spans(text, language))

    assert "".join(piece for _, piece in found) == text
    assert {classes for classes, _ in found} <= highlighting.CLASSES | {""}
