from typing import Any

from django.core.management.base import BaseCommand, CommandError

from tasks.index import following
from tasks.index.models import IndexedTask
from tasks.maintenance.progress import Progress
from tasks.models import TaskRecord
from tasks.store.errors import StoreError


class Command(BaseCommand):
    help = (
        "Build the index that the lists use, as pages otherwise do in the background, and compare"
        " all of it with the store. The store is only read."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            progress = Progress(self.stdout, TaskRecord.objects.count())
            while not following.catch_up(background=False).is_complete:
                done = IndexedTask.objects.count()
                progress.show(done, f"{done:,} tasks")
            progress.clear()
            following.compare_all()
        except StoreError as error:
            raise CommandError(str(error)) from error
        if following.problem:
            raise CommandError(f"The index cannot be written: {following.problem}")
        self.stdout.write(f"The index has all {IndexedTask.objects.count():,} tasks of the store.")
