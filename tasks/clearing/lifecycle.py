"""Drafts, confirms and runs clearings, which archive threads and delete them from the store.

Each batch is first recorded in the site's database, along with archives of its threads. The
threads are then deleted from the store in short transactions, which check that they delete exactly
what was archived, and the results are recorded. After a crash, `recovery.settle` checks the store
to find out which threads were deleted.
"""

import math
import time
from collections.abc import Generator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.auth.models import AbstractBaseUser
from django.db import Error, transaction
from django.utils import timezone

from archive.models import ClearedThread, Clearing, Stage, digest
from tasks.clearing import batches, recovery, retention, summaries
from tasks.clearing.summaries import Summary
from tasks.index import following
from tasks.store import transactions, workspace

ERASE_SECONDS = 2.0  # how long a page may wait until nothing is left in the index
LEASE = timedelta(seconds=60)  # once it expires, the process running the clearing is presumed dead


class BusyError(Exception):
    """Raised if a clearing was already confirmed or ended, or if another process is running it."""


@dataclass(frozen=True)
class Actor:
    """The person who clears threads, with the address and source of their request."""

    source: str
    user: Any = None  # the person's account on this site, if any
    name: str = ""
    address: str = ""


def plan(thread_ids: Sequence[str], *, measure: bool = False) -> list[ClearedThread]:
    """Return unsaved records of the current state of the given threads that exist."""
    threads = summaries.read(list(dict.fromkeys(thread_ids)))
    sizes = summaries.measure(list(threads)) if measure else {}
    return [planned(id_, summary, sizes.get(id_)) for id_, summary in threads.items()]


def planned(thread_id: str, summary: Summary, size: int | None) -> ClearedThread:
    return ClearedThread(
        key=digest(thread_id), stored_id=thread_id.encode(), size=size, **summary._asdict()
    )


def draft(threads: Sequence[ClearedThread], by: Actor, *, filter_text: str = "") -> Clearing:
    """Save the planned threads as a draft clearing, without clearing anything yet."""
    is_account = isinstance(by.user, AbstractBaseUser)
    with transaction.atomic():
        retention.delete_old_drafts()
        clearing = Clearing.objects.create(
            store=workspace.identity(),
            user=by.user if is_account else None,
            user_name=by.user.get_username() if is_account else by.name,
            source=by.source,
            address=by.address,
            filter=filter_text,
            planned=len(threads),
        )
        for thread in threads:
            thread.clearing = clearing
        ClearedThread.objects.bulk_create(threads, batch_size=500)
    return clearing


def confirm(
    clearing: Clearing, *, with_running: bool = False, is_erasing: bool = False, reason: str = ""
) -> None:
    """Confirm a draft clearing so that it can run, or raise BusyError if it is not a draft."""
    values = {"with_running": with_running, "is_erasing": is_erasing, "reason": reason}
    drafts = Clearing.objects.filter(pk=clearing.pk, stage=Stage.DRAFT)
    if not drafts.update(stage=Stage.RUNNING, created_at=timezone.now(), **values):
        raise BusyError("It has already been confirmed.")
    clearing.refresh_from_db()


def clear(thread_ids: Sequence[str], by: Actor, **options: Any) -> Clearing:
    """Draft, confirm and run a clearing of the threads; `options` are passed to `confirm`."""
    clearing = draft(plan(thread_ids), by)
    confirm(clearing, **options)
    run(clearing)
    return clearing


def run(clearing: Clearing, seconds: float = math.inf) -> None:
    """Run a clearing until it ends or about `seconds` have passed. A later call continues it."""
    deadline = time.monotonic() + seconds
    with closing(run_batches(clearing)) as batches_done:
        for _ in batches_done:
            if time.monotonic() > deadline:
                return


def run_batches(clearing: Clearing) -> Generator[Clearing, None, None]:
    """Clear one batch at a time, yielding after each. The caller may stop and continue later.

    Raises BusyError if another process is working on the clearing. After a database error, records
    what was done and raises the error again; the clearing can then be continued.
    """
    _claim(clearing)
    try:
        recovery.settle(clearing)
        while _renew(clearing) and batches.clear_next(clearing):
            batches.count(clearing)
            yield clearing
        if clearing.stage == Stage.RUNNING:
            _finish(clearing)
    except Error as error:
        _fail(clearing, error)
        raise
    finally:
        Clearing.objects.filter(pk=clearing.pk).update(busy_until=None)


def cancel(clearing: Clearing) -> None:
    """Stop a clearing after its current batch, and keep the remaining threads."""
    unfinished = Clearing.objects.filter(pk=clearing.pk, stage__in=(Stage.RUNNING, Stage.FAILED))
    if unfinished.update(stage=Stage.CANCELLED, finished_at=timezone.now()):
        with suppress(Error):  # if the store is unavailable, `repair` settles the clearing later
            recovery.settle(clearing)
        clearing.refresh_from_db()
        log(clearing, clearing.user, DELETION, clearing.reason)


def repair(clearing: Clearing) -> int:
    """Correct the record of a clearing whose process died, and return how many threads it settled.

    This deletes nothing. The remaining threads can be cleared by continuing the clearing.
    """
    settled = recovery.settle(clearing)
    if clearing.stage == Stage.RUNNING and not clearing.remaining:
        _finish(clearing)
    elif clearing.stage == Stage.RUNNING and clearing.busy_until is not None:
        clearing.stage, clearing.error = Stage.FAILED, "Its process ended unexpectedly."
    clearing.busy_until = None
    clearing.save(update_fields=["stage", "error", "busy_until"])
    return settled


def _claim(clearing: Clearing) -> None:
    unclaimed = Clearing.objects.unclaimed().filter(
        pk=clearing.pk, stage__in=(Stage.RUNNING, Stage.FAILED)
    )
    if not unclaimed.update(stage=Stage.RUNNING, error="", busy_until=timezone.now() + LEASE):
        raise BusyError("It is already in progress, or has ended.")
    clearing.refresh_from_db()


def _renew(clearing: Clearing) -> bool:
    """Renew the lease for another batch, or return False if the clearing was cancelled."""
    running = Clearing.objects.filter(pk=clearing.pk, stage=Stage.RUNNING)
    is_renewed = bool(running.update(busy_until=timezone.now() + LEASE))
    clearing.refresh_from_db()
    return is_renewed


def _finish(clearing: Clearing) -> None:
    clearing.stage, clearing.finished_at = Stage.DONE, timezone.now()
    clearing.save(update_fields=["stage", "finished_at"])
    if clearing.is_erasing:
        transactions.flush_wal()
        following.erase(ERASE_SECONDS)
    log(clearing, clearing.user, DELETION, clearing.reason)
    retention.empty_archive()


def _fail(clearing: Clearing, error: Error) -> None:
    clearing.stage, clearing.error = Stage.FAILED, str(error)
    clearing.save(update_fields=["stage", "error"])


def log(clearing: Clearing, user: Any, action: int, message: str) -> Any:
    """Add an entry to the admin log if the user has an account, which it requires; return it."""
    if not isinstance(user, AbstractBaseUser):
        return None
    return LogEntry.objects.log_actions(user.pk, [clearing], action, message, single_object=True)
