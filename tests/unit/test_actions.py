"""Tests of what a tool call did: its kind and what it acted on."""

from typing import Any

import pytest

from tasks.transcript.actions import MAX_TARGET, kind_of, target_of


@pytest.mark.parametrize(
    ("tool", "arguments", "kind", "target"),
    [
        ("shell", {"command": "make test"}, "command", "make test"),
        ("anything", {"cmd": "ls\nls -a"}, "command", "ls\nls -a"),
        ("run_python", {"code": "print(1)"}, "command", "print(1)"),
        ("file_read", {"path": "a.py"}, "read", "a.py"),
        ("file_read", {"arguments": "src/a.py 20"}, "read", "src/a.py 20"),
        ("find_file", {"arguments": "a.py"}, "read", "a.py"),
        ("file_write", {"path": "a.py", "content": "x"}, "write", "a.py"),
        ("file_write", {"path": "a.py"}, "write", "a.py"),
        ("str_replace", {"path": "a.py", "old_str": "x", "new_str": "y"}, "write", "a.py"),
        ("delete_file", {"path": "a.py"}, "write", "a.py"),
        ("file_edit", {"arguments": "1:9\nx"}, "write", "1:9\nx"),
        ("fetch", {"url": "https://example.org/"}, "address", "https://example.org/"),
        ("anything", {"url": "https://example.org/", "n": 2}, "address", "https://example.org/"),
        ("web_search", {"query": "django"}, "address", "django"),
        ("send_message", {"to": "maya", "body": "done"}, "message", "maya"),
        ("send_file", {"path": "a.pdf", "content": "x"}, "message", "a.pdf"),
        ("submit", {"arguments": "flag"}, "other", "flag"),
        ("memory_store", {"key": "name", "tags": ["x"]}, "other", "name"),
        ("wait", {}, "other", ""),
        ("wait", None, "other", ""),
        ("", ["x"], "other", '[\n  "x"\n]'.splitlines()[0]),
    ],
)
def test_call_has_a_kind_and_a_target(tool: str, arguments: Any, kind: str, target: str):
    assert (kind_of(tool, arguments), target_of(tool, arguments)) == (kind, target)


def test_target_is_limited():
    assert len(target_of("shell", {"command": "x" * 5_000})) == MAX_TARGET
