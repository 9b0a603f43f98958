"""Clear one batch of threads: record the intent, delete the threads, record the results."""

import time
from collections.abc import Iterator

from django.db import transaction
from django.db.models import Count, Sum
from django.utils import timezone

from archive.models import WAS_CLEARED, ClearedThread, Clearing, Fate, ThreadArchive
from tasks import service
from tasks.clearing import summaries
from tasks.index import following
from tasks.store import thread_rows, transactions
from tasks.store.thread_rows import ThreadRows
from tasks.transcript.text_preview import format_size

BATCH_THREADS, BATCH_BYTES = 50, 16 << 20  # limits per batch; one transaction records a batch
GROUP_BYTES = 2 << 20  # limit per group; one transaction deletes a group
LARGEST = 400_000_000  # bytes; packing a thread takes several times its size in memory
ATTEMPTS = 5  # attempts to delete a thread that the agent keeps writing to
GONE = "It no longer existed."
CHANGED = "It changed after confirmation."
RUNNING = "It was running."
TOO_LARGE = "It is {}, and the limit for clearing here is {}. Let the agent clear it."
WRITTEN_TO = "It kept being written to."
INTENT_FIELDS = ["status", "active", "tasks", "checkpoints", "size", "title", "fate", "marks"]

Batch = list[tuple[ClearedThread, ThreadRows]]


def clear_next(clearing: Clearing) -> bool:
    """Clear the next batch, or return False if no threads were left to clear."""
    planned = clearing.threads.filter(fate=Fate.PLANNED).order_by("pk")[:BATCH_THREADS]
    batch: Batch = []
    total = 0
    for thread in planned:
        if reason := _too_large(thread.thread_id):
            _keep(thread, reason)
            continue
        rows = thread_rows.read(thread.thread_id)
        if reason := _reason_to_keep(clearing, thread, rows):
            _keep(thread, reason)
            continue
        size = thread.size = rows.size
        batch.append((thread, rows))
        total += size
        if total > BATCH_BYTES:
            break
    _record_intent(clearing, batch)
    try:
        for group in _groups(batch):
            for changed in _delete_group(clearing, group):
                _retry(clearing, changed)
    finally:
        _record_result([thread for thread, _ in batch])
        following.refresh_threads([thread.thread_id for thread, _ in batch])
    return bool(planned)


def _too_large(thread_id: str) -> str:
    length = summaries.measure([thread_id]).get(thread_id, 0)
    return TOO_LARGE.format(format_size(length), format_size(LARGEST)) if length > LARGEST else ""


def _reason_to_keep(clearing: Clearing, thread: ClearedThread, rows: ThreadRows) -> str:
    """Return why a thread must not be cleared after all, or "" if it may be cleared."""
    if not rows.tasks:
        return GONE
    if thread.was_running:
        return "" if clearing.with_running else RUNNING
    return "" if summaries.summarize(rows).fingerprint == thread.fingerprint else CHANGED


def _keep(thread: ClearedThread, reason: str) -> None:
    thread.fate, thread.why = Fate.KEPT, reason
    thread.save(update_fields=["fate", "why"])


def _record_intent(clearing: Clearing, batch: Batch) -> None:
    for thread, rows in batch:
        if thread.was_running:  # other threads have not changed since they were confirmed
            summary = summaries.summarize(rows)
            thread.status, thread.active = summary.status, summary.active
            thread.tasks, thread.checkpoints = summary.tasks, summary.checkpoints
        thread.title = "" if clearing.is_erasing else summaries.title(rows)
        thread.fate, thread.marks = Fate.STARTED, rows.marks
    threads = [thread for thread, _ in batch]
    with transaction.atomic():
        ClearedThread.objects.bulk_create(  # bulk_update would take ten times as long
            threads,
            update_conflicts=True,
            unique_fields=["pk"],
            update_fields=INTENT_FIELDS,
        )
        ThreadArchive.objects.filter(thread__in=threads).delete()
        if not clearing.is_erasing:
            ThreadArchive.objects.bulk_create(
                ThreadArchive(thread=thread, data=thread_rows.pack(rows)) for thread, rows in batch
            )


def _groups(batch: Batch) -> Iterator[Batch]:
    """Yield groups of threads, each small enough to delete without holding the lock for long.

    With one transaction per thread, SQLite would write and sync the same pages repeatedly.
    """
    group: Batch = []
    total = 0
    for thread, rows in batch:
        length = thread.size or 0
        if group and total + length > GROUP_BYTES:
            yield group
            group, total = [], 0
        group.append((thread, rows))
        total += length
    if group:
        yield group


def _delete_group(clearing: Clearing, group: Batch) -> list[ClearedThread]:
    """Delete the threads in a group, and return those that were kept because they had changed."""
    changed, began = [], time.monotonic()
    with transactions.writing():
        for thread, rows in group:
            try:
                service.delete_by_thread_id(
                    thread.thread_id, expected=rows, overwrite=clearing.is_erasing
                )
            except service.ThreadChangedError:
                changed.append(thread)
    transactions.yield_lock(time.monotonic() - began)
    for thread, _ in group:
        if thread not in changed:
            thread.fate = Fate.CLEARED
    return changed


def _retry(clearing: Clearing, thread: ClearedThread) -> None:
    """Retry deleting a changed thread if it was running when confirmed; otherwise keep it."""
    reason = ""
    for _ in range(ATTEMPTS):
        rows = thread_rows.read(thread.thread_id)
        reason = _reason_to_keep(clearing, thread, rows)
        if reason or not thread.was_running:
            break
        thread.size = rows.size
        _record_intent(clearing, [(thread, rows)])
        if not _delete_group(clearing, [(thread, rows)]):
            return
    thread.fate = Fate.KEPT
    thread.why = reason or (WRITTEN_TO if thread.was_running else CHANGED)


def _record_result(threads: list[ClearedThread]) -> None:
    """Record which threads were cleared or kept; `settle` handles those left open by errors."""
    cleared = [thread.pk for thread in threads if thread.fate == Fate.CLEARED]
    skipped = [thread for thread in threads if thread.fate == Fate.KEPT]
    with transaction.atomic():
        ClearedThread.objects.filter(pk__in=cleared).update(
            fate=Fate.CLEARED, cleared_at=timezone.now()
        )
        for thread in skipped:
            _keep(thread, thread.why)
        ThreadArchive.objects.filter(thread__in=skipped).delete()


def count(clearing: Clearing) -> None:
    """Recount a clearing's totals from its threads so that they are right even after a crash."""
    cleared = clearing.threads.filter(fate__in=WAS_CLEARED).aggregate(
        cleared=Count("pk"), tasks=Sum("tasks"), checkpoints=Sum("checkpoints"), size=Sum("size")
    )
    totals = {name: value or 0 for name, value in cleared.items()}
    totals["kept"] = clearing.threads.filter(fate=Fate.KEPT).count()
    Clearing.objects.filter(pk=clearing.pk).update(**totals)
    clearing.refresh_from_db()
