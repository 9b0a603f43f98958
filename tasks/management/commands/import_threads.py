import os
import stat
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from tasks.maintenance import export_format, transfer
from tasks.maintenance.progress import Progress
from tasks.store import workspace


class Command(BaseCommand):
    help = "Store the threads of a file that export_threads wrote; what is there already stays."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", nargs="?", default="-", help="(standard input)")
        parser.add_argument("--dry-run", action="store_true", help="only check the file")
        parser.add_argument(
            "--replace", action="store_true", help="also tasks that are there with other content"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with opened(options["file"]) as file:
                if not options["dry_run"]:
                    workspace.prepare()
                    transfer.make_tables(workspace.store_connection().alias)
                failures = self.load(file, options)
        except workspace.WorkspaceError as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(f"{options['file']}: {error.strerror}.") from error
        except DatabaseError as error:
            raise CommandError(f"The store cannot be written: {error}.") from error
        if failures:
            raise CommandError("Not every line is good; the good ones were taken.")

    def load(self, file: IO[bytes], options: dict[str, Any]) -> int:
        progress = Progress(self.stderr, size(file))
        done: Counter[str] = Counter()
        read, end = 0, None
        for number, line in enumerate(file, 1):
            read += len(line)
            try:
                parsed = export_format.parse(line)
                if number == 1 or end or isinstance(parsed, export_format.Header):
                    check_place(parsed, number)
                if isinstance(parsed, export_format.Task):
                    done[store(parsed, options, progress)] += 1
                end = parsed if isinstance(parsed, export_format.End) else None
            except export_format.Refused as error:
                if number == 1:
                    raise CommandError(f"This is no export of threads: {error}.") from error
                progress.failed(f"Line {number}: {error}.")
            progress.show(read, f"{done.total()} tasks")
        if end is None:
            progress.failed("The file was cut off: its last line is missing.")
        progress.clear()
        self.stdout.write(", ".join(f"{count} {what}" for what, count in done.items()) or "0 tasks")
        return progress.failures


def store(task: export_format.Task, options: dict[str, Any], progress: Progress) -> str:
    """What was done with the task, in a word."""
    if options["dry_run"]:
        return "valid"
    seconds = transfer.put(task, replace=options["replace"])
    progress.warn(transfer.lock_warning(task, seconds))
    return "imported" if seconds else "there already"


def check_place(line: Any, number: int) -> None:
    """Raise Refused for a line that is not the header at the top, or comes after the last."""
    if number > 1:
        raise export_format.Refused("only a task, or the last line once, may stand here")
    if line != export_format.Header():
        raise export_format.Refused(
            f"its first line is not that of version {export_format.VERSION}"
        )


def size(file: IO[bytes]) -> int | None:
    status = os.fstat(file.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else None


@contextmanager
def opened(name: str) -> Iterator[IO[bytes]]:
    if name == "-":
        yield sys.stdin.buffer
    else:
        with open(name, "rb") as file:
            yield file
