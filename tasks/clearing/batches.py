"""One batch of a clearing: on record, out of the store, and the result on record."""

import time
from collections.abc import Iterator

from django.db import transaction
from django.db.models import Count, Sum
from django.utils import timezone

from archive.models import WAS_CLEARED, ClearedThread, Clearing, Fate, ThreadArchive, key_of
from tasks import service
from tasks.clearing import summaries
from tasks.clearing.summaries import Summary
from tasks.store import thread_rows, thread_statements, transactions
from tasks.store.thread_rows import ThreadRows
from tasks.transcript.text_preview import format_size

BATCH_THREADS, BATCH_BYTES = 50, 16 << 20  # that go on record at once
GROUP_BYTES = 2 << 20  # that are deleted at once
LARGEST = 400_000_000  # of a thread
ATTEMPTS = 5  # at a thread that is written to all the time
GONE = "It was not there any more."
CHANGED = "It changed after it was confirmed."
RUNNING = "It was running."
TOO_LARGE = "It has {}, and no more than {} can be cleared from here: let the agent clear it."
WRITTEN_TO = "It was written to again and again."
INTENT = ["status", "active", "tasks", "checkpoints", "size", "title", "fate", "marks"]

Whole = list[tuple[ClearedThread, ThreadRows]]


def clear_next(clearing: Clearing) -> bool:
    """Clear the next batch of a clearing; False where no thread is left."""
    planned = clearing.threads.filter(fate=Fate.PLANNED).order_by("pk")[:BATCH_THREADS]
    batch, total = [], 0
    for row in planned:
        if why := _too_large(row.thread_id):
            _keep(row, why)
            continue
        rows = thread_rows.read(row.thread_id)
        if why := _why_kept(clearing, row, rows):
            _keep(row, why)
            continue
        batch.append((row, rows))
        total += rows.size
        if total > BATCH_BYTES:
            break
    _record_intent(clearing, batch)
    try:
        for group in _groups(batch):
            _delete_group(clearing, group)
    finally:
        _record_result([row for row, _ in batch])
    return bool(planned)


def _too_large(thread_id: str) -> str:
    """That a thread cannot be packed away: it would take several times its size in memory."""
    length = summaries.sizes([thread_id])[0].get(thread_id, 0)
    return TOO_LARGE.format(format_size(length), format_size(LARGEST)) if length > LARGEST else ""


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
        row.title = "" if clearing.is_erasing else text(summaries.title(rows))
        row.size = rows.size
        row.fate, row.marks = Fate.STARTED, rows.marks
    with transaction.atomic():
        ClearedThread.objects.bulk_create(  # bulk_update takes ten times as long
            [row for row, _ in batch],
            update_conflicts=True,
            unique_fields=["pk"],
            update_fields=INTENT,
        )
        ThreadArchive.objects.filter(thread__in=[row for row, _ in batch]).delete()
        if not clearing.is_erasing:
            ThreadArchive.objects.bulk_create(
                ThreadArchive(thread=row, data=thread_rows.pack(rows)) for row, rows in batch
            )


def _groups(batch: Whole) -> Iterator[Whole]:
    """Threads to delete in one transaction, for which the lock is held for some milliseconds.

    One for each thread would have SQLite write the same pages again and again, and sync its log.
    """
    group: Whole = []
    for row, rows in batch:
        if group and sum(row.size or 0 for row, _ in group) + (row.size or 0) > GROUP_BYTES:
            yield group
            group = []
        group.append((row, rows))
    if group:
        yield group


def _delete_group(clearing: Clearing, group: Whole) -> None:
    """Delete the threads of a group; those that have changed, each by itself afterwards."""
    deleted, changed, began = [], [], time.monotonic()
    with transactions.writing():
        for row, rows in group:
            try:
                _verb(clearing, row, rows)
            except service.ThreadChangedError:
                changed.append((row, rows))
            else:
                deleted.append(row)
    for row in deleted:
        row.fate = Fate.CLEARED
    transactions.yield_lock(time.monotonic() - began)
    for row, rows in changed:
        _delete(clearing, row, rows)


def _verb(clearing: Clearing, row: ClearedThread, rows: ThreadRows) -> None:
    service.delete_by_thread_id(row.thread_id, expected=rows, overwrite=clearing.is_erasing)


def _delete(clearing: Clearing, row: ClearedThread, rows: ThreadRows) -> None:
    """Delete one thread; one that was confirmed as running is archived anew where it went on."""
    why = ""
    for _ in range(ATTEMPTS):
        began = time.monotonic()
        try:
            _verb(clearing, row, rows)
        except service.ThreadChangedError:
            transactions.yield_lock(time.monotonic() - began)
            rows = thread_rows.read(row.thread_id)
            why = _why_kept(clearing, row, rows)
            if why or not row.was_running:
                break
            _record_intent(clearing, [(row, rows)])
        else:
            row.fate = Fate.CLEARED
            transactions.yield_lock(time.monotonic() - began)
            return
    row.fate, row.why = Fate.KEPT, why or (WRITTEN_TO if row.was_running else CHANGED)


def _record_result(rows: list[ClearedThread]) -> None:
    """What became of a batch; what an error left open is for `settle` to decide."""
    cleared = [row.pk for row in rows if row.fate == Fate.CLEARED]
    kept = [row for row in rows if row.fate == Fate.KEPT]
    with transaction.atomic():
        ClearedThread.objects.filter(pk__in=cleared).update(
            fate=Fate.CLEARED, cleared_at=timezone.now()
        )
        for row in kept:
            _keep(row, row.why)
        ThreadArchive.objects.filter(thread__in=kept).delete()


def count(clearing: Clearing) -> None:
    """The totals, from the threads themselves, so that they are true after a crash too."""
    cleared = clearing.threads.filter(fate__in=WAS_CLEARED).aggregate(
        cleared=Count("pk"), tasks=Sum("tasks"), checkpoints=Sum("checkpoints"), size=Sum("size")
    )
    totals = {name: value or 0 for name, value in cleared.items()}
    totals["kept"] = clearing.threads.filter(fate=Fate.KEPT).count()
    Clearing.objects.filter(pk=clearing.pk).update(**totals)
    clearing.refresh_from_db()


def settle(clearing: Clearing) -> int:
    """Decide by a look at the store what a crash left open; how many threads that were."""
    left_open = list(clearing.threads.filter(fate=Fate.STARTED))
    for row in left_open:
        if _is_still_there(row):
            _back_to_planned([row])
        else:
            row.fate, row.cleared_at = Fate.CLEARED, row.cleared_at or timezone.now()
            row.save(update_fields=["fate", "cleared_at"])
    count(clearing)
    return len(left_open)


def _is_still_there(row: ClearedThread) -> bool:
    """Whether a task of the thread was not deleted: a thread is deleted whole, or not at all."""
    with transactions.reading() as cursor, thread_rows.exact_text(cursor):
        transactions.run(cursor, thread_statements.MARKS_OF_THREAD, {"thread_id": row.thread_id})
        marks = bytes(row.marks)
        return any(thread_rows.has_mark(marks, *pair) for pair in cursor.fetchall())


def _back_to_planned(rows: list[ClearedThread]) -> None:
    with transaction.atomic():
        ThreadArchive.objects.filter(thread__in=rows).delete()
        ClearedThread.objects.filter(pk__in=[row.pk for row in rows]).update(fate=Fate.PLANNED)


def plan(clearing: Clearing, summary: Summary) -> ClearedThread:
    """A thread that is meant to be cleared, as it is now; not saved."""
    id_ = summary.thread_id
    row = ClearedThread(clearing=clearing, key=key_of(id_), stored_id=id_.encode())
    describe(row, summary)
    return row


def describe(row: ClearedThread, summary: Summary) -> None:
    """Write down what is meant: as it is now, and not otherwise."""
    row.was_running, row.fingerprint = summary.is_running, summary.fingerprint
    _describe(row, summary)


def _describe(row: ClearedThread, summary: Summary) -> None:
    row.status, row.active = text(summary.status), text(summary.active)
    row.tasks, row.checkpoints = summary.tasks, summary.checkpoints


def text(stored: str) -> str:
    """A text that any site's database can hold."""
    return stored[:500].replace("\0", "\ufffd")
