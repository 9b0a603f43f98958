import re
import time
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.secrets.request_masking import SearchedText
from tasks.transcript import find, search
from tests.support.factories import history


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "CHUNK", 5_000)
    monkeypatch.setattr(search, "PATTERN_CHUNK", 500)


def matches(query: str, *contents: str) -> list[tuple[int, str]]:
    return [(hit.number, hit.match) for hit in find.find_hits(query, history(*contents))]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("disk", [(1, "disk"), (1, "Disk"), (2, "DISK")]),
        ("full.", [(1, "full.")]),
        ("nothing", []),
        ("", []),
        ("ß\n\"'", [(2, "ß\n\"'")]),
    ],
)
def test_hits_are_all_matches_in_order(query: str, expected: list[tuple[int, str]]):
    assert matches(query, "The disk is full. Disk!", "DISK ß\n\"'", "fulls") == expected


def test_hit_has_its_context():
    [hit] = find.find_hits("needle", history("a" * 500 + " needle " + "b" * 500))

    assert (hit.before, hit.after) == ("a" * 69 + " ", " " + "b" * 69)


def test_match_in_json_within_a_message():
    assert matches('say "hi"', '{"content":"I say \\"hi\\" to all"}') == [(1, 'say \\"hi\\"')]


def test_hits_end_at_the_limit():
    assert len(find.find_hits("x", history("x" * 5_000))) == find.MAX_HITS


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("query", ["needle", "né"])
def test_find_stops_when_time_is_up(monkeypatch: pytest.MonkeyPatch, query: str):
    clock = count()  # the clock is read once per chunk and per match, and advances 1 s each time
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))

    hits = find.find_hits(query, history(query + "." * search.CHUNK + query), seconds=2)

    assert ([hit.match for hit in hits], hits.is_truncated) == ([query], True)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("query", ["needle", "nEEdle", "né", 'say "hi'])
@pytest.mark.parametrize("offset", [-3, -1, 0, 1, 5])
def test_match_across_two_chunks_is_found(query: str, offset: int):
    size = search.PATTERN_CHUNK if search._has_escapes(query) else search.CHUNK
    text = "." * (size + offset) + query + "." * size + query

    hits = find.find_hits(query, history(text))
    assert [hit.match for hit in hits] == [query] * 2
    assert not hits.is_truncated


@given(st.text("ab", max_size=40), st.text("ab", min_size=1, max_size=4), st.integers(1, 9))
def test_spans_do_not_depend_on_the_chunks(text: str, query: str, size: int):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(search, "CHUNK", size)
        spans = list(search.Term(query).spans(text))

    assert spans == [match.span() for match in re.finditer(re.escape(query), text)]


def test_find_stops_in_a_text_full_of_secrets(monkeypatch: pytest.MonkeyPatch):
    starts: list[int] = []
    context = SearchedText.context

    def counted(text: SearchedText, *span: int) -> tuple[str, str, str] | None:
        starts.append(span[0])
        return context(text, *span)

    clock = count()
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(SearchedText, "context", counted)
    text = "\n".join(f"password: a1a1a1a1a1{number}" for number in range(2_000))
    hits = find.find_hits("a1a1", history(text), seconds=100)

    assert (list(hits), hits.is_truncated) == ([], True)
    assert 90 < len(starts) < 110
