import re
import time
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.secrets.request_masking import SearchedText
from tasks.transcript import find, search
from tests.support.factories import history


def places(query: str, *contents: str) -> list[tuple[int, str]]:
    return [(hit.number, hit.text) for hit in find.hits(query, history(*contents))]


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
def test_hits_are_all_places_in_order(query: str, expected: list[tuple[int, str]]):
    assert places(query, "The disk is full. Disk!", "DISK ß\n\"'", "fulls") == expected


def test_hit_shows_what_stands_around_it():
    [hit] = find.hits("needle", history("a" * 500 + " needle " + "b" * 500))

    assert (hit.before, hit.after) == ("a" * 69 + " ", " " + "b" * 69)


def test_hits_are_found_in_json_within_a_message():
    assert places('say "hi"', '{"content":"I say \\"hi\\" to all"}') == [(1, 'say \\"hi\\"')]


def test_hits_end_at_the_most_that_are_counted():
    assert len(find.hits("x", history("x" * 5_000))) == find.MOST_HITS


@pytest.mark.parametrize("query", ["needle", "né"])
def test_find_ends_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch, query: str):
    clock = count()  # a second for each look at it, and so for each piece and each place
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))

    found = find.hits(query, history(query + "." * search.PIECE + query), seconds=2)

    assert ([hit.text for hit in found], found.may_be_more) == ([query], True)


@pytest.mark.parametrize("query", ["needle", "nEEdle", "né", 'say "hi'])
@pytest.mark.parametrize("place", [-3, -1, 0, 1, 5])
def test_find_finds_what_stands_across_two_pieces(query: str, place: int):
    size = search.PIECE_OF_PATTERN if search._has_escapes(query) else search.PIECE
    text = "." * (size + place) + query + "." * size + query

    hits = find.hits(query, history(text))
    assert [hit.text for hit in hits] == [query] * 2
    assert not hits.may_be_more


@given(st.text("ab", max_size=40), st.text("ab", min_size=1, max_size=4), st.integers(1, 9))
def test_places_do_not_depend_on_the_pieces(text: str, query: str, size: int):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(search, "PIECE", size)
        places = list(search.Term(query).places(text))

    assert places == [found.span() for found in re.finditer(re.escape(query), text)]


def test_find_ends_in_a_text_full_of_secrets(monkeypatch: pytest.MonkeyPatch):
    looked_at: list[int] = []
    around = SearchedText.context

    def counted(hidden: SearchedText, *place: int) -> tuple[str, str, str] | None:
        looked_at.append(place[0])
        return around(hidden, *place)

    clock = count()
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(SearchedText, "context", counted)
    text = "\n".join(f"password: a1a1a1a1a1{number}" for number in range(2_000))
    found = find.hits("a1a1", history(text), seconds=100)

    assert (list(found), found.may_be_more) == ([], True)
    assert 90 < len(looked_at) < 110
