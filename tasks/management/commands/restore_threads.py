from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.db import Error

from archive.models import ClearedThreadQuerySet, Clearing, Fate
from tasks.clearing import restoring
from tasks.escaping import one_line
from tasks.maintenance.progress import Progress
from tasks.management import base
from tasks.management.commands.clear_threads import printable
from tasks.store import workspace


def utf8(text: str) -> str:
    text.encode()  # an error makes argparse reject the argument
    return text


class Command(base.Command):
    help = (
        "Restore the threads of a clearing exactly as they were: those with the given IDs, or all."
        " Threads that exist again are not replaced. The command can be repeated. Exits with 1 if"
        " any thread could not be restored."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("clearing", type=int, help="number of the clearing, as in its URL")
        parser.add_argument("ids", type=utf8, nargs="*", metavar="ID", help="only these threads")

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.TASKS_READ_ONLY:
            raise CommandError("The store is read-only: nothing can be restored.")
        clearings = Clearing.objects.confirmed().filter(store=workspace.identity())
        clearing = clearings.filter(pk=options["clearing"]).first()
        if clearing is None:
            raise CommandError("There is no such clearing in this store.")
        threads = clearing.threads.exclude(fate=Fate.RESTORED)
        if ids := options["ids"]:
            self.require(clearing, ids)
            threads = threads.for_threads(ids)
        else:
            threads = threads.filter(fate=Fate.CLEARED)
        self.restore(threads)

    def require(self, clearing: Clearing, ids: list[str]) -> None:
        """Raise CommandError if one of the ids is not in the clearing."""
        known = {thread.thread_id for thread in clearing.threads.for_threads(ids)}
        if unknown := [id_ for id_ in ids if id_ not in known]:
            names = ", ".join(printable(id_) for id_ in unknown)
            raise CommandError(f"Nothing was restored: these are not in the clearing: {names}.")

    def restore(self, threads: ClearedThreadQuerySet) -> None:
        total, restored = threads.count(), 0
        progress = Progress(self.stderr, total)
        try:
            for thread, reason in restoring.restore_each(threads):
                if reason:
                    progress.failed(f"Not restored: {printable(thread.thread_id)}: {reason}")
                else:
                    restored += 1
                done = restored + progress.failures
                progress.show(done, f"{done} of {total} threads")
        except Error as error:
            message = f"Interrupted after {restored} threads: {error}"
            raise CommandError(one_line(message)) from error
        finally:
            progress.clear()
        self.stdout.write(restoring.restored_text(restored))
        if progress.failures:
            raise CommandError(f"{progress.failures:,} could not be restored.")
