"""Undo: cleared threads put back exactly as they were."""

import time
from collections.abc import Iterator

from django.contrib.admin.models import CHANGE
from django.db import IntegrityError, transaction
from django.utils import timezone

from archive.models import ClearedThread, Clearing, Fate, ThreadArchive
from tasks.clearing import lifecycle
from tasks.store import thread_rows, transactions, workspace
from tasks.store.thread_rows import ThreadRows


class RestoreError(Exception):
    """Why a thread cannot be put back, in one plain sentence; nothing was written."""


class CameBackError(RestoreError):
    """The thread is there again; whoever wants it replaced must say so."""


def restore(
    row: ClearedThread,
    *,
    by: lifecycle.Actor,
    replace: bool = False,
    seen: str | None = None,
    with_running: bool = False,
) -> None:
    """Put a thread back. A thread that came back is replaced if told so, and archived itself.

    Not one that differs from what was `seen`, its summary's fingerprint, if that is given; and one
    that runs only if told so too.
    """
    if row.clearing.store != workspace.identity():
        raise RestoreError(f"It was cleared from another store: {row.clearing.store}.")
    archive = ThreadArchive.objects.filter(thread=row).first()
    if archive is None or row.fate != Fate.CLEARED:
        raise RestoreError("It is not in the archive any more.")
    if replace:
        _make_room(row, by, seen, with_running)
    _put_back(row.thread_id, thread_rows.unpack(bytes(archive.data)))
    with transaction.atomic():
        row.fate, row.restored_at = Fate.RESTORED, timezone.now()
        row.save(update_fields=["fate", "restored_at"])
        archive.delete()


def restore_all(act: Clearing, *, by: lifecycle.Actor) -> Iterator[RestoreError | None]:
    """Put back whatever is archived of a clearing, a thread at a time; why not, where not."""
    for pk in list(act.threads.with_archive().order_by("pk").values_list("pk", flat=True)):
        row = act.threads.select_related("clearing").get(pk=pk)
        try:
            restore(row, by=by)
        except RestoreError as error:
            yield error
        else:
            yield None


def restore_for(
    act: Clearing, seconds: float, *, by: lifecycle.Actor
) -> tuple[int, list[RestoreError]]:
    """`restore_all` for about so long: how many came back, and why others did not."""
    deadline, restored, refused = time.monotonic() + seconds, 0, []
    for error in restore_all(act, by=by):
        if error is None:
            restored += 1
        else:
            refused.append(error)
        if time.monotonic() > deadline:
            break
    return restored, refused


def log(act: Clearing, by: lifecycle.Actor, restored: int) -> None:
    """Who put it back, in the admin's log."""
    threads = f"{restored} thread{'' if restored == 1 else 's'}"
    lifecycle.log(act, by.user, CHANGE, f"Restored {threads}.")


def _make_room(
    row: ClearedThread, by: lifecycle.Actor, seen: str | None, with_running: bool
) -> None:
    """Clear what is there now, as it is by the draft that is checked, and not otherwise."""
    act = lifecycle.draft([row.thread_id], by)
    there = act.threads.first()
    problem = _why_kept(there, seen, with_running) if there else ""
    if problem or not there:
        act.delete()
    if problem:
        raise CameBackError(problem)
    if there:
        reason = "Replaced by the thread that was cleared before."
        lifecycle.confirm(act, with_running=with_running, reason=reason)
        for _ in lifecycle.run(act):
            pass


def _why_kept(there: ClearedThread, seen: str | None, with_running: bool) -> str:
    if seen not in (None, there.fingerprint):
        return "What is there now has changed since you looked at it."
    if there.was_running and not with_running:
        return "What is there now is running. Tick the box if that is meant."
    return ""


def _put_back(thread_id: str, rows: ThreadRows) -> None:
    began = time.monotonic()
    with transactions.writing() as cursor:
        transactions.lock_thread(cursor, thread_id)
        present = thread_rows.fetch(cursor, thread_id)
        if present == rows:  # an earlier try got this far
            return
        if present.tasks:
            raise CameBackError(f"The thread {thread_id[:200]!r} is there again.")
        try:
            thread_rows.insert(cursor, rows)
        except IntegrityError as error:
            raise RestoreError(f"Another row has one of its ids by now ({error}).") from error
    transactions.yield_lock(time.monotonic() - began)
