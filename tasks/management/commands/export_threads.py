import os
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import msgspec
from django.core.management.base import CommandError, CommandParser

from tasks.maintenance import transfer
from tasks.maintenance.export_format import End, Header, TransferError
from tasks.maintenance.progress import Progress
from tasks.management import base
from tasks.store import workspace


class Command(base.Command):
    help = "Export threads to a JSON Lines file, exactly as stored."
    requires = (workspace.require_store,)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", nargs="?", default="-", help="(default: standard output)")
        parser.add_argument("--thread", action="append", help="only this thread (repeatable)")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with _open(options["file"]) as file:
                failures = self.export(file, options["thread"])
        except BrokenPipeError:
            # Python flushes standard output again at exit, and that flush must not fail
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(1) from None
        except OSError as error:
            raise CommandError(f"{options['file']}: {error.strerror}.") from error
        except TransferError as error:
            raise CommandError(f"{error}.") from error
        if failures:
            raise CommandError("Some threads could not be exported.")

    def export(self, file: IO[bytes], threads: list[str] | None) -> int:
        progress = Progress(self.stderr, None if threads else transfer.count_tasks())
        totals = End()
        _write(file, Header())
        for task_id in self.thread_task_ids(threads, progress) if threads else transfer.task_ids():
            try:
                if (task := transfer.read_task(task_id)) is not None:
                    _write(file, task)
                    totals.tasks += 1
                    totals.checkpoints += len(task.checkpoints)
            except TransferError as error:
                progress.failed(f"Skipped: {error}.")
            progress.show(totals.tasks, f"{totals.tasks} tasks")
        _write(file, totals)
        for message in () if threads else transfer.unreachable_rows():
            progress.failed(message)
        progress.clear()
        return progress.failures

    def thread_task_ids(self, threads: Iterable[str], progress: Progress) -> Iterator[str | bytes]:
        for thread_id in dict.fromkeys(threads):
            task_ids = transfer.thread_task_ids(thread_id)
            if not task_ids:
                progress.failed(f"There is no thread {thread_id!r}.")
            yield from task_ids


def _write(file: IO[bytes], line: msgspec.Struct) -> None:
    file.write(msgspec.json.encode(line))
    file.write(b"\n")


@contextmanager
def _open(name: str) -> Iterator[IO[bytes]]:
    """Open standard output, a device, or a private file that is renamed once it is complete."""
    file = Path(name).resolve()
    workspace.require_other_file(file)
    if name == "-":
        yield sys.stdout.buffer
        sys.stdout.flush()
    elif file.exists() and not stat.S_ISREG(file.stat().st_mode):  # a device such as /dev/null
        with file.open("wb") as device:
            yield device
    else:
        with _open_atomically(file) as new:
            yield new


@contextmanager
def _open_atomically(file: Path) -> Iterator[IO[bytes]]:
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
