from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError, CommandParser

from gloamy_site.settings import database_at
from tasks.maintenance import transfer
from tasks.maintenance.export_format import TransferError
from tasks.maintenance.progress import Progress
from tasks.maintenance.transfer import Totals
from tasks.management import base
from tasks.store import workspace


class Command(base.Command):
    help = "Copy the whole store to or from another database, and compare the two."
    requires = ()  # the target is created

    def add_arguments(self, parser: CommandParser) -> None:
        direction = parser.add_mutually_exclusive_group(required=True)
        direction.add_argument("--to", metavar="URL", help="sqlite:// or postgres:// URL")
        direction.add_argument("--from", metavar="URL", help="sqlite:// or postgres:// URL")
        parser.add_argument(
            "--replace",
            action="store_true",
            help="make the target identical: replace tasks that differ, delete extra ones",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        name = "--to" if options["to"] else "--from"
        try:
            database = database_at(options["to"] or options["from"], name)
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error
        store = workspace.store_connection()
        try:
            if options["to"]:
                workspace.require_store()
            transfer.check_file(database, may_be_created=bool(options["to"]))
            workspace.prepare()
            with transfer.connected(database) as other:
                aliases = (store.alias, other)
                source, target = aliases if options["to"] else reversed(aliases)
                self.copy(source, target, options["replace"])
        except (TransferError, workspace.WorkspaceError) as error:
            raise CommandError(f"{str(error).rstrip('.')}.") from error

    def copy(self, source: str, target: str, replace: bool) -> None:
        transfer.create_tables(target)
        progress = Progress(self.stderr, transfer.count_tasks(source))
        _delete_extra_tasks(source, target, replace)
        expected = _copy_tasks(source, target, replace, progress)
        for message in transfer.unreachable_rows(source):
            progress.failed(message)
        actual = _totals(target, progress)
        progress.clear()
        self.stdout.write(f"source: {expected}\ntarget: {actual}")
        if progress.failures or str(expected) != str(actual):
            raise CommandError("The stores differ.")
        self.stdout.write("The stores are identical.")


def _delete_extra_tasks(source: str, target: str, replace: bool) -> None:
    """Delete tasks that exist only in the target; without `replace`, raise CommandError instead."""
    for task_id in transfer.task_ids(target):
        if transfer.task_exists(task_id, source):
            continue
        if not replace:
            raise CommandError(f"The target has other tasks, such as {task_id!r}; see --replace.")
        transfer.delete_task(task_id, target)


def _copy_tasks(source: str, target: str, replace: bool, progress: Progress) -> Totals:
    """Copy every task, and return the totals that the target should have afterwards."""
    totals = Totals()
    for task_id in transfer.task_ids(source):
        try:
            if (original := transfer.read_task(task_id, source)) is not None:
                task = transfer.storable_task(original, target)
                if task != original:
                    progress.warn(f"{original.task_id!r}: each NUL was replaced by U+FFFD.")
                totals.add(task)
                seconds = transfer.write_task(task, replace=replace, using=target)
                progress.warn(transfer.lock_warning(original, seconds, target))
        except TransferError as error:
            progress.failed(f"Skipped: {error}.")
        progress.show(totals.tasks, f"{totals.tasks} tasks")
    return totals


def _totals(alias: str, progress: Progress) -> Totals:
    """Read all tasks back from the target database, and return its actual totals."""
    totals = Totals()
    for task_id in transfer.task_ids(alias):
        try:
            if (task := transfer.read_task(task_id, alias)) is not None:
                totals.add(task)
        except TransferError as error:
            progress.failed(f"Not compared: {error}.")
        progress.show(totals.tasks, f"{totals.tasks} tasks compared")
    return totals
