"""Clearing threads: planned, confirmed, done in batches, each on record before and after.

A batch is written down in the site's database together with its threads' archive; then each thread
is deleted from the store, in a short transaction of its own that checks that it deletes just what
was archived; then the result is written down. What a crash leaves in between, `settle` decides by
a look at the store.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.auth.models import AbstractBaseUser
from django.db import Error, transaction
from django.db.models import Count, Sum
from django.utils import timezone

from tasks import service, sql, summaries, thread_rows, workspace
from tasks.archive import (
    WAS_CLEARED,
    ClearedThread,
    Clearing,
    Fate,
    Stage,
    ThreadArchive,
    key_of,
)
from tasks.summaries import Summary
from tasks.thread_rows import ThreadRows

BATCH_THREADS, BATCH_BYTES = 50, 16 << 20
ATTEMPTS = 5  # at a thread that is written to all the time
LEASE = timedelta(seconds=60)  # after which the process that works on a clearing counts as dead
DRAFTS_KEPT = timedelta(days=1)

GONE = "It was not there any more."
CHANGED = "It changed after it was confirmed."
RUNNING = "It was running."


class BusyError(Exception):
    """Another process works on the clearing, or it is over."""


@dataclass(frozen=True)
class Actor:
    """Who clears, and from where."""

    source: str
    user: Any = None  # of the site, if any
    name: str = ""
    address: str = ""


def draft(
    thread_ids: Sequence[str], by: Actor, *, reason: str = "", filter_text: str = ""
) -> Clearing:
    """Write down the threads that are meant, as they are now; nothing is cleared yet."""
    found = summaries.of(list(dict.fromkeys(thread_ids)))
    is_account = isinstance(by.user, AbstractBaseUser)
    with transaction.atomic():
        Clearing.objects.filter(
            stage=Stage.DRAFT, created_at__lt=timezone.now() - DRAFTS_KEPT
        ).delete()
        clearing = Clearing.objects.create(
            store=workspace.identity(),
            user=by.user if is_account else None,
            user_name=by.user.get_username() if is_account else by.name,
            source=by.source,
            address=by.address,
            reason=reason,
            filter=filter_text,
            planned=len(found),
        )
        rows = [_planned(clearing, summary) for summary in found.values()]
        ClearedThread.objects.bulk_create(rows, batch_size=500)
    return clearing


def _planned(clearing: Clearing, summary: Summary) -> ClearedThread:
    row = ClearedThread(
        clearing=clearing,
        key=key_of(summary.thread_id),
        stored_id=summary.thread_id.encode(),
    )
    _describe(row, summary)
    return row


def _describe(row: ClearedThread, summary: Summary) -> None:
    row.status = _text(summary.status)
    row.was_running = summary.is_running
    row.fingerprint = summary.fingerprint
    row.active = _text(summary.active)
    row.tasks, row.checkpoints = summary.tasks, summary.checkpoints


def _text(stored: str) -> str:
    """A text that any site's database can hold."""
    return stored[:500].replace("\0", "\ufffd")


def confirm(
    clearing: Clearing, *, with_running: bool = False, is_erasing: bool = False, reason: str = ""
) -> None:
    """From now on it may run. Raises BusyError where it was confirmed before."""
    values = {"with_running": with_running, "is_erasing": is_erasing, "reason": reason}
    draft = Clearing.objects.filter(pk=clearing.pk, stage=Stage.DRAFT)
    if not draft.update(stage=Stage.RUNNING, created_at=timezone.now(), **values):
        raise BusyError("It was confirmed already.")
    clearing.refresh_from_db()


def clear(
    thread_ids: Sequence[str],
    by: Actor,
    *,
    with_running: bool = False,
    is_erasing: bool = False,
    reason: str = "",
    filter_text: str = "",
) -> Clearing:
    """Clear threads at once, all of them as they are now; the record of it tells the numbers."""
    clearing = draft(thread_ids, by, filter_text=filter_text)
    confirm(clearing, with_running=with_running, is_erasing=is_erasing, reason=reason)
    for _ in run(clearing):
        pass
    return clearing


def run(clearing: Clearing) -> Iterator[Clearing]:
    """Clear a batch at a time; between two the caller may stop, and go on another time.

    Raises BusyError where another process is at it, and what the database raises; then all that
    was done is on record, and it may be tried again.
    """
    _claim(clearing)
    try:
        settle(clearing)
        while _renew(clearing) and (batch := _next_batch(clearing)):
            _clear_batch(clearing, batch)
            _count(clearing)
            yield clearing
        if clearing.stage == Stage.RUNNING:
            _finish(clearing)
    except Error as error:
        _break_off(clearing, error)
        raise
    finally:
        Clearing.objects.filter(pk=clearing.pk).update(busy_until=None)


def cancel(clearing: Clearing) -> None:
    """Stop a clearing between two batches; the threads that are left are kept."""
    running = Clearing.objects.filter(pk=clearing.pk, stage__in=(Stage.RUNNING, Stage.FAILED))
    if running.update(stage=Stage.CANCELLED, finished_at=timezone.now()):
        clearing.refresh_from_db()
        _log(clearing, DELETION)


def settle(clearing: Clearing) -> int:
    """Decide by a look at the store what a crash left open; how many threads that were."""
    left_open = list(clearing.threads.filter(fate=Fate.STARTED))
    for row in left_open:
        if _is_still_there(row):
            _back_to_planned([row])
        else:
            row.fate, row.cleared_at = Fate.CLEARED, row.cleared_at or timezone.now()
            row.save(update_fields=["fate", "cleared_at"])
    _count(clearing)
    return len(left_open)


def _is_still_there(row: ClearedThread) -> bool:
    """Whether a task of the thread was not deleted: a thread is deleted whole, or not at all."""
    with sql.reading() as cursor, thread_rows.exactly(cursor):
        sql.run(cursor, sql.MARKS_OF_THREAD, {"thread_id": row.thread_id})
        marks = bytes(row.marks)
        return any(thread_rows.is_among(marks, pair) for pair in cursor.fetchall())


def _back_to_planned(rows: list[ClearedThread]) -> None:
    with transaction.atomic():
        ThreadArchive.objects.filter(thread__in=rows).delete()
        ClearedThread.objects.filter(pk__in=[row.pk for row in rows]).update(fate=Fate.PLANNED)


def _claim(clearing: Clearing) -> None:
    may = Clearing.objects.free().filter(pk=clearing.pk, stage__in=(Stage.RUNNING, Stage.FAILED))
    if not may.update(stage=Stage.RUNNING, error="", busy_until=timezone.now() + LEASE):
        raise BusyError("It is under way elsewhere, or over.")
    clearing.refresh_from_db()


def _renew(clearing: Clearing) -> bool:
    """Keep the clearing for another batch, unless somebody has cancelled it."""
    own = Clearing.objects.filter(pk=clearing.pk, stage=Stage.RUNNING)
    goes_on = bool(own.update(busy_until=timezone.now() + LEASE))
    clearing.refresh_from_db()
    return goes_on


Whole = list[tuple[ClearedThread, ThreadRows]]


def _next_batch(clearing: Clearing) -> list[ClearedThread]:
    planned = clearing.threads.filter(fate=Fate.PLANNED).order_by("pk")
    return list(planned[:BATCH_THREADS])


def _clear_batch(clearing: Clearing, planned: list[ClearedThread]) -> None:
    batch, size = [], 0
    for row in planned:
        rows = thread_rows.read(row.thread_id)
        if why := _why_kept(clearing, row, rows):
            _keep(row, why)
            continue
        row.bytes = rows.size
        batch.append((row, rows))
        size += row.bytes
        if size > BATCH_BYTES:
            break
    _record_intent(clearing, batch)
    try:
        for row, rows in batch:
            _delete(clearing, row, rows)
    finally:
        _record_result([row for row, _ in batch])


def _why_kept(clearing: Clearing, row: ClearedThread, rows: ThreadRows) -> str:
    """Why a thread may not be cleared after all, or nothing."""
    if not rows.tasks:
        return GONE
    if row.was_running:
        return "" if clearing.with_running else RUNNING
    is_same = summaries.of_rows(row.thread_id, rows).fingerprint == row.fingerprint
    return "" if is_same else CHANGED


def _keep(row: ClearedThread, why: str) -> None:
    row.fate, row.why = Fate.KEPT, why
    row.save(update_fields=["fate", "why"])


def _record_intent(clearing: Clearing, batch: Whole) -> None:
    for row, rows in batch:
        _describe(row, summaries.of_rows(row.thread_id, rows))
        row.title = _text(summaries.title(rows))
        row.fate, row.marks = Fate.STARTED, rows.marks
    changed = ["status", "was_running", "active", "tasks", "checkpoints", "bytes"]
    with transaction.atomic():
        ClearedThread.objects.bulk_update(
            [row for row, _ in batch], [*changed, "title", "fate", "marks"]
        )
        ThreadArchive.objects.filter(thread__in=[row for row, _ in batch]).delete()
        if not clearing.is_erasing:
            ThreadArchive.objects.bulk_create(
                ThreadArchive(thread=row, data=thread_rows.pack(rows)) for row, rows in batch
            )


def _delete(clearing: Clearing, row: ClearedThread, rows: ThreadRows) -> None:
    """Delete one thread; one that may go on running is archived anew where it has."""
    for _ in range(ATTEMPTS):
        began = time.monotonic()
        try:
            service.delete_by_thread_id(
                row.thread_id, expected=rows, overwrite=clearing.is_erasing
            )
        except service.ThreadChangedError:
            sql.give_way(time.monotonic() - began)
            rows = thread_rows.read(row.thread_id)
            row.why = _why_kept(clearing, row, rows) or CHANGED
            if row.why is not CHANGED or not row.was_running:
                break
            row.bytes = rows.size
            _record_intent(clearing, [(row, rows)])
        else:
            row.fate, row.why, row.cleared_at = Fate.CLEARED, "", timezone.now()
            sql.give_way(time.monotonic() - began)
            return
    row.fate = Fate.KEPT


def _record_result(rows: list[ClearedThread]) -> None:
    """What became of a batch; whatever an error kept from being tried goes back to planned."""
    kept = [row for row in rows if row.fate == Fate.KEPT]
    with transaction.atomic():
        ClearedThread.objects.bulk_update(rows, ["fate", "why", "cleared_at"])
        ThreadArchive.objects.filter(thread__in=kept).delete()
        _back_to_planned([row for row in rows if row.fate == Fate.STARTED])


def _count(clearing: Clearing) -> None:
    """The totals, from the threads themselves, so that they are true after a crash too."""
    cleared = clearing.threads.filter(fate__in=WAS_CLEARED).aggregate(
        cleared=Count("pk"), tasks=Sum("tasks"), checkpoints=Sum("checkpoints"), bytes=Sum("bytes")
    )
    totals = {name: value or 0 for name, value in cleared.items()}
    totals["kept"] = clearing.threads.filter(fate=Fate.KEPT).count()
    Clearing.objects.filter(pk=clearing.pk).update(**totals)
    clearing.refresh_from_db()


def _finish(clearing: Clearing) -> None:
    clearing.stage, clearing.finished_at = Stage.DONE, timezone.now()
    clearing.save(update_fields=["stage", "finished_at"])
    if clearing.is_erasing:
        sql.empty_log()
    _log(clearing, DELETION)


def _break_off(clearing: Clearing, error: Error) -> None:
    clearing.stage, clearing.error = Stage.FAILED, str(error)
    clearing.save(update_fields=["stage", "error"])


def _log(clearing: Clearing, action: int, message: str = "") -> None:
    """An entry in the admin's log, which has room for acts of accounts alone."""
    if clearing.user_id is not None:
        LogEntry.objects.log_actions(
            clearing.user_id, [clearing], action, message or clearing.reason, single_object=True
        )


