import shutil
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from tasks.engines import engine
from tasks.maintenance import disk_space
from tasks.maintenance.disk_space import Space
from tasks.management import base
from tasks.management.commands.clear_threads import plain_size
from tasks.store import workspace
from tasks.store.daemon import daemon


class Command(base.Command):
    help = (
        "Show how much space the store takes. Clearing frees space inside its file for new threads;"
        " the file itself shrinks only with --vacuum, which gives way to any program that has the"
        " store open, such as an agent. The site's file shrinks by itself when archived threads are"
        " restored or deleted; one from an earlier version does so once --site --vacuum has run."
    )
    requires = ()  # only the database that is asked for

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--vacuum", action="store_true", help="return free space to the disk")
        parser.add_argument(
            "--site",
            action="store_true",
            help="the site's database instead of the store; pages may have to wait",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        site = connections[DEFAULT_DB_ALIAS]
        connection = site if options["site"] else workspace.store_connection()
        is_file = engine(connection).is_file
        (workspace.require_site if options["site"] else workspace.require_store)()
        if options["site"] and not is_file:
            raise CommandError("The site's database is on PostgreSQL, which reclaims space itself.")
        before = disk_space.measure(connection)
        self.show(connection, before)
        if not options["vacuum"]:
            return
        if not options["site"]:
            self.refuse_store(connection)
        if is_file:
            self.refuse_full_disk(connection, before)
        try:
            if options["site"]:
                disk_space.vacuum_site(connection)
            else:
                disk_space.vacuum_store(connection)
        except disk_space.InUseError as error:
            raise CommandError(
                f"Nothing was changed: {error}. Stop the agents and the site, and try again."
            ) from error
        except (DatabaseError, OSError) as error:
            raise CommandError(f"The file was not changed: {error}") from error
        after = disk_space.measure(connection)
        self.show(connection, after)
        freed = before.file + before.log - after.file - after.log
        self.stdout.write(f"Reclaimed {plain_size(max(freed, 0))}.")

    def show(self, connection: BaseDatabaseWrapper, space: Space) -> None:
        if not engine(connection).is_file:
            self.stdout.write(f"The two tables and their indexes take {plain_size(space.file)}.")
            return
        self.stdout.write(
            f"{workspace.file_of(connection)}: {plain_size(space.file)},"
            f" of which {plain_size(space.free)} is free for new threads."
        )
        if space.log:
            self.stdout.write(f"Its -wal file: {plain_size(space.log)}, which is reused.")

    def refuse_store(self, connection: BaseDatabaseWrapper) -> None:
        """Raise CommandError if the store should not be rewritten now."""
        if settings.TASKS_READ_ONLY:
            raise CommandError("The store is read-only.")
        if engine(connection).is_file and daemon().state == "alive":
            raise CommandError("The gloamy daemon is running and would lose writes. Stop it first.")

    def refuse_full_disk(self, connection: BaseDatabaseWrapper, space: Space) -> None:
        """Raise CommandError if the disk has no room for a copy of the file."""
        needed = 2 * (space.file - space.free)
        if shutil.disk_usage(workspace.file_of(connection).parent).free < needed:
            raise CommandError(f"Not enough disk space: {plain_size(needed)} must be free.")
