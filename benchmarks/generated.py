"""Fills a store with many tasks of different kinds, as fast as the database allows.

The store's tables must exist and be empty. The same arguments give the same texts.
"""

import random
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, LiteralString

import msgspec
import psycopg

from benchmarks.audit import Store
from benchmarks.original import TASK_COLUMNS

CHANNELS = ("telegram", "slack", "discord", "cli_interactive", "telegram", "telegram", "slack")
RARE_CHANNEL, RARE_EVERY = "matrix", 50_000  # one in so many tasks, but at least one
MODELS = (
    ("anthropic", "claude-sonnet-4.5"),
    ("anthropic", "claude-opus-4.1"),
    ("openai", "gpt-5"),
    ("openai", "gpt-5-mini"),
    ("openrouter", "qwen3-coder"),
)
RARE_MODEL = ("ollama", "llama3.3:70b")
STATUSES = ("completed",) * 14 + ("failed",) * 3 + ("cancelled", "timed_out", "running")
RARE_WORD, RARE_WORD_TASK = "chrysoberyl", 500  # a word that only one history contains
UNRESUMABLE_EVERY, LONG_EVERY = 1_000, 50  # one in so many tasks
DAYS = 90  # the time over which tasks are spread

POOL = 2_000  # different messages
SYLLABLES = ("ba", "do", "fi", "gu", "ka", "le", "mi", "no", "pa", "ri", "sa", "tu", "ve", "wo")
BATCH = 10_000  # rows per statement
NOTE = "Step {0} of the task is done: it {1}.\n- Continue from the latest confirmed state"
RECORDS = f"INSERT INTO task_records ({TASK_COLUMNS}) VALUES ({', '.join('?' * 15)})"
CHECKPOINT_COLUMNS: LiteralString = "task_id, step_index, checkpoint_note, items_json, created_at"
COPY_RECORDS: LiteralString = """COPY task_records (
    task_id, thread_id, channel, provider, model, status, execution_history_json,
    resumable_history_json, latest_checkpoint_note, checkpoint_count, final_response,
    last_error, created_at, updated_at, completed_at) FROM STDIN"""

Row = tuple[Any, ...]


def fill(store: Store, tasks: int, size: int) -> None:
    """Write `tasks` tasks with histories of about `size` bytes."""
    generated = Tasks(tasks, size)
    if store.is_file:
        _fill_file(store, generated)
    else:
        _fill_server(store, generated)


def _fill_file(store: Store, generated: "Tasks") -> None:
    with closing(store.open()) as connection, connection:
        # nothing of value can be lost, since a failed run starts anew
        connection.executescript(
            "PRAGMA synchronous = OFF; PRAGMA cache_size = -400000; PRAGMA foreign_keys = OFF;"
            "PRAGMA wal_autocheckpoint = 50000"
        )
        indexes = store.rows(
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql > ''"
        )
        for name, _ in indexes:
            connection.execute(f"DROP INDEX {name}")
        rows = generated.records()
        while batch := list(islice(rows, BATCH if generated.size < BATCH else 100)):
            connection.execute("BEGIN")
            connection.executemany(RECORDS, batch)
            connection.execute("COMMIT")
        steps, marks = generated.checkpoints(), "?, ?, ?, ?, ?"
        connection.executemany(
            f"INSERT INTO task_checkpoints ({CHECKPOINT_COLUMNS}) VALUES ({marks})", steps
        )
        connection.commit()
        for _, statement in indexes:
            connection.execute(statement)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _fill_server(store: Store, generated: "Tasks") -> None:
    with psycopg.connect(store.address) as connection, connection.cursor() as cursor:
        with cursor.copy(COPY_RECORDS) as copy:
            for row in generated.records():
                copy.write_row(row)
        with cursor.copy(f"COPY task_checkpoints ({CHECKPOINT_COLUMNS}) FROM STDIN") as copy:
            for row in generated.checkpoints():
                copy.write_row(row)
    with psycopg.connect(store.address, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


class Tasks:
    """Tasks whose columns depend only on their number."""

    def __init__(self, count: int, size: int) -> None:
        self.count, self.size = count, size
        self._now = datetime.now(UTC).replace(microsecond=0)
        self._rng = random.Random(size)
        words = ["".join(self._rng.choices(SYLLABLES, k=k % 4 + 1)) for k in range(8_000)]
        self._message_size = min(size // 3, 3_000)
        self._messages = [self._pair(words) for _ in range(POOL)]

    @staticmethod
    def id(number: int) -> str:
        return f"{CHANNELS[number % len(CHANNELS)]}_{55_213_370_000 + number * 7_919}"

    def records(self) -> Iterator[Row]:
        rare = min(RARE_EVERY, self.count)
        for number in range(self.count):
            channel = CHANNELS[number % len(CHANNELS)]
            provider, model = MODELS[number % 13 % len(MODELS)]
            if number % rare == rare // 2:
                channel = RARE_CHANNEL
            if number % rare == rare // 3:
                provider, model = RARE_MODEL
            status = STATUSES[number % 37 % len(STATUSES)]
            history, is_over = self._history(number), status != "running"
            resumable = "[]" if number % UNRESUMABLE_EVERY == UNRESUMABLE_EVERY // 2 else history
            steps, (created, updated) = self._steps(number), self._times(number)
            yield (
                *(self.id(number), self.id(number), channel, provider, model, status, history),
                resumable[: resumable.find("}") + 1] + "]" if self.size > 2_000 else resumable,
                NOTE.format(steps, "reads a file") if steps else None,
                steps,
                "It is done." if status == "completed" else None,
                "HTTP 429: too many requests, retried 3 times" if status == "failed" else None,
                *(created, updated, updated if is_over else None),
            )

    def checkpoints(self) -> Iterator[Row]:
        for number in range(self.count):
            steps = self._steps(number)
            if not steps:
                continue
            id_, (_, updated) = self.id(number), self._times(number)
            for step in range(1, steps + 1):
                succeeds = "false" if (number + step) % 9 == 0 else "true"
                items = (
                    '[{"tool_name":"shell","arguments":{"command":"make test"},'
                    f'"success":{succeeds},"output":"line {step}: the tests ran"}}]'
                )
                yield id_, step, NOTE.format(step, "reads a file"), items, updated

    def _steps(self, number: int) -> int:
        return number // LONG_EVERY % 40 + 1 if number % LONG_EVERY == 0 else number % 2

    def _times(self, number: int) -> tuple[str, str]:
        """Return when the task was created and last written; rows are not in order of time."""
        share = number * 7_919 % self.count / self.count
        updated = self._now - timedelta(days=DAYS) * share
        created = updated - timedelta(minutes=number * 104_729 % 300_000)
        return created.isoformat(), updated.isoformat()

    def _history(self, number: int) -> str:
        word = RARE_WORD if number == RARE_WORD_TASK % self.count else "thing"
        start = f'[{{"role":"user","content":"Please look at {word} {number} and tell me more."}}'
        pairs = max(1, self.size // (2 * self._message_size))
        first = number * 31 % POOL
        chosen = (self._messages[(first + 7 * index) % POOL] for index in range(pairs))
        return f"{start},{','.join(chosen)}]"

    def _pair(self, words: list[str]) -> str:
        """Return an answer of the assistant and the next message of the user, as JSON."""
        texts = [self._text(words) for _ in range(2)]
        pair = [
            {"role": r, "content": t} for r, t in zip(("assistant", "user"), texts, strict=True)
        ]
        return msgspec.json.encode(pair).decode()[1:-1]

    def _text(self, words: list[str]) -> str:
        length = self._rng.randrange(self._message_size // 2, self._message_size * 3 // 2)
        chosen = self._rng.choices(words, k=length // 6 + 1)
        return ". ".join(" ".join(chosen[i : i + 12]) for i in range(0, len(chosen), 12))[:length]
