"""Restore cleared threads exactly as they were."""

import time

from django.contrib.admin.models import CHANGE
from django.db import IntegrityError, transaction
from django.utils import timezone

from archive.models import ClearedThread, Clearing, Fate, ThreadArchive
from tasks.clearing import lifecycle
from tasks.store import thread_rows, transactions, workspace
from tasks.store.thread_rows import ThreadRows


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
    if thread.clearing.store != workspace.identity():
        raise RestoreError(f"It was cleared from another store: {thread.clearing.store}.")
    archive = ThreadArchive.objects.filter(thread=thread).first()
    if archive is None or thread.fate != Fate.CLEARED:
        raise RestoreError("It is not in the archive any more.")
    if replace:
        _clear_current(thread.thread_id, by, expected, with_running)
    _insert(thread.thread_id, thread_rows.unpack(bytes(archive.data)))
    with transaction.atomic():
        thread.fate, thread.restored_at = Fate.RESTORED, timezone.now()
        thread.save(update_fields=["fate", "restored_at"])
        archive.delete()


def restore_all(
    clearing: Clearing, seconds: float, *, by: lifecycle.Actor
) -> tuple[int, list[RestoreError]]:
    """Restore a clearing's archived threads, stopping after about `seconds`.

    Returns how many threads were restored, and an error for each thread that could not be.
    """
    deadline, restored, errors = time.monotonic() + seconds, 0, []
    for pk in list(clearing.threads.restorable().order_by("pk").values_list("pk", flat=True)):
        try:
            restore(clearing.threads.select_related("clearing").get(pk=pk), by=by)
        except RestoreError as error:
            errors.append(error)
        else:
            restored += 1
        if time.monotonic() > deadline:
            break
    return restored, errors


def log(clearing: Clearing, by: lifecycle.Actor, restored: int) -> None:
    """Record in the admin log who restored threads, and how many."""
    threads = f"{restored} thread{'' if restored == 1 else 's'}"
    lifecycle.log(clearing, by.user, CHANGE, f"Restored {threads}.")


def _clear_current(
    thread_id: str, by: lifecycle.Actor, expected: str | None, with_running: bool
) -> None:
    """Clear any thread that now has the id. Raises CameBackError if that thread must be kept."""
    for current in lifecycle.plan([thread_id]):
        if expected not in (None, current.fingerprint):
            raise CameBackError("What is there now has changed since you looked at it.")
        if current.was_running and not with_running:
            raise CameBackError("What is there now is running. Tick the box if that is meant.")
        clearing = lifecycle.draft([current], by)
        reason = "Replaced by the thread that was cleared before."
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
            raise CameBackError(f"The thread {thread_id[:200]!r} is there again.")
        try:
            thread_rows.insert(cursor, rows)
        except IntegrityError as error:
            raise RestoreError(f"Another row has one of its ids by now ({error}).") from error
    transactions.yield_lock(time.monotonic() - began)
