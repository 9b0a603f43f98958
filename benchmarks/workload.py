"""What is written in a measurement: histories of four sizes, and the steps of a made-up task."""

import random
from dataclasses import dataclass
from typing import Any

CHECKPOINTS = 40
RESUMED = 10  # one message of so many: a turn's tool calls are left out
SENTENCE = "the agent reads a file, runs its tests and writes down what it found:"


@dataclass(frozen=True)
class Size:
    """How many messages a history has, and how many characters a message."""

    messages: int
    characters: int

    def __str__(self) -> str:
        kilobytes, rest = divmod(self.characters, 1000)
        return f"{self.messages} × {f'{kilobytes} KB' if not rest else f'{self.characters} B'}"


SIZES = [Size(2, 200), Size(20, 500), Size(200, 500), Size(1000, 1000)]


def text(length: int, seed: int) -> str:
    """Words, with a quotation and a line break now and then, always the same for a seed."""
    chance = random.Random(seed)
    known = [*SENTENCE.split(), '"done"', "\n-"]
    words: list[str] = []
    while sum(map(len, words)) + len(words) < length:
        words.append(chance.choice(known))
    return " ".join(words)[:length]


def history(size: Size) -> list[dict[str, str]]:
    """User and assistant take turns."""
    return [
        {"role": ("user", "assistant")[i % 2], "content": text(size.characters, i)}
        for i in range(size.messages)
    ]


def update(thread_id: str, messages: list[dict[str, str]], step: int, note: str) -> dict[str, Any]:
    """The fields of a TaskCheckpointUpdate with one tool call."""
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
    """The fields of a TaskSnapshot, which can resume with the last of its messages."""
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
