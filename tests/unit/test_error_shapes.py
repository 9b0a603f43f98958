"""Tests of which line of a text is its error, and of the shapes of errors."""

import time

import pytest

from masking import mask
from tasks.index.error_shapes import MAX_OUTPUT, error_line, shape_id, shape_of

SHAPES = {
    "LLM request timed out after 300s": "LLM request timed out after <number>s",
    "agent exceeded maximum iterations (64)": "agent exceeded maximum iterations (<number>)",
    "cannot open '/root/a b/*' (No such file)": "cannot open <text> (No such file)",
    "cannot open `a' for reading": "cannot open <text> for reading",
    "error reading ~/.ssh/config: denied": "error reading <path>: denied",
    "src/basket.ts(41,7): error TS2322": "<path>(<number>): error TS2322",
    r"C:\Users\me\x.txt is missing": "<path> is missing",
    "I/O error, and/or a timeout": "I/O error, and/or a timeout",
    "GET https://example.org/a?b=1 failed": "GET <url> failed",
    "2026-11-01T10:00:00.123+01:00 job 7 failed": "<time> job <number> failed",
    "failed at 10:00:59": "failed at <time>",
    "no task 9f0c21d4-91b2-4c6e-8f4e-6f1d2c3b4a59": "no task <id>",
    "segfault at 0x7ffd1234": "segfault at <id>",
    "commit 4f2a9c1e8b not found": "commit <id> not found",
    "IMG_0001 is invalid, E999": "IMG_<number> is invalid, E999",
    "model qwen3:32b is still loading": "model qwen3:<number>b is still loading",
    "it can't, won't and didn't": "it can't, won't and didn't",
    '"only" "texts"': '"only" "texts"',  # nothing would be left
    "42": "42",
}


@pytest.mark.parametrize("line", SHAPES)
def test_shape_leaves_out_details(line: str):
    assert shape_of(line) == SHAPES[line]
    assert shape_of(line).encode() and shape_id(line) < 10**18  # as the list's filter takes it


LINES = {
    "": "",
    "\n \n": "",
    "\n  Indented error\nplain": "  Indented error".strip(),
    "collected 3 items\n=== FAILURES ===\nFAILED tests/test_x.py": "FAILED tests/test_x.py",
    "Traceback (most recent call last):\n  raise ValueError(1)\nValueError: 1": "ValueError: 1",
    "[File: a.py]\n12: raise ValueError()\n13 | error": "[File: a.py]",
    "\x1b[31merror:\x1b[0m   no\ttabs": "error: no tabs",
    '{"error": {"code": 4, "message": "Rate limited"}}': "Rate limited",
    '{"error": "", "detail": "gone"}': "gone",
    '{"code": 4}': '{"code": 4}',
    "{broken error": "{broken error",
    "x" * 400: "x" * 300,
}


@pytest.mark.parametrize("text", LINES)
def test_error_line_is_the_first_that_names_an_error(text: str):
    assert error_line(text) == LINES[text]


def test_masks_stay_in_lines_and_shapes():
    line = error_line(mask("error: password=hunter2-abcdef is wrong"))

    assert "hunter2" not in line
    assert shape_of(line) == line


HOSTILE = [
    "'",
    '"',
    "`",
    "“",
    "a.",
    "a/",
    "/",
    "1:",
    "1-",
    "2026-",
    "x1",
    "error",
    "{",
    "~",
    "\x1b",
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_any_text_has_a_shape_at_once(piece: str):
    text = piece * (MAX_OUTPUT // len(piece))
    started = time.thread_time()
    shape_of(error_line(text))

    assert time.thread_time() - started < 0.2
