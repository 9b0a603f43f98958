from typing import Any

from django.core.management.base import CommandError

from tasks.index import following
from tasks.index.models import IndexedTask
from tasks.maintenance.progress import Progress
from tasks.management import base
from tasks.models import TaskRecord
from tasks.store import workspace


class Command(base.Command):
    help = (
        "Build the index that the lists use, as pages otherwise do in the background, and compare"
        " all of it with the store. The store is only read."
    )
    requires = (workspace.require_store,)

    def handle(self, *args: Any, **options: Any) -> None:
        progress = Progress(self.stdout, TaskRecord.objects.count())
        while not following.catch_up(background=False).is_complete:
            done = IndexedTask.objects.count()
            progress.show(done, f"{done:,} tasks")
        progress.clear()
        following.compare_all()
        if following.problem:
            raise CommandError(f"The index cannot be written: {following.problem}")
        self.stdout.write(f"The index has all {IndexedTask.objects.count():,} tasks of the store.")
