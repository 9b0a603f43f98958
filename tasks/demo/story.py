"""Load the stories behind the demo threads from `stories.toml`, which documents the format."""

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tasks.demo import outputs
from tasks.models import TaskStatus

PROVIDERS_AND_MODELS = {
    "claude": ("anthropic", "claude-sonnet-4-5"),
    "opus": ("anthropic", "claude-opus-4-5"),
    "gpt": ("openai", "gpt-5-mini"),
    "gemini": ("gemini", "gemini-2.5-pro"),
    "deepseek": ("openrouter", "deepseek/deepseek-v3"),
    "qwen": ("ollama", "qwen3:32b"),
}


@dataclass(frozen=True)
class Call:
    """One tool call and its result."""

    tool: str
    arguments: dict[str, Any]
    output: str
    success: bool = True


@dataclass(frozen=True)
class Step:
    """One of the model's thoughts and the tool calls that follow from it."""

    thought: str
    calls: tuple[Call, ...]
    after_hours: float = 0
    restarted: bool = False


@dataclass(frozen=True, kw_only=True)
class Story:
    """One message in a thread and the run that handled it."""

    thread: str
    task: str
    provider: str
    model: str
    status: TaskStatus
    ask: str
    answer: str
    error: str | None
    native: bool
    resumable: bool
    days_ago: float
    before: Sequence[tuple[str, str]]
    steps: Sequence[Step]

    @property
    def channel(self) -> str:
        return self.thread.partition("_")[0]


@cache
def stories() -> tuple[Story, ...]:
    """Return the stories that a new demo workspace contains."""
    return tuple(map(_story, _toml()["story"]))


@cache
def live_stories() -> tuple[Story, ...]:
    """Return the stories that the simulated agent works through."""
    return tuple(map(_story, _toml()["live"]))


@cache
def _toml() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("stories.toml").read_text("utf-8"))


def _story(table: dict[str, Any]) -> Story:
    provider, model = PROVIDERS_AND_MODELS[table["model"]]
    every_handler = table.get("steps") == "every_handler"
    return Story(
        thread=table["thread"],
        task=table.get("task", table["thread"]),
        provider=provider,
        model=model,
        status=TaskStatus(table.get("status", "completed")),
        ask=table["ask"],
        answer=table.get("answer", "").strip("\n"),
        error=table.get("error"),
        native=table.get("native", False),
        resumable=table.get("resumable", True),
        days_ago=table.get("days_ago", 0),
        before=[(message, answer) for message, answer in table.get("before", ())],
        steps=tuple(_every_handler() if every_handler else _steps(table.get("step", ()))),
    )


def _steps(tables: Sequence[dict[str, Any]]) -> Iterator[Step]:
    """Group calls into steps. A call with a thought starts a step that later calls continue."""
    for first, table in enumerate(tables):
        if "thought" in table:
            end = first + 1
            while end < len(tables) and "thought" not in tables[end]:
                end += 1
            yield Step(
                thought=table["thought"],
                calls=tuple(map(_call, tables[first:end])),
                after_hours=table.get("after_hours", 0),
                restarted=table.get("restarted", False),
            )


def _call(table: dict[str, Any]) -> Call:
    output = _output(table)
    match table:
        case {"shell": command}:
            tool, arguments = "shell", {"command": command.strip("\n")}
        case {"read": path}:
            tool, arguments = "file_read", {"path": path}
        case {"write": path, "content": content}:
            tool, arguments = "file_write", {"path": path, "content": content}
            output = f"Written {len(content.encode())} bytes to {path}"
        case {"edit": path, "old": old, "new": new}:
            old, new = old.strip("\n"), new.strip("\n")
            tool, arguments = "file_edit", {"path": path, "old_string": old, "new_string": new}
            output = f"Edited {path}: replaced 1 occurrence"
        case {"fetch": url}:
            tool, arguments = "http_request", {"url": url, "method": "GET"}
        case {"recall": query}:
            tool, arguments = "memory_recall", {"query": query, "limit": 5}
        case _:
            tool, arguments = table["tool"], table["arguments"]
    return Call(tool, arguments, output, not table.get("failed", False))


def _output(table: dict[str, Any]) -> str:
    if "generated" in table:
        return outputs.GENERATED[table["generated"]]()
    output: str = table.get("output", "").strip("\n")
    return outputs.colored(output, table["colors"]) if "colors" in table else output


def _every_handler() -> Iterator[Step]:
    """Generate the long story's steps: one per handler, and a check for every 20th handler."""
    listing = "\n".join(f"{name}.py" for name in outputs.HANDLERS)
    yield Step(
        "First the list of handlers.", (_call({"shell": "ls handlers/", "output": listing}),)
    )
    for number, name in enumerate(outputs.HANDLERS, 1):
        path = f"handlers/{name}.py"
        if number % 20 == 0:
            yield Step(
                f"`{name}` imports logging twice. Does ruff see it, too?",
                (
                    _call(
                        {"shell": f"ruff check {path}", "output": f"{path}:9:1: F811", "failed": 1}
                    ),
                ),
            )
        old = f'logging.info("{name} %s", request.id)'
        new = f'log.info("{name}", request=request.id)'
        yield Step(f"`{name}` next.", (_call({"edit": path, "old": old, "new": new}),))
