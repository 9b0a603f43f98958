import os
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import msgspec
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from tasks.maintenance import export_format, transfer
from tasks.maintenance.progress import Progress
from tasks.store import workspace


class Command(BaseCommand):
    help = "Write threads to a file of JSON Lines, exactly as they are stored."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", nargs="?", default="-", help="(standard output)")
        parser.add_argument("--thread", action="append", help="only this one; may be repeated")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            transfer.check_file(workspace.store_connection().settings_dict)
            with opened(options["file"]) as file:
                failures = self.export(file, options["thread"])
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads on
            raise SystemExit(1) from None
        except OSError as error:
            raise CommandError(f"{options['file']}: {error.strerror}.") from error
        except export_format.Refused as error:
            raise CommandError(f"{error}.") from error
        except DatabaseError as error:
            raise CommandError(f"The store cannot be read: {error}.") from error
        if failures:
            raise CommandError("Not everything was exported.")

    def export(self, file: IO[bytes], threads: list[str] | None) -> int:
        progress = Progress(self.stderr, None if threads else transfer.count())
        tally = transfer.Tally()
        write(file, export_format.Header())
        for task_id in self.of_threads(threads, progress) if threads else transfer.task_ids():
            try:
                task = transfer.read(task_id)
            except export_format.Refused as error:
                progress.failed(f"Left out: {error}.")
                continue
            if task is not None:
                write(file, task)
                tally.tasks += 1
                tally.checkpoints += len(task.checkpoints)
            progress.show(tally.tasks, f"{tally.tasks} tasks")
        write(file, export_format.End(tally.tasks, tally.checkpoints))
        for sentence in () if threads else transfer.out_of_reach():
            progress.failed(sentence)
        progress.clear()
        return progress.failures

    def of_threads(self, threads: Iterable[str], progress: Progress) -> Iterator[str | bytes]:
        for thread_id in dict.fromkeys(threads):
            found = transfer.task_ids_of(thread_id)
            if not found:
                progress.failed(f"There is no thread {thread_id!r}.")
            yield from found


def write(file: IO[bytes], line: msgspec.Struct) -> None:
    file.write(msgspec.json.encode(line))
    file.write(b"\n")


@contextmanager
def opened(name: str) -> Iterator[IO[bytes]]:
    """The file to write to: a new private one that takes its name when it is whole."""
    file = Path(name).resolve()
    if name == "-":
        yield sys.stdout.buffer
        sys.stdout.flush()
    elif file.exists() and not stat.S_ISREG(file.stat().st_mode):  # such as /dev/null
        with file.open("wb") as device:
            yield device
    else:
        with _renamed_when_whole(file) as new:
            yield new


@contextmanager
def _renamed_when_whole(file: Path) -> Iterator[IO[bytes]]:
    handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)  # mode 0600
    try:
        with open(handle, "wb") as new:
            yield new
            new.flush()
            os.fsync(new.fileno())
        os.replace(name, file)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name)
