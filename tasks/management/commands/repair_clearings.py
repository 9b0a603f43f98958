from typing import Any

from django.core.management.base import CommandParser

from archive.models import Clearing, Stage
from tasks.clearing import lifecycle
from tasks.management import base
from tasks.store import workspace


class Command(base.Command):
    help = (
        "Complete the record of clearings after a crash, by checking in the store whether each"
        " thread that was being cleared is gone. Deletes and restores nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--now",
            action="store_true",
            help="include clearings active in the last minute; use only if no process is running",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        unfinished = Clearing.objects.confirmed().filter(store=workspace.identity())
        unfinished = unfinished.exclude(stage=Stage.DONE)
        unclaimed = unfinished if options["now"] else unfinished.unclaimed()
        for clearing in unclaimed.order_by("pk"):
            settled = lifecycle.repair(clearing)
            if settled or clearing.stage == Stage.FAILED:
                threads = f"{settled} thread{'' if settled == 1 else 's'} checked"
                left = f"{clearing}, {clearing.remaining} left"
                self.stdout.write(f"Clearing {clearing.pk}: {threads}; {left}.")
        if busy := unfinished.count() - unclaimed.count():
            self.stdout.write(f"{busy} skipped: in progress in another process; see --now.")
