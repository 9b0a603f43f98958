import os
import stat
import sys
from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from typing import IO, Any

from django.core.management.base import CommandError, CommandParser

from tasks.maintenance import transfer
from tasks.maintenance.export_format import VERSION, End, Header, Task, TransferError, parse_line
from tasks.maintenance.progress import Progress
from tasks.management import base
from tasks.store import workspace


class Command(base.Command):
    help = "Import threads from a file written by export_threads. Existing tasks are kept."
    requires = ()  # a new store is created

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", nargs="?", default="-", help="(default: standard input)")
        parser.add_argument("--dry-run", action="store_true", help="only check the file")
        replace_help = "replace existing tasks that differ"
        parser.add_argument("--replace", action="store_true", help=replace_help)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with _open(options["file"]) as file:
                if not options["dry_run"]:
                    workspace.prepare()
                    transfer.create_tables(workspace.store_connection().alias)
                failures = self.import_lines(file, options)
        except OSError as error:
            raise CommandError(f"{options['file']}: {error.strerror}.") from error
        if failures:
            raise CommandError("Some lines are invalid. The valid ones were imported.")

    def import_lines(self, file: IO[bytes], options: dict[str, Any]) -> int:
        progress = Progress(self.stderr, _file_size(file))
        results: Counter[str] = Counter()
        bytes_read, end = 0, None
        for number, line in enumerate(file, 1):
            bytes_read += len(line)
            try:
                parsed = parse_line(line)
                if number == 1 or end or isinstance(parsed, Header):
                    _check_order(parsed, number)
                if isinstance(parsed, Task):
                    results[_import(parsed, options, progress)] += 1
                end = parsed if isinstance(parsed, End) else None
            except TransferError as error:
                if number == 1:
                    raise CommandError(f"This is not an export of threads: {error}.") from error
                progress.failed(f"Line {number}: {error}.")
            progress.show(bytes_read, f"{results.total()} tasks")
        if end is None:
            progress.failed("The file is truncated: its last line is missing.")
        progress.clear()
        summary = ", ".join(f"{count} {result}" for result, count in results.items())
        self.stdout.write(summary or "0 tasks")
        return progress.failures


def _import(task: Task, options: dict[str, Any], progress: Progress) -> str:
    """Store a task, unless this is a dry run, and return the result for the summary."""
    if options["dry_run"]:
        return "valid"
    seconds = transfer.write_task(task, replace=options["replace"])
    progress.warn(transfer.lock_warning(task, seconds))
    return "imported" if seconds else "already stored"


def _check_order(line: Any, number: int) -> None:
    """Raise TransferError unless the line is a valid header and is the first line of the file."""
    if number > 1:
        raise TransferError("expected a task, or the last line once")
    if line != Header():
        raise TransferError(f"its first line is not that of format version {VERSION}")


def _file_size(file: IO[bytes]) -> int | None:
    status = os.fstat(file.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _open(name: str) -> AbstractContextManager[IO[bytes]]:
    """Open a regular file, or standard input unless it is a terminal or another device."""
    if name == "-":
        if stat.S_ISCHR(os.fstat(0).st_mode):
            raise CommandError("Standard input is a device: name a file, or redirect one.")
        return nullcontext(sys.stdin.buffer)
    if not stat.S_ISREG(os.stat(name).st_mode):
        raise CommandError(f"{name} is not a regular file. Redirect it to standard input.")
    return open(name, "rb")
