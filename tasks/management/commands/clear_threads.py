import getpass
import re
import socket
from argparse import ArgumentTypeError
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error
from django.template.defaultfilters import filesizeformat
from django.utils import timezone

from archive.models import Clearing, Fate, Source, Stage
from tasks.clearing import confirmation, lifecycle, summaries
from tasks.clearing.confirmation import Confirmation
from tasks.clearing.lifecycle import Actor
from tasks.escaping import one_line
from tasks.fields import to_value
from tasks.maintenance.progress import Progress
from tasks.models import TaskRecord, TaskRecordQuerySet, TaskStatus
from tasks.store import transactions
from tasks.store.daemon import daemon
from tasks.templatetags.threads import shown_id

UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
LARGEST = 10


def age(text: str) -> timedelta:
    """30d, 12h and the like."""
    found = re.fullmatch(r"(\d{1,6})([mhdw])", text, re.ASCII)
    if not found:
        raise ArgumentTypeError(f"{text!r} is no age such as 30d, 12h, 45m or 2w")
    return timedelta(**{UNITS[found[2]]: int(found[1])})


def _many(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


class Command(BaseCommand):
    help = (
        "Clear the threads that pass all the filters, whole and into the archive. Without --yes"
        " nothing is cleared: the numbers are shown. Threads that run are left out unless --running"
        " is given. Ends with 0 where all was done, with 1 where something went wrong."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--thread", action="append", default=[], help="this thread; repeatable")
        parser.add_argument("--status", choices=TaskStatus.values, help="of the latest task")
        parser.add_argument("--older-than", type=age, metavar="AGE", help="not active for 30d, 12h")
        for name in ("channel", "provider", "model"):
            parser.add_argument(f"--{name}", help="of the latest task")
        parser.add_argument("--stalled", action="store_true", help="run by record, and silent")
        parser.add_argument("--cannot-resume", action="store_true", help="no turn is left")
        parser.add_argument("--all", action="store_true", help="where no other filter is given")
        parser.add_argument("--running", action="store_true", help="also threads that run")
        parser.add_argument("--yes", action="store_true", help="clear them")
        parser.add_argument(
            "--dry-run", action="store_true", help="only show what would be cleared"
        )
        parser.add_argument("--erase", action="store_true", help="keep no archive, overwrite")
        parser.add_argument("--reason", default="", help="kept on record")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["yes"] and settings.TASKS_READ_ONLY:
            raise CommandError("The store is read-only: nothing can be cleared.")
        asked = self.asked(options)
        if not asked and not options["all"]:
            raise CommandError("Say which threads: give a filter, or --all.")
        chosen = self.chosen(options)
        if options["yes"] and not options["dry_run"]:
            self.clear(chosen, options, asked)
        else:
            self.show(chosen)

    def asked(self, options: dict[str, Any]) -> str:
        """The filters, for the record."""
        names = ("thread", "status", "older_than", "channel", "provider", "model")
        given = {name: options[name] for name in names if options[name] not in (None, [])}
        given |= {name: "" for name in ("stalled", "cannot_resume") if options[name]}
        words = (f"--{name.replace('_', '-')} {value}".rstrip() for name, value in given.items())
        return " ".join(words)

    def chosen(self, options: dict[str, Any]) -> list[str]:
        """The ids of the threads; without those that run unless they are wanted."""
        tasks = self.filtered(options)
        with (
            transactions.reading_as_stored()
        ):  # an id that is not UTF-8 is none that can be asked for
            found_ids = list(tasks.order_by().values_list("thread_id", flat=True))
        ids = [id_ for id_ in found_ids if isinstance(id_, str)]
        if options["running"] or options["stalled"]:
            return ids
        found = summaries.of(ids)
        return [id_ for id_ in ids if id_ in found and not found[id_].is_running]

    def filtered(self, options: dict[str, Any]) -> TaskRecordQuerySet:
        names = ("status", "channel", "provider", "model")
        given = {name: options[name] for name in names if options[name] is not None}
        tasks = TaskRecord.objects.latest_per_thread().filter(**given)
        if options["thread"]:
            tasks = tasks.filter(thread_id__in=options["thread"])
        if options["stalled"]:
            silent = to_value(daemon().stalled_before)
            tasks = tasks.filter(status=TaskStatus.RUNNING, updated_at__lt=silent)
        if options["older_than"] is not None:
            cut = to_value(timezone.now() - options["older_than"])
            tasks = tasks.filter(updated_at__lt=cut)
        return tasks.unresumable() if options["cannot_resume"] else tasks

    def show(self, ids: list[str]) -> None:
        """The numbers, and the largest threads."""
        act = lifecycle.draft(ids, self.actor(), is_measured=True)
        shown = confirmation.of_draft(act)
        act.delete()
        at_least = "" if shown.is_measured else "at least "
        self.stdout.write(
            f"{_many(shown.count, 'thread')} would be cleared, {shown.running} of them running:"
            f" {_many(shown.tasks, 'task')}, {_many(shown.checkpoints, 'checkpoint')},"
            f" {at_least}{plain_size(shown.size)}."
        )
        self.show_largest(shown)
        self.stdout.write("Nothing was cleared. Give --yes to clear them.")

    def show_largest(self, shown: Confirmation) -> None:
        rows = sorted(shown.rows, key=lambda row: -(row.size or 0))
        for row in rows[:LARGEST]:
            size = plain_size(row.size or 0)
            status = one_line(row.status)[:40]
            self.stdout.write(f"  {size:>10}  {status:10}  {name_of(row.thread_id)}")
        for row, seconds in shown.slow[:LARGEST]:
            name = name_of(row.thread_id)
            self.stdout.write(f"While {name} is deleted, a live agent waits about {seconds:.1f} s.")

    def clear(self, ids: list[str], options: dict[str, Any], asked: str) -> None:
        act = lifecycle.draft(ids, self.actor(), filter_text=asked)
        lifecycle.confirm(
            act,
            with_running=options["running"] or options["stalled"],
            is_erasing=options["erase"],
            reason=options["reason"],
        )
        self.run(act)
        self.stdout.write(
            f"{act}: {_many(act.tasks, 'task')}, {_many(act.checkpoints, 'checkpoint')},"
            f" {plain_size(act.size)}."
        )
        for row in act.threads.filter(fate=Fate.KEPT)[:LARGEST]:
            self.stderr.write(one_line(f"Kept {name_of(row.thread_id)}: {row.why}"))

    def run(self, act: Clearing) -> None:
        progress = Progress(self.stderr, act.planned)
        try:
            for done in lifecycle.run(act):
                progress.show(done.done, f"{done.done} of {done.planned} threads")
        except KeyboardInterrupt:
            lifecycle.cancel(act)
            progress.clear()
            raise
        except (Error, lifecycle.BusyError) as error:
            progress.clear()
            told = one_line(f"Broken off after {act.cleared} threads: {error}")
            raise CommandError(told) from error
        progress.clear()
        if act.stage == Stage.CANCELLED:
            raise CommandError(f"Cancelled after {act.cleared} threads.")

    def actor(self) -> Actor:
        return Actor(Source.COMMAND, name=_user_name(), address=socket.gethostname())


def name_of(thread_id: str) -> str:
    """An id as a terminal may have it."""
    return one_line(shown_id(thread_id))[:100]


def plain_size(size: int) -> str:
    return str(filesizeformat(size)).replace("\xa0", " ")


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # of a container, with a number and no name
        return ""
