"""A demo workspace: a month of threads, and a simulated agent that keeps working.

All demo data is written through `tasks.service` step by step, just as a real agent would write it.
"""

import json
import logging
import random
import threading
from dataclasses import replace
from datetime import UTC, datetime
from typing import Self

from django.conf import settings
from django.db import Error, connections, router, transaction

from tasks.demo.runs import Run, Write, perform
from tasks.demo.story import Story, live_stories, stories
from tasks.fields import rfc3339
from tasks.models import TaskCheckpoint, TaskRecord
from tasks.service import TaskStatus

logger = logging.getLogger(__name__)

SECOND = 10**9  # nanoseconds
HOUR = 3600 * SECOND
DAY = 24 * HOUR
MAX_TURNS = 8  # the simulated agent trims its history to this many turns, as real agents do


def fill(now: datetime | None = None) -> int:
    """Fill an empty store with demo threads that lead up to `now`, and return their number."""
    if TaskRecord.objects.exists():
        return 0
    now_ns = int((now or datetime.now(UTC)).timestamp()) * SECOND
    rng = random.Random(1)  # noqa: S311 - not used for secrets
    with transaction.atomic(using=router.db_for_write(TaskRecord)):
        for story in stories():
            for write in Run(story).writes():
                perform(write)
            _backdate(story, _end(story, now_ns, rng), rng)
    return len({story.thread for story in stories()})


class SimulatedAgent(threading.Thread):
    """An agent that keeps working on one thread: a message, its steps, an answer, and so on.

    As a context manager, it runs until the block ends. It waits `pause` seconds after each step.
    """

    def __init__(self, pause: float = 3.0) -> None:
        super().__init__(name="simulated-agent", daemon=True)
        self._pause = pause
        self._stopping = threading.Event()
        self._turns: list[tuple[str, str]] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def run(self) -> None:
        try:
            while not self._stopping.is_set():
                for story in live_stories():
                    self._work_on(replace(story, before=tuple(self._turns)))
        finally:
            _close_connection()

    def stop(self) -> None:
        """Tell the agent to stop, and wait until its Python thread has finished."""
        self._stopping.set()
        if self.is_alive():
            self.join()

    def _work_on(self, story: Story) -> None:
        if self._stopping.is_set():
            return
        run = Run(story)
        for write in run.writes():
            _attempt(write)
            if self._stopping.wait(self._pause) and not run.has_ended:
                _attempt(run.cancellation())
                return
        if story.status is TaskStatus.COMPLETED:
            self._turns = [*self._turns, (story.ask, story.answer)][-MAX_TURNS:]
        self._stopping.wait(2 * self._pause)


def _attempt(write: Write) -> None:
    """Perform a write. Errors are only logged, since agents keep working without their store."""
    try:
        _beat()
        perform(write)
    except (Error, OSError) as error:
        logger.warning("The simulated agent could not write a step: %r", error)
        _close_connection()


def _beat() -> None:
    """Write the daemon's heartbeat. It beats more often than the agent records steps."""
    if file := settings.HEARTBEAT_FILE:
        state = json.dumps({"written_at": datetime.now(UTC).isoformat()})
        file.with_suffix(".new").write_text(state, encoding="utf-8")
        file.with_suffix(".new").replace(file)


def _close_connection() -> None:
    connections[router.db_for_write(TaskRecord)].close()


def _end(story: Story, now: int, rng: random.Random) -> int:
    """Return when a story ends, in nanoseconds. Older stories end within working hours."""
    end = now - int(story.days_ago * DAY)
    if story.days_ago < 1:
        return end
    return end - end % DAY + rng.randint(7 * HOUR, 19 * HOUR)


def _backdate(story: Story, end: int, rng: random.Random) -> None:
    """Move a story's timestamps into the past so that the story ends at `end` (nanoseconds)."""
    times = _times(story, end, rng)
    rows = TaskCheckpoint.objects.filter(task=story.task).order_by("id")
    for id, time in zip(rows.values_list("id", flat=True), times[1:], strict=False):
        TaskCheckpoint.objects.filter(id=id).update(created_at=_timestamp(time))
    earlier = sum(int(rng.uniform(0.2, 2) * DAY) for _ in story.before)
    TaskRecord.objects.filter(task_id=story.task).update(
        created_at=_timestamp(times[0] - earlier),
        updated_at=_timestamp(times[-1]),
        completed_at=_timestamp(times[-1]) if story.status.is_terminal else None,
    )


def _times(story: Story, end: int, rng: random.Random) -> list[int]:
    """Return the time of the message, of each step, and of the run's end if it has ended."""
    gaps = [int(step.after_hours * HOUR) or _seconds(rng, 4, 80) for step in story.steps]
    if story.status is TaskStatus.TIMED_OUT:
        gaps.append(300 * SECOND)
    elif story.status.is_terminal:
        gaps.append(_seconds(rng, 3, 25))
    times = [end]
    for gap in reversed(gaps):
        times.append(times[-1] - gap)
    return times[::-1]


def _seconds(rng: random.Random, least: int, most: int) -> int:
    return rng.randint(least * SECOND, most * SECOND)


def _timestamp(time: int) -> str:
    return rfc3339(*divmod(time, SECOND))
