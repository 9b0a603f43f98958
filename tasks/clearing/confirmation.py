"""What a person must know and say before threads are cleared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from django.core import signing

from archive.models import ClearedThread, Clearing, Fate
from tasks.clearing import batches, summaries
from tasks.fields import parse_stored
from tasks.templatetags.threads import absolute, status_label

TYPED_OVER = 100  # threads; so many are not cleared by a click alone
LONG_LOCK = 0.1  # seconds
BYTES_PER_SECOND = 60 << 20  # compared and deleted while the lock is held, on a busy disk
REASON_LENGTH = 500


@dataclass(frozen=True)
class Change:
    """What became of a thread after it was shown; `now` is empty where it is gone."""

    thread_id: str
    before: str
    now: str


@dataclass
class Confirmation:
    """The threads that are meant, as they were when they were looked at."""

    rows: Sequence[ClearedThread]
    changes: list[Change] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.rows)

    @property
    def only(self) -> ClearedThread | None:
        return self.rows[0] if self.count == 1 else None

    @property
    def tasks(self) -> int:
        return sum(row.tasks for row in self.rows)

    @property
    def checkpoints(self) -> int:
        return sum(row.checkpoints for row in self.rows)

    @property
    def size(self) -> int:
        return sum(row.size or 0 for row in self.rows)

    @property
    def is_measured(self) -> bool:
        return all(row.size is not None for row in self.rows)

    @property
    def running(self) -> int:
        return sum(row.was_running for row in self.rows)

    @property
    def idle(self) -> int:
        """How many are cleared where those that run are kept; 0 where none runs."""
        return self.count - self.running if self.running else 0

    @property
    def must_be_typed(self) -> bool:
        return self.count > TYPED_OVER

    @property
    def slow(self) -> list[tuple[ClearedThread, float]]:
        """Threads so large that the agent has to wait for one, and for how many seconds."""
        took = [(row, (row.size or 0) / BYTES_PER_SECOND) for row in self.rows]
        return sorted((pair for pair in took if pair[1] > LONG_LOCK), key=lambda pair: -pair[1])

    @cached_property
    def version(self) -> str:
        """What goes with the form, and says which rows were shown."""
        return summaries.fingerprint(sorted((row.key, row.fingerprint) for row in self.rows))

    @property
    def seen(self) -> str:
        """What was shown of a single thread, for telling later what has changed."""
        return signing.dumps([described(row) for row in self.rows])

    def check(self, posted: Mapping[str, Any]) -> bool:
        """Whether all is said that has to be; if not, `errors` tell what is missing."""
        with_running = bool(posted.get("with_running"))
        if self.running == self.count and not with_running:
            what = "This thread is" if self.count == 1 else "All of these threads are"
            self.errors.append(f"{what} running. Tick the box if that is meant.")
        if self.must_be_typed and _number(posted.get("typed", "")) != self.count:
            self.errors.append(f"Type {self.count:,}, the number of threads, to clear them.")
        return not self.errors


def options(posted: Mapping[str, Any]) -> dict[str, Any]:
    """What `clearing.confirm` takes, from the form."""
    return {
        "with_running": bool(posted.get("with_running")),
        "is_erasing": bool(posted.get("erase")),
        "reason": str(posted.get("reason", ""))[:REASON_LENGTH],
    }


def of_thread(thread_id: str) -> Confirmation | None:
    """For a single thread, without anything being written down; None where it is not there."""
    found = summaries.of([thread_id])
    if thread_id not in found:
        return None
    row = batches.plan(Clearing(), found[thread_id])
    row.size = summaries.sizes([thread_id])[0].get(thread_id)
    return Confirmation([row])


def changed_since(seen: str, confirmation: Confirmation) -> list[Change]:
    """How a single thread differs from what was shown of it."""
    try:
        before = signing.loads(seen)
    except signing.BadSignature:
        return []
    pairs = zip(confirmation.rows, before, strict=False)
    return [Change(row.thread_id, str(old), described(row)) for row, old in pairs]


def of_draft(clearing: Clearing) -> Confirmation:
    return Confirmation(list(clearing.threads.order_by("pk")))


def refresh(clearing: Clearing) -> list[Change]:
    """Bring a draft up to date with the store; what has changed."""
    rows = list(clearing.threads.filter(fate=Fate.PLANNED).order_by("pk"))
    now = summaries.of([row.thread_id for row in rows])
    changes = []
    for row in rows:
        summary = now.get(row.thread_id)
        if summary is not None and summary.fingerprint == row.fingerprint:
            continue
        before = described(row)
        if summary is None:
            row.delete()
        else:
            batches.describe(row, summary)
            row.size = summaries.sizes([row.thread_id])[0].get(row.thread_id)
            row.save()
        changes.append(Change(row.thread_id, before, described(row) if summary else ""))
    if changes:
        clearing.planned = clearing.threads.count()
        clearing.save(update_fields=["planned"])
    return changes


def described(row: ClearedThread) -> str:
    steps = f"{row.checkpoints} checkpoint{'' if row.checkpoints == 1 else 's'}"
    active = absolute(parse_stored(row.active))
    tasks = "" if row.tasks == 1 else f"{row.tasks} tasks, "
    return f"{status_label(row.status)}, {tasks}{steps}, last active {active}"


def _number(typed: str) -> int | None:
    digits = typed.replace(",", "").replace(" ", "").strip()
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 12 else None
