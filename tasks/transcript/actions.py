"""Tells what a tool call did to the machine or the world: its kind, and what it acted on."""

import re
from typing import Any

from tasks.transcript.tool_calls import Call

KINDS = {
    "command": "commands",
    "write": "files written",
    "read": "files read",
    "address": "addresses asked",
    "message": "messages sent",
    "other": "other calls",
}
MAX_TARGET = 1_000  # characters
_ADDRESS_KEYS = ("url", "uri", "href", "address")
# What names of tools say of calls whose arguments do not tell. The first match counts.
_NAMES = {
    "command": r"shell|bash|terminal|exec|command|python|run_",
    "message": r"send|reply|notify|email|message|sms",
    "write": r"write|edit|create|patch|replace|insert|append|delete|rename|move",
    "address": r"fetch|http|web|brows|url|download|curl",
    "read": r"read|open|view|list|find|glob|grep|search|\bls\b|\bcat\b",
}
_BY_NAME = re.compile("|".join(f"(?P<{kind}>{words})" for kind, words in _NAMES.items()))


def kind_of(tool: str, arguments: Any) -> str:
    """Return a call's kind, a key of KINDS: as its arguments tell, or else the tool's name."""
    parsed = Call(tool, arguments).parsed_arguments
    if parsed.command:
        return "command"
    by_name = _kind_by_name(tool)
    if parsed.is_edit or (parsed.content and by_name != "message"):
        return "write"
    if _address(arguments):
        return "address"
    if parsed.path and by_name not in ("write", "message"):
        return "read"
    return by_name


def target_of(tool: str, arguments: Any) -> str:
    """Return the command, path, address or other text that the call acts on, in one string."""
    call = Call(tool, arguments)
    parsed = call.parsed_arguments
    text = parsed.command or parsed.single_text
    target = parsed.path or (text.whole if text else "") or _address(arguments)
    return (target or call.summary.partition(": ")[2]).strip()[:MAX_TARGET]


def _kind_by_name(tool: str) -> str:
    kinds = {match.lastgroup for match in _BY_NAME.finditer(tool.lower()[:200])}
    return next((kind for kind in _NAMES if kind in kinds), "other")


def _address(arguments: Any) -> str:
    if not isinstance(arguments, dict):
        return ""
    values = (arguments.get(key) for key in _ADDRESS_KEYS)
    return next((value for value in values if isinstance(value, str) and value), "")
