"""Tests how long text is folded or truncated on a page."""

import pytest

from tasks.transcript.text_preview import Output, Text, format_size


@pytest.mark.parametrize(
    ("length", "expected"),
    [(0, "0 B"), (999, "999 B"), (7_600, "7.6 KB"), (2_345_678, "2.3 MB")],
)
def test_format_size(length: int, expected: str):
    assert format_size(length) == expected


def test_text_is_folded_and_cut_by_its_length():
    short, long, huge = (Text("x" * n) for n in (1_200, 1_201, 20_001))

    assert (short.is_long, long.is_long) == (False, True)
    assert (long.is_cut, huge.is_cut) == (False, True)
    assert (len(huge.preview), len(huge.display), huge.length) == (900, 20_000, 20_001)


def test_text_is_folded_by_its_lines():
    short, long = Text("a\n" * 20), Text("a\n" * 21)

    assert (short.is_long, long.is_long) == (False, True)
    assert long.preview.count("\n") == 11


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", "0 B"), ("a", "1 B"), ("é\n", "3 B"), ("a\nb", "3 B, 2 lines")],
)
def test_size_is_that_of_the_stored_text(text: str, expected: str):
    assert Text(text).size == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see data:image/png;base64,AAAABBBB.", "see [IMAGE:image/png, 6 B]."),
        ("data:image/svg+xml;charset=utf-8;base64,AAAA", "[IMAGE:image/svg+xml, 3 B]"),
        ("data:text/plain,hello", "data:text/plain,hello"),
        ("[IMAGE:/tmp/a.png]", "[IMAGE:/tmp/a.png]"),
    ],
)
def test_data_url_is_collapsed_to_type_and_size(text: str, expected: str):
    assert Text(text).display == expected


def test_text_with_a_large_data_url_is_not_cut():
    text = Text("data:image/png;base64," + "A" * 2_000_000 + " and more")

    assert (text.display, text.is_cut) == ("[IMAGE:image/png, 1.5 MB] and more", False)


def test_output_is_replayed():
    output = Output("1%\r2%\r100%\r\n\x1b[2Kdone\n\n")

    assert (output.display, output.whole[:2]) == ("100%\ndone", "1%")


def test_output_too_long_to_replay_is_cut():
    assert Output("1%\r" * 300_000).is_cut
