from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser

from archive.models import Clearing
from tasks.clearing import retention
from tasks.management import base
from tasks.management.commands.clear_threads import age
from tasks.store import workspace


class Command(base.Command):
    help = (
        "Delete expired threads from the archive, so that they can no longer be restored. The"
        " record of who cleared what is kept."
    )
    requires = (workspace.require_site,)

    def add_arguments(self, parser: CommandParser) -> None:
        days = settings.ARCHIVE_RETENTION.days
        parser.add_argument("--older-than", type=age, help=f"minimum age (default: {days}d)")
        parser.add_argument("--clearing", type=int, help="only threads of this clearing")

    def handle(self, *args: Any, **options: Any) -> None:
        pk = options["clearing"]
        clearings = Clearing.objects.filter(pk=pk) if pk else None
        count = retention.empty_archive(options["older_than"], clearings)
        self.stdout.write(f"Deleted {count} threads from the archive.")
