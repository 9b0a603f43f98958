from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from gloamy_site.settings import database_at
from tasks.maintenance import export_format, transfer
from tasks.maintenance.progress import Progress
from tasks.store import workspace


class Command(BaseCommand):
    help = "Copy the whole store to another database, or from one, and compare the two."

    def add_arguments(self, parser: CommandParser) -> None:
        direction = parser.add_mutually_exclusive_group(required=True)
        direction.add_argument("--to", metavar="URL", help="sqlite:// or postgres:// address")
        direction.add_argument("--from", metavar="URL", help="sqlite:// or postgres:// address")
        parser.add_argument(
            "--replace",
            action="store_true",
            help="make the target the same: replace tasks that differ, delete those it has alone",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        name = "--to" if options["to"] else "--from"
        try:
            database = database_at(options["to"] or options["from"], name)
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error
        store = workspace.store_connection()
        try:
            transfer.check_file(database if options["from"] else store.settings_dict)
            workspace.prepare()
            with transfer.connected(database) as other:
                pair = (store.alias, other)
                source, target = pair if options["to"] else reversed(pair)
                self.copy(source, target, options["replace"])
        except (export_format.Refused, workspace.WorkspaceError) as error:
            raise CommandError(f"{str(error).rstrip('.')}.") from error
        except DatabaseError as error:
            raise CommandError(f"The copy was broken off: {error}.") from error

    def copy(self, source: str, target: str, replace: bool) -> None:
        transfer.make_tables(target)
        progress = Progress(self.stderr, transfer.count(source))
        clear_others(source, target, replace)
        read = self.copy_tasks(source, target, replace, progress)
        for sentence in transfer.out_of_reach(source):
            progress.failed(sentence)
        written = tally(target, progress)
        progress.clear()
        self.stdout.write(f"source: {read}\ntarget: {written}")
        if progress.failures or str(read) != str(written):
            raise CommandError("The two differ.")
        self.stdout.write("The two are the same.")

    def copy_tasks(
        self, source: str, target: str, replace: bool, progress: Progress
    ) -> transfer.Tally:
        """Copy every task; the tally is of what was read."""
        read = transfer.Tally()
        for task_id in transfer.task_ids(source):
            try:
                if (task := transfer.read(task_id, source)) is not None:
                    held = transfer.stored_form(task, target)
                    if held != task:
                        progress.warn(f"{task.task_id!r}: U+FFFD stands for each NUL in a text.")
                    read.add(held)
                    seconds = transfer.put(held, replace=replace, using=target)
                    progress.warn(transfer.lock_warning(task, seconds, target))
            except export_format.Refused as error:
                progress.failed(f"Left out: {error}.")
            progress.show(read.tasks, f"{read.tasks} tasks")
        return read


def clear_others(source: str, target: str, replace: bool) -> None:
    """Raise CommandError for a task that only the target holds; or delete it, if that is asked."""
    for task_id in transfer.task_ids(target):
        if transfer.exists(task_id, source):
            continue
        if not replace:
            raise CommandError(f"The target holds other tasks, such as {task_id!r}; see --replace.")
        transfer.delete(task_id, target)


def tally(alias: str, progress: Progress) -> transfer.Tally:
    """Read a store once more, for its counts and checksums."""
    found = transfer.Tally()
    for task_id in transfer.task_ids(alias):
        try:
            if (task := transfer.read(task_id, alias)) is not None:
                found.add(task)
        except export_format.Refused as error:
            progress.failed(f"Not compared: {error}.")
        progress.show(found.tasks, f"{found.tasks} tasks compared")
    return found
