"""Parses tool calls and results in messages, in both of the formats that the agent writes.

In the tagged format, an assistant message contains `<tool_call>{json}</tool_call>`, and one user
message holds the results. In the native format, an assistant message is JSON with `tool_calls`,
and each result is a separate message that names its call. Anything malformed is kept as text.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec

from tasks.sanitization import OPEN_TAG, tool_calls
from tasks.secrets import request_masking
from tasks.transcript.arguments import Arguments
from tasks.transcript.text_preview import Output, Text

SUMMARY_LENGTH = 200
MAX_CALLS = 200  # per message or tool call tag; any further calls are kept as text

RESULTS_HEAD = "[Tool results]"
_RESULT_TAG = re.compile(
    r'(?:^|\n)<tool_result(?: name="(?P<name>[^"\n]*+)")?(?: status="(?P<status>[^"\n]*+)")?>\n?'
)
_RESULT_END = "</tool_result>"
_STATUSES = {"ok": True, "success": True, "error": False, "failed": False, "failure": False}


@dataclass
class Call:
    """One tool call and its result, if known."""

    tool_name: str
    arguments: Any  # any JSON value
    success: bool | None = None
    output: Output | None = None
    anchor: str = ""  # an HTML id that is unique on the page
    id: str = ""  # set only in the native format
    result_number: int | None = None  # the number of the message that holds the result
    result_anchor: str = ""  # that message's HTML id, if it is displayed only in this call

    @cached_property
    def parsed_arguments(self) -> Arguments:
        return Arguments(self.arguments)

    @property
    def short_name(self) -> str:
        return request_masking.truncate(self.tool_name, 200) or "(no name)"

    @property
    def summary(self) -> str:
        """The call on one line, such as "shell: make test"."""
        arguments = self.parsed_arguments
        fields = (field.text for field in arguments.fields)
        texts = (text.whole for text in (arguments.command, arguments.single_text, *fields) if text)
        lines = (arguments.path or next(texts, "")).strip().splitlines()
        name = self.short_name
        return request_masking.shorten(f"{name}: {lines[0]}" if lines else name, SUMMARY_LENGTH)

    @property
    def is_file_read(self) -> bool:
        """Whether the call's output is probably the contents of a file."""
        name, output = self.tool_name.lower(), self.output.body if self.output else ""
        return self.success is not False and "read" in name and "\x1b" not in output

    @property
    def is_cut(self) -> bool:
        """Whether the page leaves out part of the arguments or the output."""
        return self.parsed_arguments.is_cut or (self.output is not None and self.output.is_cut)


@dataclass(frozen=True)
class Broken:
    """The text of a malformed tool call, or of all calls beyond the limit."""

    text: Text
    problem: str


Part = Text | Call | Broken


@dataclass
class Result:
    """One tool result in a message."""

    tool_name: str
    output: str
    success: bool | None = None
    call_id: str = ""
    problem: str = ""
    call_number: int | None = None  # the number of the message that holds the call

    @property
    def text(self) -> Output:
        return Output(self.output)


def parse_assistant(message: str) -> tuple[str, list[Part]]:
    """Return the reasoning and parts of an assistant message in either format."""
    native = _parse_native(message)
    return ("", parse_tagged(message)) if native is None else native


def parse_tagged(message: str) -> list[Part]:
    """Split a tagged message into its text and tool calls, in order and without losing anything."""
    parts: list[Part] = []
    position = count = 0
    for tag, end in tool_calls(message):
        if count >= MAX_CALLS:
            return [*parts, Broken(Text(message[position:]), f"more than {MAX_CALLS} tool calls")]
        parts += _prose(message[position : tag.start()])
        calls = _parse_element(tag[0], message[tag.start() : end])
        parts += calls
        count, position = count + len(calls), end
    rest = message[position:]
    if open_tag := OPEN_TAG.search(rest):
        unterminated = Text(rest[open_tag.start() :])
        parts += _prose(rest[: open_tag.start()])
        return [*parts, Broken(unterminated, "tool call is not closed")]
    return parts + _prose(rest)


def _prose(text: str) -> list[Part]:
    return [Text(stripped)] if (stripped := text.strip("\n")) and not text.isspace() else []


def _parse_element(open_tag: str, element: str) -> list[Part]:
    """Parse a tool call element, which may contain an array of calls or nested elements."""
    close_tag = f"</{open_tag[1:]}"
    body = element[len(open_tag) :].removesuffix(close_tag)
    value = _decode_json(body.strip())
    is_closed = element.endswith(close_tag)
    if value is None and is_closed and OPEN_TAG.match(body.lstrip()):
        return parse_tagged(body)  # the body cannot contain the same tag, so recursion ends
    if value is None and not is_closed:
        value = _decode_json(body[: max(body.rfind("}"), body.rfind("]")) + 1].strip())
    values: list[Any] = value if isinstance(value, list) else [value]
    calls = [_call(each) for each in values[:MAX_CALLS]]
    if calls and None not in calls and len(values) <= MAX_CALLS:
        return [call for call in calls if call is not None]
    problem = "tool call is not valid JSON" if value is None else "tool call has no name"
    return [Broken(Text(element), problem)]


def _call(value: Any) -> Call | None:
    if not isinstance(value, dict):
        return None
    inner = value.get("function")
    value = inner if isinstance(inner, dict) else value
    name = value.get("name")
    if not isinstance(name, str):
        return None
    keys = ("arguments", "parameters", "args")
    return Call(name, _arguments(next((value[key] for key in keys if key in value), {})))


def _arguments(value: Any) -> Any:
    """Decode arguments given as a JSON string, and return any others unchanged."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        decoded = _decode_json(value)
        return value if decoded is None else decoded
    return value


def _parse_native(message: str) -> tuple[str, list[Part]] | None:
    """Return a native message's reasoning and parts, or None if the message is not native."""
    if not message.startswith("{") or '"tool_calls"' not in message:
        return None
    value = _decode_json(message)
    if not isinstance(value, dict) or not isinstance(value.get("tool_calls"), list):
        return None
    content, reasoning = value.get("content"), value.get("reasoning_content")
    parts = _prose(content) if isinstance(content, str) else []
    calls: list[Any] = value["tool_calls"]
    parts += map(_native_call, calls[:MAX_CALLS])
    if len(calls) > MAX_CALLS:
        rest = msgspec.json.encode(calls[MAX_CALLS:]).decode()
        parts.append(Broken(Text(rest), f"more than {MAX_CALLS} tool calls"))
    return reasoning if isinstance(reasoning, str) else "", parts


def _native_call(value: Any) -> Part:
    call = _call(value)
    if call is None:
        return Broken(Text(msgspec.json.encode(value).decode()), "tool call has no name")
    if isinstance(value.get("id"), str):
        call.id = value["id"]
    return call


def may_hold_results(role: str, message: str) -> bool:
    """Return whether a message is of the kind that holds tool results, without parsing it."""
    return role == "tool" or (role == "user" and message.startswith(RESULTS_HEAD))


def parse_results(role: str, message: str) -> list[Result]:
    """Return the tool results in a message that has the given role."""
    if not may_hold_results(role, message):
        return []
    return [_native_result(message)] if role == "tool" else list(_tagged_results(message))


def _native_result(message: str) -> Result:
    value = _decode_json(message) if message.startswith("{") else None
    if isinstance(value, dict):
        call_id, content = value.get("tool_call_id"), value.get("content")
        if isinstance(call_id, str) and isinstance(content, str):
            return Result("", content, call_id=call_id)
    return Result("", message, problem="result has no call ID")


def _tagged_results(message: str) -> Iterator[Result]:
    """Yield tool results. A result ends at its last end tag, as its output may contain end tags."""
    tags = list(_RESULT_TAG.finditer(message))
    before = message[len(RESULTS_HEAD) : tags[0].start() if tags else None]
    if before.strip():
        yield Result("", before.strip("\n"), problem="text outside of results")
    for index, tag in enumerate(tags):
        if index == MAX_CALLS:
            yield Result("", message[tag.start() :], problem=f"more than {MAX_CALLS} results")
            return
        is_last = index + 1 == len(tags)
        block = message[tag.end() : None if is_last else tags[index + 1].start()]
        output, end, after = block.rpartition(_RESULT_END)
        success = _STATUSES.get((tag["status"] or "").lower())
        result = Result(tag["name"] or "", (output if end else after).removesuffix("\n"), success)
        if not end:
            result.problem = "result is not closed"
        yield result
        if end and after.strip():
            yield Result("", after.strip("\n"), problem="text outside of results")


def pair(calls: list[Call], results: list[Result], call_number: int, result_number: int) -> None:
    """Attach each result to the call with its id, or else to the first call of the same tool.

    `call_number` and `result_number` identify the messages that hold the calls and the results.
    """
    for result in results:
        call = _call_for(result, calls)
        if call is not None:
            call.output, call.result_number = Output(result.output), result_number
            call.success = result.success if call.success is None else call.success
            result.call_number = call_number


def _call_for(result: Result, calls: list[Call]) -> Call | None:
    if result.problem:
        return None
    open_calls = [call for call in calls if call.output is None]
    if result.call_id:
        return next((call for call in open_calls if call.id == result.call_id), None)
    return next((call for call in open_calls if call.tool_name == result.tool_name), None)


def _decode_json(text: str) -> Any:
    """Decode JSON, or return None if it is invalid."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return None
