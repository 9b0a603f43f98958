"""Tests for matching search terms, both in SQL and in decoded messages."""

import json
import sqlite3
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tasks.transcript.search import SNIPPET_AFTER, SNIPPET_BEFORE, Term

TEXTS = st.text(
    st.one_of(st.sampled_from('\\"/%_\n\t\x1b éÉß日🦉aA '), st.characters(codec="utf-8"))
)
SQLITE = sqlite3.connect(":memory:")


def escaped(text: str, depth: int, ascii_only: bool = False) -> str:
    """Escape the text for a JSON string `depth` times, and return the result."""
    for _ in range(depth):
        text = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
    return text


def may_match(term: Term, stored: str) -> bool:
    """Return whether any of the term's SQL patterns matches the stored text."""
    lookups: list[Any] = list(term.in_histories().children)
    patterns = [value for _, value in lookups]
    return any(
        SQLITE.execute("SELECT ? LIKE ? ESCAPE '\\'", (stored, pattern)).fetchone()[0]
        for pattern in patterns
    )


@given(TEXTS, st.integers(0, 3), st.booleans())
@example("\x7f", 1, True)
def test_text_is_found_at_any_depth_of_escaping(text: str, depth: int, ascii_only: bool):
    term = Term(text)
    content = f"before {escaped(text, depth, ascii_only)} after"

    assert term.is_in(content)
    assert may_match(term, json.dumps(content, ensure_ascii=False))


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("a%b", "a-b"),
        ("a_b", "a-b"),
        ("a.b", "a-b"),
        ("a\nb", "anb"),
        ("a\\b", "ab"),
        ("é", "e"),
        ("two  spaces", "two spaces"),
    ],
)
def test_other_texts_are_not_found(text: str, content: str):
    assert not Term(text).is_in(content)


@pytest.mark.parametrize("text", ['\\"', "\\", '"', "\\n", "\n", "é", "a" * 200, '\\"' * 100])
@pytest.mark.parametrize("content", ["\\" * 300_000, "a" * 300_000, '\\"' * 150_000])
def test_search_of_a_hostile_text_is_linear(text: str, content: str):
    Term(text + "§").is_in(content)  # would take hours if the search were quadratic


def test_hit_has_its_context():
    history = json.dumps([{"role": "user", "content": "x" * 500 + "Needle" + "y" * 500}])

    [hit] = Term("needle").hits(history, ())

    assert (hit.number, hit.role, hit.match) == (1, "user", "Needle")
    assert hit.before == "…" + "x" * SNIPPET_BEFORE
    assert hit.after == "y" * SNIPPET_AFTER + "…"
