"""Clearing threads: planned, confirmed, done in batches, each on record before and after.

A batch is written down in the site's database together with its threads' archive; then each thread
is deleted from the store, in a short transaction of its own that checks that it deletes just what
was archived; then the result is written down. What a crash leaves in between, `batches.settle`
decides by a look at the store.
"""

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

from archive.models import ClearedThread, Clearing, Stage
from tasks.clearing import batches, retention, summaries
from tasks.store import transactions, workspace

LEASE = timedelta(seconds=60)  # after which the process that works on a clearing counts as dead


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
    thread_ids: Sequence[str], by: Actor, *, filter_text: str = "", is_measured: bool = False
) -> Clearing:
    """Write down the threads that are meant, as they are now; nothing is cleared yet."""
    found = summaries.of(list(dict.fromkeys(thread_ids)))
    sizes = summaries.sizes(list(found))[0] if is_measured else {}
    is_account = isinstance(by.user, AbstractBaseUser)
    with transaction.atomic():
        retention.forget_drafts()
        clearing = Clearing.objects.create(
            store=workspace.identity(),
            user=by.user if is_account else None,
            user_name=by.user.get_username() if is_account else by.name,
            source=by.source,
            address=by.address,
            filter=filter_text,
            planned=len(found),
        )
        rows = [batches.plan(clearing, summary) for summary in found.values()]
        for row in rows:
            row.size = sizes.get(row.thread_id)
        ClearedThread.objects.bulk_create(rows, batch_size=500)
    return clearing


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


def run(clearing: Clearing) -> Generator[Clearing, None, None]:
    """Clear a batch at a time; between two the caller may stop, and go on another time.

    Raises BusyError where another process is at it, and what the database raises; then all that
    was done is on record, and it may be tried again.
    """
    _claim(clearing)
    try:
        batches.settle(clearing)
        while _renew(clearing) and batches.clear_next(clearing):
            batches.count(clearing)
            yield clearing
        if clearing.stage == Stage.RUNNING:
            _finish(clearing)
    except Error as error:
        _break_off(clearing, error)
        raise
    finally:
        Clearing.objects.filter(pk=clearing.pk).update(busy_until=None)


def run_for(clearing: Clearing, seconds: float) -> None:
    """`run` for about so long; more of it another time."""
    deadline = time.monotonic() + seconds
    with closing(run(clearing)) as batches_done:
        for _ in batches_done:
            if time.monotonic() > deadline:
                return


def cancel(clearing: Clearing) -> None:
    """Stop a clearing between two batches; the threads that are left are kept."""
    running = Clearing.objects.filter(pk=clearing.pk, stage__in=(Stage.RUNNING, Stage.FAILED))
    if running.update(stage=Stage.CANCELLED, finished_at=timezone.now()):
        with suppress(Error):  # a store that does not answer: that is then for `repair`
            batches.settle(clearing)
        clearing.refresh_from_db()
        log(clearing, clearing.user, DELETION, clearing.reason)


def repair(clearing: Clearing) -> int:
    """Make the record of a clearing true whose process has ended; how many threads were open.

    Nothing is deleted: what is left can be cleared by going on with it.
    """
    settled = batches.settle(clearing)
    if clearing.stage == Stage.RUNNING and not clearing.left:
        _finish(clearing)
    elif clearing.stage == Stage.RUNNING and clearing.busy_until is not None:
        clearing.stage, clearing.error = Stage.FAILED, "The process that worked on it ended."
    clearing.busy_until = None
    clearing.save(update_fields=["stage", "error", "busy_until"])
    return settled


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


def _finish(clearing: Clearing) -> None:
    clearing.stage, clearing.finished_at = Stage.DONE, timezone.now()
    clearing.save(update_fields=["stage", "finished_at"])
    if clearing.is_erasing:
        transactions.flush_wal()
    log(clearing, clearing.user, DELETION, clearing.reason)
    retention.empty_archive()


def _break_off(clearing: Clearing, error: Error) -> None:
    clearing.stage, clearing.error = Stage.FAILED, str(error)
    clearing.save(update_fields=["stage", "error"])


def log(clearing: Clearing, user: Any, action: int, message: str) -> None:
    """An entry in the admin's log, which has room for acts of accounts alone."""
    if isinstance(user, AbstractBaseUser):
        LogEntry.objects.log_actions(user.pk, [clearing], action, message, single_object=True)
