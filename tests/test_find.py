import pytest

from tasks.reading import find
from tests.factories import history


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
