"""Generates histories of four sizes, snapshots and checkpoint updates for the benchmarks."""

import random
from dataclasses import dataclass
from typing import Any

CHECKPOINTS = 40
RESUMED = 10  # the last 1/RESUMED of a history's messages are resumable
SENTENCE = "the agent reads a file, runs its tests and writes down what it found:"


@dataclass(frozen=True)
class Size:
    """A history's size: the number of messages, and the number of characters in each message."""

    messages: int
    characters: int

    def __str__(self) -> str:
        kilobytes, rest = divmod(self.characters, 1000)
        return f"{self.messages} × {f'{kilobytes} KB' if not rest else f'{self.characters} B'}"


SIZES = [Size(2, 200), Size(20, 500), Size(200, 500), Size(1000, 1000)]


def text(length: int, seed: int) -> str:
    """Return random words with some quotes and line breaks. The same seed gives the same text."""
    rng = random.Random(seed)
    vocabulary = [*SENTENCE.split(), '"done"', "\n-"]
    words: list[str] = []
    while sum(map(len, words)) + len(words) < length:
        words.append(rng.choice(vocabulary))
    return " ".join(words)[:length]


def history(size: Size) -> list[dict[str, str]]:
    """Return a history in which user and assistant messages alternate."""
    return [
        {"role": ("user", "assistant")[i % 2], "content": text(size.characters, i)}
        for i in range(size.messages)
    ]


def update(thread_id: str, messages: list[dict[str, str]], step: int, note: str) -> dict[str, Any]:
    """Return the fields of a TaskCheckpointUpdate with one tool call."""
    arguments = {"command": "pytest -q", "timeout": 120, "folder": "/home/ops/project"}
    item = {"tool_name": "shell", "arguments": arguments, "success": True, "output": text(500, 0)}
    return _task(thread_id) | {
        "step_index": step,
        "execution_history": messages,
        "checkpoint_note": note,
        "items": [item],
    }


def snapshot(
    thread_id: str, messages: list[dict[str, str]], status: str, note: str
) -> dict[str, Any]:
    """Return the fields of a TaskSnapshot whose resumable history is its last few messages."""
    return _task(thread_id) | {
        "status": status,
        "execution_history": messages,
        "resumable_history": messages[-max(2, len(messages) // RESUMED) :],
        "latest_checkpoint_note": note,
        "final_response": None if status == "running" else text(200, 1),
        "last_error": None,
    }


def _task(thread_id: str) -> dict[str, Any]:
    names = {"channel": "cli", "provider": "openai", "model": "gpt-test"}
    return {"task_id": thread_id, "thread_id": thread_id, **names}
