from typing import Any

from django.core.management.base import CommandParser

from archive.models import Clearing, Stage
from tasks.clearing import lifecycle
from tasks.management import base
from tasks.store import workspace


class Command(base.Command):
    help = (
        "Make the record of clearings true after a crash: for each thread that was being cleared,"
        " the store tells whether it was. Nothing is deleted and nothing is restored."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--now",
            action="store_true",
            help="also those that a process had less than a minute ago; only if none runs any more",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        unfinished = Clearing.objects.confirmed().filter(store=workspace.identity())
        unfinished = unfinished.exclude(stage=Stage.DONE)
        unclaimed = unfinished if options["now"] else unfinished.unclaimed()
        for clearing in unclaimed.order_by("pk"):
            settled = lifecycle.repair(clearing)
            if settled or clearing.stage == Stage.FAILED:
                threads = f"{settled} thread{'' if settled == 1 else 's'} open"
                left = f"{clearing}, {clearing.remaining} left"
                self.stdout.write(f"Clearing {clearing.pk}: {threads}; {left}.")
        if busy := unfinished.count() - unclaimed.count():
            self.stdout.write(f"{busy} under way in another process, and left alone; see --now.")
