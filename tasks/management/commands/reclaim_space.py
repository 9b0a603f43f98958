import shutil
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from tasks.engines import engine
from tasks.maintenance import disk_space
from tasks.maintenance.disk_space import Space
from tasks.management.commands.clear_threads import plain_size
from tasks.store import workspace
from tasks.store.daemon import daemon


class Command(BaseCommand):
    help = (
        "Tell how much room the store takes. Clearing makes room inside its file, which new threads"
        " use; the file itself becomes smaller only with --vacuum, while no daemon runs."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--vacuum", action="store_true", help="rewrite the file without it")

    def handle(self, *args: Any, **options: Any) -> None:
        before = disk_space.measure()
        self.show(before)
        if not options["vacuum"]:
            return
        self.refuse(before)
        try:
            disk_space.vacuum()
        except DatabaseError as error:
            raise CommandError(f"The file is as it was: {error}") from error
        after = disk_space.measure()
        self.show(after)
        freed = before.file + before.log - after.file - after.log
        self.stdout.write(f"{plain_size(max(freed, 0))} given back.")

    def show(self, space: Space) -> None:
        if not engine(workspace.store_connection()).is_file:
            self.stdout.write(f"The two tables take {plain_size(space.file)} with their indexes.")
            return
        self.stdout.write(
            f"{workspace.store_file()}: {plain_size(space.file)},"
            f" of which {plain_size(space.free)} are free for new threads."
        )
        if space.log:
            self.stdout.write(f"Its -wal file: {plain_size(space.log)}, used again and again.")

    def refuse(self, space: Space) -> None:
        """Raise CommandError if the store's file cannot or should not be rewritten now."""
        if settings.TASKS_READ_ONLY:
            raise CommandError("The store is read-only.")
        if not engine(workspace.store_connection()).is_file:
            return
        if daemon().state == "alive":
            raise CommandError(
                "The gloamy daemon is running, and would lose what it writes. Stop it first."
            )
        needed = 2 * (space.file - space.free)
        if shutil.disk_usage(workspace.store_file().parent).free < needed:
            raise CommandError(
                f"It takes {plain_size(needed)} of room on the disk, which is not there."
            )
