"""Recover from a crash by finding out which threads were deleted from the store."""

from django.db import transaction
from django.utils import timezone

from archive.models import ClearedThread, Clearing, Fate, ThreadArchive
from tasks.clearing import batches
from tasks.store import driver, thread_rows, thread_statements, transactions


def settle(clearing: Clearing) -> int:
    """Record whether each thread in a crashed batch was deleted. Return the number of threads."""
    left_open = list(clearing.threads.filter(fate=Fate.STARTED))
    for thread in left_open:
        if _exists(thread):
            _reset_to_planned(thread)
        else:
            thread.fate, thread.cleared_at = Fate.CLEARED, thread.cleared_at or timezone.now()
            thread.save(update_fields=["fate", "cleared_at"])
    batches.count(clearing)
    return len(left_open)


def _exists(thread: ClearedThread) -> bool:
    """Return whether any task of the thread exists; a thread is deleted entirely or not at all."""
    with transactions.reading() as cursor, thread_rows.exact_text(cursor):
        driver.run(cursor, thread_statements.MARKS_OF_THREAD, {"thread_id": thread.thread_id})
        marks = bytes(thread.marks)
        return any(thread_rows.has_mark(marks, *pair) for pair in cursor.fetchall())


def _reset_to_planned(thread: ClearedThread) -> None:
    with transaction.atomic():
        ThreadArchive.objects.filter(thread=thread).delete()
        thread.fate = Fate.PLANNED
        thread.save(update_fields=["fate"])
