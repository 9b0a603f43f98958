"""The tool calls and the results that messages carry, in both forms the agent writes.

With tags, an assistant's text holds `<tool_call>{json}</tool_call>`, and a user message holds the
results. With native calls, an assistant message is JSON with `tool_calls`, and each result is a
message of its own that names its call. Whatever is not quite so is kept as the text it is.
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

MOST_CALLS = 200  # of one message or element; what follows is shown as text

_RESULTS_HEAD = "[Tool results]"
_RESULT_TAG = re.compile(
    r'(?:^|\n)<tool_result(?: name="(?P<name>[^"\n]*+)")?(?: status="(?P<status>[^"\n]*+)")?>\n?'
)
_RESULT_END = "</tool_result>"
_STATUSES = {"ok": True, "success": True, "error": False, "failed": False, "failure": False}


@dataclass
class Call:
    """One tool call, and what came of it as far as that is known."""

    tool_name: str
    arguments: Any  # any JSON value
    success: bool | None = None
    output: Output | None = None  # None where no result is known
    anchor: str = ""  # unique in a page
    problem: str = ""  # what is odd about it
    id: str = ""  # its name in the native form
    answered_in: int | None = None  # the number of the message with its result

    @cached_property
    def given(self) -> Arguments:
        return Arguments(self.arguments)

    @property
    def short_name(self) -> str:
        return request_masking.truncate(self.tool_name, 200) or "(no name)"

    @property
    def is_listing(self) -> bool:
        """Whether it printed a file, and nothing besides."""
        name, output = self.tool_name.lower(), self.output.body if self.output else ""
        return self.success is not False and "read" in name and "\x1b" not in output

    @property
    def is_cut(self) -> bool:
        """Whether a part of it is not in the page."""
        return self.given.is_cut or (self.output is not None and self.output.is_cut)


@dataclass(frozen=True)
class Broken:
    """What should have been a tool call or is left over, as the text it is."""

    text: Text
    problem: str


Part = Text | Call | Broken


@dataclass
class Result:
    """What a tool gave back, before it is known to which call."""

    tool_name: str
    output: str
    success: bool | None = None
    call_id: str = ""
    problem: str = ""
    shown_in: int | None = None  # the number of the message with its call

    @property
    def text(self) -> Output:
        return Output(self.output)


def parts(message: str) -> list[Part]:
    """An assistant's text with its tool calls, in order; nothing of it is lost."""
    found: list[Part] = []
    position = count = 0
    for tag, end in tool_calls(message):
        if count >= MOST_CALLS:
            rest = Broken(Text(message[position:]), f"more than {MOST_CALLS} tool calls")
            return [*found, rest]
        found += _prose(message[position : tag.start()])
        called = _calls(tag[0], message[tag.start() : end])
        found += called
        count, position = count + len(called), end
    rest_of_it = message[position:]
    if open_tag := OPEN_TAG.search(rest_of_it):
        found += _prose(rest_of_it[: open_tag.start()])
        unended = Text(rest_of_it[open_tag.start() :])
        return [*found, Broken(unended, "a tool call that does not end")]
    return found + _prose(rest_of_it)


def _prose(text: str) -> list[Part]:
    return [Text(stripped)] if (stripped := text.strip("\n")) and not text.isspace() else []


def _calls(open_tag: str, stored: str) -> list[Part]:
    """The calls of one element, which are several where it holds an array."""
    close_tag = f"</{open_tag[1:]}"
    body = stored[len(open_tag) :].removesuffix(close_tag)
    value = _json(body.strip())
    ended = stored.endswith(close_tag)
    if value is None and ended and OPEN_TAG.match(body.lstrip()):
        return parts(body)  # in which no element has this name, so that there is a deepest
    if value is None and not ended:
        value = _json(_first_container(body))
    given: list[Any] = value if isinstance(value, list) else [value]
    calls = [_call(each) for each in given[:MOST_CALLS]]
    if calls and None not in calls and len(given) <= MOST_CALLS:
        return [call for call in calls if call is not None]
    problem = "a tool call that is not JSON" if value is None else "a tool call without a name"
    return [Broken(Text(stored), problem)]


def _first_container(body: str) -> str:
    """The JSON with which an element without an end tag begins, up to its last bracket."""
    return body[: max(body.rfind("}"), body.rfind("]")) + 1].strip()


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


def _arguments(given: Any) -> Any:
    """Arguments that were given as JSON in a text, too."""
    if isinstance(given, str) and given.lstrip()[:1] in ("{", "["):
        decoded = _json(given)
        return given if decoded is None else decoded
    return given


def native(message: str) -> tuple[str, list[Part]] | None:
    """The reasoning, and the text with the calls, of a native message; None if it is no such."""
    if not message.startswith("{") or '"tool_calls"' not in message:
        return None
    value = _json(message)
    if not isinstance(value, dict) or not isinstance(value.get("tool_calls"), list):
        return None
    content, reasoning = value.get("content"), value.get("reasoning_content")
    found = _prose(content) if isinstance(content, str) else []
    given: list[Any] = value["tool_calls"]
    for each in given[:MOST_CALLS]:
        found.append(_native_call(each))
    if len(given) > MOST_CALLS:
        left = msgspec.json.encode(given[MOST_CALLS:]).decode()
        found.append(Broken(Text(left), f"more than {MOST_CALLS} tool calls"))
    return reasoning if isinstance(reasoning, str) else "", found


def _native_call(value: Any) -> Part:
    call = _call(value)
    if call is None:
        return Broken(Text(msgspec.json.encode(value).decode()), "a tool call without a name")
    if isinstance(value.get("id"), str):
        call.id = value["id"]
    return call


def results(role: str, message: str) -> list[Result]:
    """The results that a message holds; none if it is no such message."""
    if role == "tool":
        return [_native_result(message)]
    if role == "user" and message.startswith(_RESULTS_HEAD):
        return list(_tagged_results(message))
    return []


def _native_result(message: str) -> Result:
    value = _json(message) if message.startswith("{") else None
    if isinstance(value, dict):
        call_id, content = value.get("tool_call_id"), value.get("content")
        if isinstance(call_id, str) and isinstance(content, str):
            return Result("", content, call_id=call_id)
    return Result("", message, problem="a result that does not name its call")


def _tagged_results(message: str) -> Iterator[Result]:
    """Each from its tag to the last end tag before the next one, as an output may hold one too."""
    tags = list(_RESULT_TAG.finditer(message))
    before = message[len(_RESULTS_HEAD) : tags[0].start() if tags else None]
    if before.strip():
        yield Result("", before.strip("\n"), problem="a text among the results")
    for place, tag in enumerate(tags):
        if place == MOST_CALLS:
            yield Result("", message[tag.start() :], problem=f"more than {MOST_CALLS} results")
            return
        last = place + 1 == len(tags)
        block = message[tag.end() : None if last else tags[place + 1].start()]
        output, end, after = block.rpartition(_RESULT_END)
        success = _STATUSES.get((tag["status"] or "").lower())
        result = Result(tag["name"] or "", (output if end else after).removesuffix("\n"), success)
        if not end:
            result.problem = "a result that does not end"
        yield result
        if end and after.strip():
            yield Result("", after.strip("\n"), problem="a text among the results")


def pair(calls: list[Call], given: list[Result], number: int, call_number: int) -> None:
    """Give each result of message `number` to its call: by the id, or the first of its name."""
    for result in given:
        call = _call_for(result, calls)
        if call is not None:
            call.output, call.answered_in = Output(result.output), number
            call.success = result.success if call.success is None else call.success
            result.shown_in = call_number


def _call_for(result: Result, calls: list[Call]) -> Call | None:
    if result.problem:
        return None
    waiting = [call for call in calls if call.output is None]
    if result.call_id:
        return next((call for call in waiting if call.id == result.call_id), None)
    return next((call for call in waiting if call.tool_name == result.tool_name), None)


def _json(text: str) -> Any:
    """The value of a JSON text; None also where it is none."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return None
