"""Reads a cleared task from its archived rows, as `Thread` reads one from the store."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from tasks.fields import parse_stored
from tasks.models import (
    FAILED_OUTPUT,
    ITEMS_PREFIX_LENGTH,
    NEXT_TOOL,
    PREFIX_LENGTH,
    TaskCheckpoint,
    TaskRecord,
)
from tasks.store.statements import CheckpointRow, TaskRow
from tasks.store.thread_rows import display
from tasks.transcript.history import Thread
from tasks.transcript.steps import Outline, build_outlines


class ArchivedThread(Thread):
    """A task with its history and checkpoints, none of which is in the store."""

    _large = None  # the store has no row of which to read parts

    def __init__(self, task: TaskRow, checkpoints: Sequence[CheckpointRow]) -> None:
        super().__init__(TaskRecord(**_values(task)))
        history = str(self.record.execution_history_json)
        self.record.__dict__ |= {
            "history_length": len(history.encode(errors="replace")),
            "history_start": history[:PREFIX_LENGTH],
        }
        rows = [TaskCheckpoint(**_values(row)) for row in checkpoints if isinstance(row.id, int)]
        self._checkpoints = {row.id: row for row in sorted(rows, key=lambda row: row.id)}

    @cached_property
    def outlines(self) -> list[Outline]:
        return build_outlines(map(_outline_row, self._checkpoints.values()))

    def checkpoints(self, steps: Sequence[Outline]) -> dict[int, TaskCheckpoint]:
        return {step.id: self._checkpoints[step.id] for step in steps}

    def checkpoints_since(self, first: int) -> dict[int, TaskCheckpoint]:
        return {id_: row for id_, row in self._checkpoints.items() if id_ >= first}


def _values(row: TaskRow | CheckpointRow) -> dict[str, Any]:
    """Return the row's values by column, with any that are no valid text or number converted."""
    return {name: _value(name, value) for name, value in row._asdict().items()}


def _value(name: str, value: Any) -> Any:
    if value is None or isinstance(value, int):
        return value
    text = display(value)
    return parse_stored(text) if name.endswith("_at") else text


def _outline_row(checkpoint: TaskCheckpoint) -> tuple[Any, ...]:
    """Return what `TaskCheckpointQuerySet.outline_rows` selects."""
    items = str(checkpoint.items_json)
    return (
        checkpoint.id,
        checkpoint.step_index,
        checkpoint.created_at,
        items[:ITEMS_PREFIX_LENGTH],
        len(items),
        items.find(FAILED_OUTPUT) + 1,
        items.find(NEXT_TOOL) + 1,
    )
