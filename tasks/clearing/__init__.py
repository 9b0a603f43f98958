"""Clearing threads and restoring them: for the pages, the commands and Python agents."""

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
    """Clear whole threads, given by their ids or by a QuerySet of some of their tasks.

    As in the pages, they go into the archive, and the act is on record, `by` whom and for what
    `reason`. Running threads are kept unless `with_running`. The Clearing returned tells how many
    were cleared and how many were kept; a StoreError ends it between two threads.
    """
    if isinstance(threads, TaskRecordQuerySet):
        threads = threads.order_by().values_list("thread_id", flat=True).distinct()
    actor = lifecycle.Actor(Source.CODE, name=by)
    return lifecycle.clear(list(threads), actor, reason=reason, with_running=with_running)
