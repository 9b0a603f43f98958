"""The confirmation of a clearing: what the user must see and answer before it starts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

from django.core import signing

from archive.models import ClearedThread, Clearing, digest
from tasks.clearing import lifecycle, summaries
from tasks.clearing.summaries import Summary
from tasks.fields import parse_stored
from tasks.store.daemon import STALLED, Daemon, daemon
from tasks.templatetags.threads import absolute, status_label

TYPED_OVER = 100  # threads; to clear more than this, the user must type the number
LONG_LOCK = 0.1  # seconds
BYTES_PER_SECOND = 60 << 20  # speed of comparing and deleting under the lock, on a busy disk
REASON_LENGTH = 500


@dataclass(frozen=True)
class Change:
    """How a thread changed after it was shown; `now` is empty if the thread is gone."""

    thread_id: str
    before: str
    now: str


@dataclass
class Confirmation:
    """The threads to clear, as they were shown to the user."""

    threads: list[ClearedThread]
    changes: list[Change] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    is_stale: bool = False
    daemon: Daemon = field(default_factory=daemon)

    @classmethod
    def of(cls, clearing: Clearing) -> Self:
        return cls(list(clearing.threads.order_by("pk")))

    @property
    def count(self) -> int:
        return len(self.threads)

    @property
    def only(self) -> ClearedThread | None:
        return self.threads[0] if self.count == 1 else None

    @property
    def tasks(self) -> int:
        return sum(thread.tasks for thread in self.threads)

    @property
    def checkpoints(self) -> int:
        return sum(thread.checkpoints for thread in self.threads)

    @property
    def size(self) -> int:
        return sum(thread.size or 0 for thread in self.threads)

    @property
    def is_measured(self) -> bool:
        return all(thread.size is not None for thread in self.threads)

    @property
    def unfinished(self) -> int:
        """How many threads are running or stalled. They are kept unless the user says otherwise."""
        return sum(thread.was_running for thread in self.threads)

    @cached_property
    def stalled(self) -> int:
        states = (self.daemon.state_of(thread.status, thread.active) for thread in self.threads)
        return sum(state == STALLED for state in states)

    @property
    def unfinished_text(self) -> str:
        """The numbers of running and stalled threads, such as "2 running and 1 stalled"."""
        numbers = {"running": self.unfinished - self.stalled, STALLED: self.stalled}
        return " and ".join(f"{count:,} {state}" for state, count in numbers.items() if count)

    @property
    def finished(self) -> int:
        """How many would be cleared if unfinished threads were kept, or 0 if there are none."""
        return self.count - self.unfinished if self.unfinished else 0

    @property
    def must_be_typed(self) -> bool:
        return self.count > TYPED_OVER

    @property
    def slow(self) -> list[tuple[ClearedThread, float]]:
        """Threads so large that deleting them delays the agent, with their delays in seconds."""
        pairs = [(thread, (thread.size or 0) / BYTES_PER_SECOND) for thread in self.threads]
        return sorted((pair for pair in pairs if pair[1] > LONG_LOCK), key=lambda pair: -pair[1])

    @property
    def version(self) -> str:
        """A combined fingerprint of all the threads, which the form sends back."""
        return summaries.fingerprint(sorted((t.key, t.fingerprint) for t in self.threads))

    @property
    def signed(self) -> str:
        """The only thread, as it was shown, signed for the form. `signed_thread` decodes it."""
        [thread] = self.threads
        values = [getattr(thread, name) for name in (*Summary._fields, "size")]
        return signing.dumps(values, salt=thread.key)

    def refresh(self, clearing: Clearing) -> None:
        """Update the draft from the store, and record what has changed since it was shown."""
        current = summaries.read([thread.thread_id for thread in self.threads])
        for thread in self.threads:
            summary = current.get(thread.thread_id)
            if summary and summary.fingerprint == thread.fingerprint:
                continue
            now = describe(summary) if summary else ""
            self.changes.append(Change(thread.thread_id, describe(thread), now))
            row = clearing.threads.filter(pk=thread.pk)
            if summary:
                size = summaries.measure([thread.thread_id]).get(thread.thread_id)
                row.update(size=size, **summary._asdict())
            else:
                row.delete()
        if self.changes:
            self.is_stale = True
            self.threads = list(clearing.threads.order_by("pk"))
            clearing.planned = self.count
            clearing.save(update_fields=["planned"])

    def check(self, form: Mapping[str, Any]) -> bool:
        """Return whether the form is complete, and describe any missing answers in `errors`."""
        if self.unfinished == self.count and not form.get("with_running"):
            what = "This thread has not" if self.count == 1 else "None of these threads has"
            self.errors.append(f"{what} finished. Check the box to clear anyway.")
        if self.must_be_typed and _number(form.get("typed", "")) != self.count:
            self.errors.append(f"Type {self.count:,} to clear the threads.")
        return not self.errors


def signed_thread(thread_id: str, signed: str) -> ClearedThread | None:
    """Return the thread described by the form's signed value, or None if it was tampered with."""
    try:
        *values, size = signing.loads(signed, salt=digest(thread_id))
    except signing.BadSignature:
        return None
    return lifecycle.planned(thread_id, Summary(*values), size)


def options(form: Mapping[str, Any]) -> dict[str, Any]:
    """Read the options for `lifecycle.confirm` from a submitted form."""
    return {
        "with_running": bool(form.get("with_running")),
        "is_erasing": bool(form.get("erase")),
        "reason": str(form.get("reason", ""))[:REASON_LENGTH],
    }


def describe(thread: ClearedThread | Summary) -> str:
    steps = f"{thread.checkpoints} step{'' if thread.checkpoints == 1 else 's'}"
    active = absolute(parse_stored(thread.active))
    tasks = "" if thread.tasks == 1 else f"{thread.tasks} tasks, "
    return f"{status_label(thread.status)}, {tasks}{steps}, last active {active}"


def _number(typed: str) -> int | None:
    digits = typed.replace(",", "").replace(" ", "").strip()
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 12 else None
