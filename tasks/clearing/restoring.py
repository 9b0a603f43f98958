"""Restore cleared threads exactly as they were."""

import time
from collections.abc import Iterator
from typing import Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import IntegrityError, transaction
from django.utils import timezone

from archive.models import ClearedThread, ClearedThreadQuerySet, Clearing, Fate, ThreadArchive
from tasks.clearing import lifecycle
from tasks.index import following
from tasks.store import thread_rows, transactions, workspace
from tasks.store.thread_rows import ThreadRows

INDEX_SECONDS = 1  # between two updates of the index, each of which takes as long as a few threads


class RestoreError(Exception):
    """Raised when a thread cannot be restored. Nothing was written, and the message says why."""


class CameBackError(RestoreError):
    """Raised when a thread with the same id exists again and may not be replaced."""


def restore(
    thread: ClearedThread,
    *,
    by: lifecycle.Actor,
    replace: bool = False,
    expected: str | None = None,
    with_running: bool = False,
) -> None:
    """Restore a thread. With `replace`, archive and replace any thread that now has its id.

    If `expected` is given, the current thread is replaced only if its summary has that
    fingerprint. A running thread is replaced only if `with_running` is set.
    """
    archive = _archive_of(thread)
    if replace:
        _clear_current(thread.thread_id, by, expected, with_running)
    try:
        _put_back(thread, archive)
    finally:  # rows may have been inserted even if an error followed
        following.refresh_threads([thread.thread_id])


def archived_rows(thread: ClearedThread) -> ThreadRows:
    """Return a cleared thread's rows. Raises RestoreError if they are not in the archive."""
    return thread_rows.unpack(bytes(_archive_of(thread).data))


def _archive_of(thread: ClearedThread) -> ThreadArchive:
    """Return the archive to restore the thread from. Raises RestoreError if there is none."""
    if thread.clearing.store != workspace.identity():
        raise RestoreError(f"It was cleared from another store: {thread.clearing.store}.")
    archive = ThreadArchive.objects.filter(thread=thread).first()
    if archive is None or thread.fate != Fate.CLEARED:
        raise RestoreError("It is not in the archive.")
    return archive


def _put_back(thread: ClearedThread, archive: ThreadArchive) -> None:
    """Insert the rows and record that. The index does not know of them yet."""
    _insert(thread.thread_id, thread_rows.unpack(bytes(archive.data)))
    with transaction.atomic():
        thread.fate, thread.restored_at, thread.why = Fate.RESTORED, timezone.now(), ""
        thread.save(update_fields=["fate", "restored_at", "why"])
        archive.delete()


def restore_each(threads: ClearedThreadQuerySet) -> Iterator[tuple[ClearedThread, str]]:
    """Restore one thread at a time, yielding each with "", or with the reason if it could not be.

    The reasons are recorded. The caller may stop at any time and restore the rest later.
    """
    restored: list[str] = []  # of which the index knows nothing yet
    began = time.monotonic()
    try:
        for pk in list(threads.order_by("pk").values_list("pk", flat=True)):
            thread = threads.filter(pk=pk).first()
            if thread is None:  # another process has restored it
                continue
            reason = ""
            try:
                restored.append(thread.thread_id)
                _put_back(thread, _archive_of(thread))
            except RestoreError as error:
                reason = str(error)
                threads.restorable().filter(pk=pk).update(why=reason)
            if time.monotonic() - began > INDEX_SECONDS:
                following.refresh_threads(restored)
                restored, began = [], time.monotonic()
            yield thread, reason
    finally:
        following.refresh_threads(restored)


class Run:
    """Restores all of a clearing's archived threads, in as many requests as it takes.

    Its only records are an entry in the admin log, and the reasons why threads were not restored.
    If it is abandoned, the next run restores the rest.
    """

    restored = failed = waiting = 0  # threads, counted by `go_on`

    def __init__(self, clearing: Clearing, by: lifecycle.Actor, pk: int = 0) -> None:
        """Continue the user's run with this primary key, or start another."""
        self._clearing, self._by = clearing, by
        self._archived = clearing.threads.restorable()
        runs = LogEntry.objects.filter(
            user=by.user,
            action_flag=CHANGE,
            content_type=ContentType.objects.get_for_model(Clearing),
            object_id=clearing.pk,
        )
        self._entry = runs.filter(pk=pk).first() or self._start()
        self.pk = self._entry.pk

    def _start(self) -> Any:
        if not self._archived.filter(why="").exists():  # all were tried before, so try again
            self._archived.update(why="")
        return log(self._clearing, self._by, 0)

    def go_on(self, seconds: float) -> None:
        """Restore threads, stopping after about `seconds`."""
        deadline = time.monotonic() + seconds
        try:
            for _ in restore_each(self._archived.filter(why="")):
                if time.monotonic() > deadline:
                    break
        finally:
            self._count()

    def _count(self) -> None:
        self.failed = self._archived.exclude(why="").count()
        self.waiting = self._archived.filter(why="").count()
        restored = self._clearing.threads.filter(fate=Fate.RESTORED)
        self.restored = restored.filter(restored_at__gte=self._entry.action_time).count()
        self._entry.change_message = restored_text(self.restored)
        self._entry.save(update_fields=["change_message"])

    @property
    def planned(self) -> int:
        return self.processed + self.waiting

    @property
    def processed(self) -> int:
        return self.restored + self.failed

    @property
    def first_reason(self) -> str:
        """Why the first of the failed threads was not restored."""
        return self._archived.exclude(why="").order_by("pk").values_list("why", flat=True)[0]


def log(clearing: Clearing, by: lifecycle.Actor, restored: int) -> Any:
    """Record in the admin log who restored threads, and how many."""
    return lifecycle.log(clearing, by.user, CHANGE, restored_text(restored))


def restored_text(restored: int) -> str:
    return f"Restored {restored:,} thread{'' if restored == 1 else 's'}."


def _clear_current(
    thread_id: str, by: lifecycle.Actor, expected: str | None, with_running: bool
) -> None:
    """Clear any thread that now has the id. Raises CameBackError if that thread must be kept."""
    for current in lifecycle.plan([thread_id]):
        if expected not in (None, current.fingerprint):
            raise CameBackError("The current thread has changed since you opened the page.")
        if current.was_running and not with_running:
            raise CameBackError("The current thread is running. Check the box to replace it.")
        clearing = lifecycle.draft([current], by)
        reason = "Replaced by a restored thread."
        lifecycle.confirm(clearing, with_running=with_running, reason=reason)
        lifecycle.run(clearing)


def _insert(thread_id: str, rows: ThreadRows) -> None:
    began = time.monotonic()
    with transactions.writing() as cursor:
        transactions.lock_thread(cursor, thread_id)
        current = thread_rows.fetch(cursor, thread_id)
        if current == rows:  # an earlier attempt already inserted the rows
            return
        if current.tasks:
            raise CameBackError(f"Thread {thread_id[:200]!r} exists again.")
        try:
            thread_rows.insert(cursor, rows)
        except IntegrityError as error:
            raise RestoreError(f"Another row now has one of its IDs ({error}).") from error
    transactions.yield_lock(time.monotonic() - began)
