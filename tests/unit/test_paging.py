from hypothesis import given
from hypothesis import strategies as st

from tasks.transcript.paging import MAX_ENTRIES, MAX_WEIGHT, Page, page_at

sizes = st.lists(st.integers(0, MAX_WEIGHT), max_size=300)


def all_pages(given: list[int]) -> list[Page]:
    found, position = [], 0
    while position < len(given):
        found.append(page_at(position, given))
        position = found[-1].end
    return found


@given(sizes)
def test_pages_hold_every_entry_once(given: list[int]):
    held = [index for page in all_pages(given) for index in range(page.start, page.end)]

    assert held == list(range(len(given)))


@given(sizes)
def test_pages_are_no_larger_than_a_page_may_be(given: list[int]):
    for page in all_pages(given):
        assert page.end - page.start <= MAX_ENTRIES
        assert sum(given[page.start : page.end]) <= MAX_WEIGHT or page.end - page.start == 1


@given(sizes, st.integers(-3, 400))
def test_page_of_a_position_is_the_one_that_holds_it(given: list[int], position: int):
    page = page_at(position, given)

    nearest = min(max(position, 0), max(len(given) - 1, 0))
    assert page.start <= nearest < page.end or not given


@given(sizes, st.lists(st.integers(0, MAX_WEIGHT), max_size=5))
def test_pages_but_the_last_stay_when_entries_are_added(given: list[int], more: list[int]):
    before, after = all_pages(given)[:-1], all_pages(given + more)

    assert [(p.start, p.end) for p in before] == [(p.start, p.end) for p in after][: len(before)]


@given(sizes)
def test_page_knows_where_the_one_before_starts(given: list[int]):
    pages = all_pages(given)

    assert [p.previous_start for p in pages[1:]] == [p.start for p in pages[:-1]]
