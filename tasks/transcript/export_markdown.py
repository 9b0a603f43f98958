"""Export a task as a Markdown document.

Text is masked before Markdown is added, because escapes could hide a secret from the masking.
"""

import re
from collections.abc import Iterator

from markdown_it import MarkdownIt

from tasks.fields import to_text
from tasks.models import TaskRecord
from tasks.secrets import request_masking
from tasks.transcript import terminal
from tasks.transcript.arguments import json_text
from tasks.transcript.history import Message, Thread
from tasks.transcript.rendering import MARKDOWN_LENGTH
from tasks.transcript.text_preview import Output, Text
from tasks.transcript.tool_calls import Broken, Call, Result

_BACKTICKS = re.compile("`+")
# Matches a sign of an image, HTML tag, link definition, or link other than http(s) or mailto. The
# search starts only at the first of the backslashes before it, to take linear time.
_UNSAFE = re.compile(
    r"(?<!\\)(?P<slashes>\\*+)"
    r"(?P<sign>!(?=\[)|<(?=[A-Za-z/!?])|\](?=:)"
    r"|(?<=\])\((?!\s*+(?:https?://|mailto:)))"
)
_markdown = MarkdownIt("commonmark", {"html": False})


def document(record: TaskRecord) -> Iterator[str]:
    """Yield the task's details, its messages and its response. An invalid history is shown raw."""
    thread = Thread(record)
    yield f"# {_inline(thread.title or record.thread_id)}\n\n"
    yield from _facts(record)
    if thread.problem:
        yield f"\nThe history cannot be read: {_line(thread.problem)}. As it is stored:\n\n"
        yield _fenced(thread.raw.whole)
    for message in thread.messages:
        if not message.is_absorbed:
            yield from _message(message)
    if record.final_response:
        yield f"\n## Final response\n\n{_harmless(str(record.final_response))}\n"


def _facts(record: TaskRecord) -> Iterator[str]:
    facts = {
        "Thread": record.thread_id,
        "Task": record.task_id,
        "Status": record.status,
        "Error": record.last_error,
        "Channel": record.channel,
        "Model": f"{record.provider} {record.model}",
        "Created": to_text(record.created_at),
        "Updated": to_text(record.updated_at),
    }
    for name, value in facts.items():
        if value:
            yield f"- {name}: {_code(str(value))}\n"


def _message(message: Message) -> Iterator[str]:
    yield f"\n## {message.number}. {_inline(message.role) or '(no role)'}\n\n"
    if message.is_tool_output:
        for result in message.orphaned_results:
            yield from _result(result)
    elif message.role == "assistant":
        if message.reasoning:
            reasoning = _harmless(message.reasoning.whole)
            yield "".join(f"> {line}\n" for line in reasoning.split("\n")) + "\n"
        for part in message.parts:
            yield from _part(part)
    else:
        yield f"{_harmless(message.text.whole)}\n"


def _part(part: Text | Call | Broken) -> Iterator[str]:
    if isinstance(part, Call):
        yield from _call(part)
    elif isinstance(part, Broken):
        yield f"{_line(part.problem)}:\n\n{_fenced(part.text.whole)}"
    else:
        yield f"{_harmless(part.whole)}\n\n"


def _call(call: Call) -> Iterator[str]:
    outcome = {True: ", ok", False: ", failed", None: ""}[call.success]
    yield f"**{_code(call.tool_name)}**{outcome}\n\n"
    args = call.parsed_arguments
    if args.path:
        yield f"{_code(args.path)}\n\n"
    if args.command:
        yield _fenced(args.command.whole, "sh")
    if args.diff is not None:
        yield _fenced("\n".join(line.sign + line.text for line in args.diff), "diff")
    if args.content:
        yield _fenced(args.content.whole, args.language)
    if args.single_text:
        yield _fenced(args.single_text.whole)
    if args.rest is not None:
        yield _fenced(json_text(args.rest).whole, "json")
    if call.output is not None:
        yield _output(call.output)


def _result(result: Result) -> Iterator[str]:
    yield f"**{_code(result.tool_name or 'result')}**, {result.problem or 'no call for it'}\n\n"
    yield _output(result.text)


def _output(output: Output) -> str:
    text = "".join(text for _, text in terminal.spans(output.full))
    return _fenced(text) if text else "(no output)\n\n"


def _inline(text: str) -> str:
    """Return text as safe, single-line Markdown."""
    return _UNSAFE.sub(_escape, _line(request_masking.mask(text)))


def _harmless(text: str) -> str:
    """Escape images, HTML, and links other than web and mail links in an agent's Markdown.

    Code blocks are left unchanged, because Markdown in them has no effect. An unclosed code block
    is closed so that it does not swallow the text after it.
    """
    if len(text) > MARKDOWN_LENGTH:
        return _fenced(text)  # parsing the Markdown would take too long
    text = request_masking.mask(text).replace("\r\n", "\n").replace("\r", "\n")
    lines = text.split("\n")
    code, closing_fence = _code_lines(text, lines)
    escaped = (
        line if number in code else _UNSAFE.sub(_escape, line) for number, line in enumerate(lines)
    )
    return "\n".join([*escaped, *closing_fence])


def _code_lines(text: str, lines: list[str]) -> tuple[set[int], list[str]]:
    """Return the line numbers of all code blocks, and a fence to close the last block if needed."""
    if "```" not in text and "~~~" not in text:
        return set(), []
    code: set[int] = set()
    closing_fence = []
    for token in _markdown.parse(text):
        if token.type == "fence" and token.map:
            first, last = token.map
            is_closed = last - first > 1 and lines[last - 1].strip(" \t>").startswith(token.markup)
            if is_closed or not token.level:  # otherwise the enclosing list or quote ends the block
                code |= set(range(first, last))
            closing_fence = [] if is_closed or token.level else [token.markup]
    return code, closing_fence


def _escape(match: re.Match[str]) -> str:
    """Escape the matched sign with a backslash unless it is already escaped."""
    slashes = match["slashes"]
    return f"{slashes}\\{match['sign']}" if len(slashes) % 2 == 0 else match[0]


def _fenced(text: str, language: str = "") -> str:
    """Return text as a code block whose fence is longer than any run of backticks in the text."""
    text = request_masking.mask(text)
    fence = "`" * max(3, 1 + _longest_run(text))
    return f"{fence}{language}\n{text.removesuffix(chr(10))}\n{fence}\n\n"


def _code(text: str) -> str:
    text = request_masking.mask(text)
    ticks = "`" * (1 + _longest_run(text))
    padding = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{padding}{_line(text)}{padding}{ticks}"


def _longest_run(text: str) -> int:
    return max((len(run) for run in _BACKTICKS.findall(text)), default=0)


def _line(text: str) -> str:
    return " ".join(text.split())
