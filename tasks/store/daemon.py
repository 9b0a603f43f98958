"""Determine whether the daemon is alive and which running threads are stalled."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone

from tasks.engines import engine
from tasks.fields import Timestamp, to_text
from tasks.models import TaskRecord, TaskStatus
from tasks.store.workspace import store_connection, store_file

STALLED = "stalled"  # the state of a running thread that has been silent for long
_DEAD_AFTER = timedelta(seconds=20)  # the daemon writes its heartbeat every 5 seconds
_MAX_FILE_SIZE = 1 << 20  # bytes


class _DaemonState(msgspec.Struct):
    written_at: str


@dataclass(frozen=True)
class Daemon:
    """The state of the workspace's daemon at `now`; `beat` is its last heartbeat, if known."""

    beat: datetime | None
    now: datetime

    @property
    def state(self) -> str:
        if self.beat is None:
            return "unknown"
        return "alive" if self.now - self.beat < _DEAD_AFTER else "dead"

    @property
    def stalled_before(self) -> str:
        """The cutoff time, in stored form: running threads last updated before it are stalled.

        A dead daemon does not resume the threads that it left running, so they count as stalled.
        Threads updated after the daemon died belong to another agent.
        """
        cutoff = self.now - settings.STALLED_AFTER
        if self.beat is not None and self.state == "dead":
            cutoff = max(cutoff, self.beat + _DEAD_AFTER)
        return to_text(cutoff)

    def state_of(self, status: str, updated_at: Any) -> str:
        """Return a thread's state: the status of its latest task, or "stalled" if it is silent.

        All pages show and count these states. `Condition.state` finds the threads in one of them.
        """
        is_silent = to_text(updated_at) < self.stalled_before
        return STALLED if status == TaskStatus.RUNNING and is_silent else status

    def is_stalled(self, record: TaskRecord) -> bool:
        return self.state_of(record.status, record.updated_at) == STALLED


def daemon(now: datetime | None = None) -> Daemon:
    """Read the daemon's state from its heartbeat file; without a file, the state is unknown."""
    return Daemon(_read_heartbeat(), now or timezone.now())


def context(request: HttpRequest) -> dict[str, Any]:
    """Context processor that adds the daemon's state, which every page's header shows."""
    return {"daemon": daemon()}


def _read_heartbeat() -> datetime | None:
    file = _heartbeat_file()
    if file is None:
        return None
    try:
        with file.open("rb") as opened:
            state = msgspec.json.decode(opened.read(_MAX_FILE_SIZE), type=_DaemonState)
        return Timestamp.from_text(state.written_at)
    except (OSError, ValueError):
        return None


def _heartbeat_file() -> Path | None:
    """Return the daemon's heartbeat file, or None if there is no telling where it is.

    It lies beside the workspace, in whose `state` folder the store is.
    """
    if settings.HEARTBEAT_FILE:
        return settings.HEARTBEAT_FILE
    if not engine(store_connection()).is_file:
        return None  # agents on several hosts may share the database
    folder = store_file().parent
    return folder.parent.parent / "daemon_state.json" if folder.name == "state" else None
