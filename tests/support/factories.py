"""Creates test data: arguments for the store's verbs, and rows written without the verbs."""

import json
import os
from pathlib import Path
from typing import Any, NoReturn

import pytest
from django.db.backends.base.base import BaseDatabaseWrapper

from tasks import service
from tasks.models import TaskCheckpoint, TaskRecord
from tasks.service import (
    ChatMessage,
    ExecutionCheckpointItem,
    TaskCheckpointUpdate,
    TaskSnapshot,
    TaskStatus,
)

only_sqlite = pytest.mark.parametrize("store", ["sqlite"], indirect=True)
only_postgresql = pytest.mark.parametrize("store", ["postgresql"], indirect=True)

DATA = Path(__file__).parents[1] / "data"
TASK = {
    "task_id": "telegram_42",
    "thread_id": "telegram_42",
    "channel": "telegram",
    "provider": "openai",
    "model": "gpt-test",
}
TABLES = {
    "task_records": (
        *TASK,
        "status",
        "execution_history_json",
        "resumable_history_json",
        "latest_checkpoint_note",
        "checkpoint_count",
        "final_response",
        "last_error",
        "created_at",
        "updated_at",
        "completed_at",
    ),
    "task_checkpoints": (
        "id",
        "task_id",
        "step_index",
        "checkpoint_note",
        "items_json",
        "created_at",
    ),
}
ORDER = {"task_records": "task_id", "task_checkpoints": "id"}


def skip(reason: str) -> NoReturn:
    """Skip a test that this machine cannot run. In CI, fail the test instead."""
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    raise AssertionError(reason)


def data(name: str) -> Any:
    """Return the parsed contents of a JSON file in tests/data."""
    return json.loads((DATA / name).read_text(encoding="utf-8"))


def history(*contents: str) -> list[ChatMessage]:
    """Return a history with these messages, sent alternately by the user and the assistant."""
    roles = ("user", "assistant")
    return [ChatMessage(roles[i % 2], content) for i, content in enumerate(contents)]


def history_json(*messages: tuple[str, str]) -> str:
    """Return a history of these messages, encoded as the store writes it."""
    rows = [{"role": role, "content": content} for role, content in messages]
    return json.dumps(rows, ensure_ascii=False, separators=(",", ":"))


def item(**fields: Any) -> ExecutionCheckpointItem:
    defaults: dict[str, Any] = {
        "tool_name": "shell",
        "arguments": {},
        "success": True,
        "output": "ok",
    }
    return ExecutionCheckpointItem(**defaults | fields)


def snapshot(**fields: Any) -> TaskSnapshot:
    defaults: dict[str, Any] = {
        **TASK,
        "status": TaskStatus.RUNNING,
        "execution_history": history("hello"),
        "resumable_history": history("hello", "working on it"),
    }
    return TaskSnapshot(**defaults | fields)


def update(**fields: Any) -> TaskCheckpointUpdate:
    defaults: dict[str, Any] = {
        **TASK,
        "step_index": 1,
        "execution_history": history("hello"),
        "items": [item()],
    }
    return TaskCheckpointUpdate(**defaults | fields)


def task(task_id: str = "telegram_42", **fields: Any) -> TaskRecord:
    """Store a task without using the verbs. By default, the task and its thread share an id."""
    defaults = {**TASK, "task_id": task_id, "thread_id": task_id, "status": "running"}
    return TaskRecord.objects.create(**defaults | fields)


def checkpoint(task: TaskRecord, step_index: int = 1, **fields: Any) -> TaskCheckpoint:
    defaults = {"task": task, "step_index": step_index, "items_json": "[]"}
    return TaskCheckpoint.objects.create(**defaults | fields)


def overwrite(store: BaseDatabaseWrapper, table: str, column: str, value: Any) -> None:
    """Set a column to the same value in all rows, bypassing the checks that the verbs make."""
    with store.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET {column} = %s", (value,))


def rows(store: BaseDatabaseWrapper, table: str) -> list[dict[str, Any]]:
    """Return all rows of a table as they are stored, sorted by primary key."""
    columns = TABLES[table]
    with store.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(columns)} FROM {table} ORDER BY {ORDER[table]}")
        return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]


def loaded(thread_id: str = "telegram_42") -> service.StoredTask:
    record = service.load_by_thread_id(thread_id)
    assert record is not None
    return record
