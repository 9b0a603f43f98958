import getpass
import re
import socket
from argparse import ArgumentTypeError
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.db import Error
from django.template.defaultfilters import filesizeformat
from django.utils import timezone

from archive.models import ClearedThread, Clearing, Fate, Source, Stage
from tasks.clearing import lifecycle
from tasks.clearing.confirmation import Confirmation
from tasks.clearing.lifecycle import Actor
from tasks.escaping import one_line
from tasks.fields import to_value
from tasks.maintenance.progress import Progress
from tasks.management import base
from tasks.models import TaskRecord, TaskRecordQuerySet, TaskStatus
from tasks.store import transactions
from tasks.store.daemon import daemon
from tasks.templatetags.threads import display_id

UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
LARGEST = 10  # how many of the largest threads to list


def age(text: str) -> timedelta:
    """Parse an age such as 30d or 12h."""
    match = re.fullmatch(r"(\d{1,6})([mhdw])", text, re.ASCII)
    if not match:
        raise ArgumentTypeError(f"{text!r} is not an age such as 30d, 12h, 45m or 2w")
    return timedelta(**{UNITS[match[2]]: int(match[1])})


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


class Command(base.Command):
    help = (
        "Clear the threads that match all filters, moving them into the archive. Without --yes,"
        " only show what would be cleared. Unfinished threads are skipped unless --running is"
        " given. Exits with 1 if anything failed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        thread_help = "only this thread (repeatable)"
        parser.add_argument("--thread", action="append", default=[], help=thread_help)
        parser.add_argument("--status", choices=TaskStatus.values, help="stored status")
        age_help = "inactive for this long, such as 30d or 12h"
        parser.add_argument("--older-than", type=age, metavar="AGE", help=age_help)
        for name in ("channel", "provider", "model"):
            parser.add_argument(f"--{name}", help=f"{name} of the latest task")
        parser.add_argument("--stalled", action="store_true", help="running but inactive")
        parser.add_argument("--cannot-resume", action="store_true", help="no history left")
        parser.add_argument("--all", action="store_true", help="all threads")
        parser.add_argument("--running", action="store_true", help="include unfinished threads")
        parser.add_argument("--yes", action="store_true", help="clear the threads")
        parser.add_argument(
            "--dry-run", action="store_true", help="only show what would be cleared"
        )
        parser.add_argument("--erase", action="store_true", help="delete permanently")
        parser.add_argument("--reason", default="", help="reason to record")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["yes"] and settings.TASKS_READ_ONLY:
            raise CommandError("The store is read-only: nothing can be cleared.")
        filters = self.filters(options)
        if not filters and not options["all"]:
            raise CommandError("Specify at least one filter, or --all.")
        if options["yes"] and not options["dry_run"]:
            self.clear(self.plan(options), options, filters)
        else:
            self.show(Confirmation(self.plan(options, measure=True)))

    def filters(self, options: dict[str, Any]) -> str:
        """Return the command-line filters as text to store with the clearing."""
        names = ("thread", "status", "older_than", "channel", "provider", "model")
        values = {name: options[name] for name in names if options[name] not in (None, [])}
        values |= {name: "" for name in ("stalled", "cannot_resume") if options[name]}
        words = (f"--{name.replace('_', '-')} {value}".rstrip() for name, value in values.items())
        return " ".join(words)

    def plan(self, options: dict[str, Any], *, measure: bool = False) -> list[ClearedThread]:
        """Return the matching threads, excluding running ones unless the options include them."""
        with transactions.reading_as_stored():
            ids = list(self.matching(options).order_by().values_list("thread_id", flat=True))
        threads = lifecycle.plan([id_ for id_ in ids if isinstance(id_, str)], measure=measure)
        if options["running"] or options["stalled"]:
            return threads
        return [thread for thread in threads if not thread.was_running]

    def matching(self, options: dict[str, Any]) -> TaskRecordQuerySet:
        names = ("status", "channel", "provider", "model")
        values = {name: options[name] for name in names if options[name] is not None}
        tasks = TaskRecord.objects.latest_per_thread().filter(**values)
        if options["thread"]:
            tasks = tasks.filter(thread_id__in=options["thread"])
        if options["stalled"]:
            silent_since = to_value(daemon().stalled_before)
            tasks = tasks.filter(status=TaskStatus.RUNNING, updated_at__lt=silent_since)
        if options["older_than"] is not None:
            before = to_value(timezone.now() - options["older_than"])
            tasks = tasks.filter(updated_at__lt=before)
        return tasks.unresumable() if options["cannot_resume"] else tasks

    def show(self, confirmation: Confirmation) -> None:
        """Print the totals and the largest threads."""
        at_least = "" if confirmation.is_measured else "at least "
        self.stdout.write(
            f"{_count(confirmation.count, 'thread')} would be cleared,"
            f" {confirmation.unfinished_text or 'none unfinished'}:"
            f" {_count(confirmation.tasks, 'task')},"
            f" {_count(confirmation.checkpoints, 'step')},"
            f" {at_least}{plain_size(confirmation.size)}."
        )
        for thread in sorted(confirmation.threads, key=lambda t: -(t.size or 0))[:LARGEST]:
            size, status = plain_size(thread.size or 0), one_line(thread.status)[:40]
            self.stdout.write(f"  {size:>10}  {status:10}  {printable(thread.thread_id)}")
        for thread, seconds in confirmation.slow[:LARGEST]:
            name = printable(thread.thread_id)
            self.stdout.write(f"Clearing {name} blocks a running agent for about {seconds:.1f} s.")
        self.stdout.write("Nothing was cleared. Add --yes to clear these threads.")

    def clear(self, threads: list[ClearedThread], options: dict[str, Any], filters: str) -> None:
        actor = Actor(Source.COMMAND, name=_user_name(), address=socket.gethostname())
        clearing = lifecycle.draft(threads, actor, filter_text=filters)
        lifecycle.confirm(
            clearing,
            with_running=options["running"] or options["stalled"],
            is_erasing=options["erase"],
            reason=options["reason"],
        )
        self.run(clearing)
        self.stdout.write(
            f"{clearing}: {_count(clearing.tasks, 'task')},"
            f" {_count(clearing.checkpoints, 'step')}, {plain_size(clearing.size)}."
        )
        for thread in clearing.threads.filter(fate=Fate.KEPT)[:LARGEST]:
            self.stderr.write(one_line(f"Kept {printable(thread.thread_id)}: {thread.why}"))

    def run(self, clearing: Clearing) -> None:
        progress = Progress(self.stderr, clearing.planned)
        try:
            for _ in lifecycle.run_batches(clearing):
                done = clearing.processed
                progress.show(done, f"{done} of {clearing.planned} threads")
        except KeyboardInterrupt:
            lifecycle.cancel(clearing)
            raise
        except (Error, lifecycle.BusyError) as error:
            message = f"Interrupted after {clearing.cleared} threads: {error}"
            raise CommandError(one_line(message)) from error
        finally:
            progress.clear()
        if clearing.stage == Stage.CANCELLED:
            raise CommandError(f"Cancelled after {clearing.cleared} threads.")


def printable(thread_id: str) -> str:
    return one_line(display_id(thread_id))[:100]


def plain_size(size: int) -> str:
    return str(filesizeformat(size)).replace("\xa0", " ")


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # in a container, the user id may have no name
        return ""
