import argparse
import os
import subprocess
import sys
import time
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import connections, router

from tasks.index import following, indexed_texts
from tasks.index.models import IndexedTask
from tasks.maintenance.progress import Progress
from tasks.management import base
from tasks.models import TaskRecord
from tasks.store import workspace

FEW = 1_000  # tasks whose texts one process indexes quickly enough
STEP_SECONDS, PAUSE = 10.0, 0.2
WRITE_SIZE = (
    2_000_000  # characters per transaction: the more, the less one process undoes for others
)
CACHE_SIZE = 200_000  # kilobytes


class Command(base.Command):
    help = (
        "Build the index for lists and searches, which pages otherwise build in the background, and"
        " compare it with the store. The store is only read."
    )
    requires = (workspace.require_store,)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--part", type=int, nargs=2, help=argparse.SUPPRESS)

    def handle(self, *args: Any, part: list[int] | None, **options: Any) -> None:
        if part:
            self._index_texts(*part)
        else:
            self._index()

    def _index(self) -> None:
        total = TaskRecord.objects.count()
        progress = Progress(self.stdout, total)
        while not following.catch_up(background=False).is_complete:
            done = IndexedTask.objects.count()
            progress.show(done, f"{done:,} tasks")
        if following.problem:
            raise CommandError(f"The index cannot be written: {following.problem}")
        _enlarge_cache()
        behind = IndexedTask.objects.filter(has_texts=False)
        parts = (os.cpu_count() or 1) if len(behind[: FEW + 1]) > FEW else 1
        command = [sys.executable, sys.argv[0], "index", "--part"]
        others = [
            subprocess.Popen([*command, str(part), str(parts)])  # noqa: S603 - this command again
            for part in range(1, parts)
        ]
        try:
            while indexed_texts.is_behind():
                following.catch_up_texts(STEP_SECONDS, 0, parts, WRITE_SIZE)
                done = total - behind.count()
                progress.show(done, f"texts of {done:,} tasks")
                if all(other.poll() is not None for other in others):
                    parts = 1  # do what one of them may have left
                elif not indexed_texts.is_behind(0, parts):
                    time.sleep(PAUSE)
        finally:
            for other in others:
                other.terminate()
                other.wait()
        progress.clear()
        following.compare_all()
        self.stdout.write(f"The index has all {IndexedTask.objects.count():,} tasks in the store.")

    def _index_texts(self, part: int, parts: int) -> None:
        _enlarge_cache()
        while indexed_texts.is_behind(part, parts):
            following.catch_up_texts(STEP_SECONDS, part, parts, WRITE_SIZE)


def _enlarge_cache() -> None:
    with connections[router.db_for_write(IndexedTask)].cursor() as cursor:
        cursor.execute(f"PRAGMA cache_size = -{CACHE_SIZE}")
