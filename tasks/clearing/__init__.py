"""Clearing and restoring threads."""

from collections.abc import Iterable

from archive.models import Clearing, Source
from tasks.clearing import lifecycle
from tasks.models import TaskRecordQuerySet


def clear_threads(
    threads: TaskRecordQuerySet | Iterable[str],
    *,
    by: str = "",
    reason: str = "",
    with_running: bool = False,
) -> Clearing:
    """Clear whole threads, given by id or by a QuerySet of any of their tasks.

    They go into the archive, and `by` and `reason` on record, as with clearing in the browser.
    Running threads are kept unless `with_running`. Returns the Clearing, with its numbers of
    `cleared` and `kept` threads. A StoreError leaves every thread either whole or cleared.
    """
    if isinstance(threads, TaskRecordQuerySet):
        threads = threads.order_by().values_list("thread_id", flat=True).distinct()
    actor = lifecycle.Actor(Source.CODE, name=by)
    return lifecycle.clear(list(threads), actor, reason=reason, with_running=with_running)
