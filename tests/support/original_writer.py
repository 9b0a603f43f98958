"""A program that writes as gloamy does, without a heartbeat and without anything of this project.

It records a checkpoint every few milliseconds until its standard input is closed. It then prints
how many it has recorded, and the errors of the others. Like gloamy, it waits 5 seconds for a lock.
"""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from select import select
from typing import Any

INTERVAL = 0.005  # seconds between writes
TASKS = 5  # tasks that are written in turn
_OPEN = """
    PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA temp_store = MEMORY;
    PRAGMA foreign_keys = ON"""
_RECORD = """
    INSERT INTO task_records (task_id, thread_id, channel, provider, model, status,
        execution_history_json, resumable_history_json, checkpoint_count, created_at, updated_at)
    VALUES (?, ?, 'cli', 'p', 'm', 'running', ?, '[]', 1, ?, ?)
    ON CONFLICT (task_id) DO UPDATE SET status = excluded.status,
        execution_history_json = excluded.execution_history_json,
        checkpoint_count = task_records.checkpoint_count + 1, updated_at = excluded.updated_at"""
_STEP = """
    INSERT INTO task_checkpoints (task_id, step_index, items_json, created_at)
    VALUES (?, ?, '[]', ?)"""


@dataclass
class Writer:
    """A running writer. Its results are set when it has ended."""

    process: subprocess.Popen[str]
    recorded: int = 0
    errors: list[str] = field(default_factory=list)

    def end(self) -> None:
        out, _ = self.process.communicate()
        self.recorded, self.errors = json.loads(out.splitlines()[-1])


def start(file: Path, *, wait: bool = True) -> Writer:
    """Start a writer, and by default wait until it has recorded its first checkpoint."""
    command = [sys.executable, __file__, str(file)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
    assert process.stdout is not None
    if wait:
        process.stdout.readline()
    return Writer(process)


@contextmanager
def writing(file: Path) -> Iterator[Writer]:
    """Run a writer during the block, and check that it has lost nothing."""
    writer = start(file)
    try:
        yield writer
    finally:
        writer.end()
    assert writer.errors == []
    assert stored(file) == writer.recorded > 0


def stored(file: Path) -> int:
    """Return how many of the writer's checkpoints are in the file, checking the tasks' counts."""
    connection = sqlite3.connect(file)
    [tasks] = connection.execute(
        "SELECT total(checkpoint_count) FROM task_records WHERE task_id LIKE 'writer %'"
    ).fetchone()
    [steps] = connection.execute(
        "SELECT count(*) FROM task_checkpoints WHERE task_id LIKE 'writer %'"
    ).fetchone()
    connection.close()
    assert tasks == steps
    return int(steps)


def _write(connection: sqlite3.Connection, number: int) -> None:
    task_id = f"writer {number % TASKS}"
    history = json.dumps([{"role": "user", "content": "x" * 2_000}])
    now = datetime.now(UTC).isoformat()
    connection.execute("BEGIN")
    connection.execute(_RECORD, (task_id, task_id, history, now, now))
    connection.execute(_STEP, (task_id, number, now))
    connection.execute("COMMIT")


def main(file: str) -> None:
    connection: Any = sqlite3.connect(file, timeout=5, isolation_level=None)
    connection.executescript(_OPEN)
    recorded, errors = 0, []
    while not select([sys.stdin], [], [], INTERVAL)[0]:
        try:
            _write(connection, recorded)
            recorded += 1
        except sqlite3.Error as error:
            errors.append(str(error))
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        if recorded + len(errors) == 1:
            print("working", flush=True)
    print(json.dumps([recorded, errors]))


if __name__ == "__main__":
    main(sys.argv[1])
