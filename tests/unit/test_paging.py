from hypothesis import given
from hypothesis import strategies as st

from tasks.transcript.paging import MOST, ROOM, Piece, piece_with

sizes = st.lists(st.integers(0, ROOM), max_size=300)


def all_pieces(given: list[int]) -> list[Piece]:
    found, position = [], 0
    while position < len(given):
        found.append(piece_with(position, given))
        position = found[-1].end
    return found


@given(sizes)
def test_pieces_hold_every_entry_once(given: list[int]):
    held = [index for piece in all_pieces(given) for index in range(piece.start, piece.end)]

    assert held == list(range(len(given)))


@given(sizes)
def test_pieces_are_no_larger_than_a_page_may_be(given: list[int]):
    for piece in all_pieces(given):
        assert piece.end - piece.start <= MOST
        assert sum(given[piece.start : piece.end]) <= ROOM or piece.end - piece.start == 1


@given(sizes, st.integers(-3, 400))
def test_piece_of_a_position_is_the_one_that_holds_it(given: list[int], position: int):
    piece = piece_with(position, given)

    nearest = min(max(position, 0), max(len(given) - 1, 0))
    assert piece.start <= nearest < piece.end or not given


@given(sizes, st.lists(st.integers(0, ROOM), max_size=5))
def test_pieces_but_the_last_stay_when_entries_are_added(given: list[int], more: list[int]):
    before, after = all_pieces(given)[:-1], all_pieces(given + more)

    assert [(p.start, p.end) for p in before] == [(p.start, p.end) for p in after][: len(before)]


@given(sizes)
def test_piece_knows_where_the_one_before_starts(given: list[int]):
    pieces = all_pieces(given)

    assert [p.before for p in pieces[1:]] == [p.start for p in pieces[:-1]]
