"""Whether the daemon lives, and which running threads are stalled."""

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

DEAD_AFTER = timedelta(seconds=20)  # the daemon writes its heartbeat every 5 seconds
LARGEST_FILE = 1 << 20  # bytes


class _DaemonState(msgspec.Struct):
    written_at: str


@dataclass(frozen=True)
class Daemon:
    """The daemon of the store's workspace at a moment; `beat` is its last sign of life, if any."""

    beat: datetime | None
    now: datetime

    @property
    def state(self) -> str:
        if self.beat is None:
            return "unknown"
        return "alive" if self.now - self.beat < DEAD_AFTER else "dead"

    @property
    def stalled_before(self) -> str:
        """The stored time before which a running thread was last heard of if it is stalled.

        A dead daemon will not go on with what it left running. What was written after its death
        is the work of another agent.
        """
        silent = self.now - settings.STALLED_AFTER
        if self.beat is not None and self.state == "dead":
            silent = max(silent, self.beat + DEAD_AFTER)
        return to_text(silent)

    def is_stalled(self, record: TaskRecord) -> bool:
        is_running = record.status == TaskStatus.RUNNING
        return is_running and to_text(record.updated_at) < self.stalled_before


def daemon(now: datetime | None = None) -> Daemon:
    """What the heartbeat file says; where there is none it may run elsewhere, or not at all."""
    return Daemon(_beat(), now or timezone.now())


def context(request: HttpRequest) -> dict[str, Any]:
    """For the head of every page."""
    return {"daemon": daemon()}


def _beat() -> datetime | None:
    file = _file()
    if file is None:
        return None
    try:
        with file.open("rb") as opened:
            state = msgspec.json.decode(opened.read(LARGEST_FILE), type=_DaemonState)
        return Timestamp.from_text(state.written_at)
    except (OSError, ValueError):
        return None


def _file() -> Path | None:
    """The heartbeat lies beside the workspace, in whose folder `state` the store is."""
    if not engine(store_connection()).is_file:
        return None  # hosts of many agents may share it
    folder = store_file().parent
    return folder.parent.parent / "daemon_state.json" if folder.name == "state" else None
