from hypothesis import given
from hypothesis import strategies as st

from tasks.transcript.paging import MAX_ATTACHED, MAX_ENTRIES, MAX_WEIGHT, Page, page_at

WEIGHTS = st.lists(st.integers(0, MAX_WEIGHT), max_size=300)


def all_pages(weights: list[int]) -> list[Page]:
    pages, position = [], 0
    while position < len(weights):
        pages.append(page_at(position, weights))
        position = pages[-1].end
    return pages


@given(WEIGHTS)
def test_pages_hold_every_entry_once(weights: list[int]):
    indexes = [index for page in all_pages(weights) for index in range(page.start, page.end)]

    assert indexes == list(range(len(weights)))


@given(WEIGHTS)
def test_pages_are_bounded(weights: list[int]):
    for page in all_pages(weights):
        assert page.end - page.start <= MAX_ENTRIES
        assert sum(weights[page.start : page.end]) <= MAX_WEIGHT or page.end - page.start == 1


@given(WEIGHTS, st.integers(-3, 400))
def test_page_at_a_position_holds_it(weights: list[int], position: int):
    page = page_at(position, weights)

    nearest = min(max(position, 0), max(len(weights) - 1, 0))
    assert page.start <= nearest < page.end or not weights


@given(WEIGHTS, st.lists(st.integers(0, MAX_WEIGHT), max_size=5))
def test_appending_changes_the_last_page_only(weights: list[int], more: list[int]):
    before, after = all_pages(weights)[:-1], all_pages(weights + more)

    assert [(p.start, p.end) for p in before] == [(p.start, p.end) for p in after][: len(before)]


@given(WEIGHTS)
def test_page_knows_the_start_of_the_previous_one(weights: list[int]):
    pages = all_pages(weights)

    assert [p.previous_start for p in pages[1:]] == [p.start for p in pages[:-1]]


def test_attached_entries_stay_with_the_one_before_them():
    attached = [False] * MAX_ENTRIES + [True] * 3 + [False] * 5
    weights = [MAX_WEIGHT // MAX_ENTRIES] * len(attached)

    page = page_at(MAX_ENTRIES + 1, weights, attached)

    assert (page.start, page.end) == (0, MAX_ENTRIES + 3)
    assert page_at(0, [1] * 1_000, [True] * 1_000).end == MAX_ENTRIES + MAX_ATTACHED
