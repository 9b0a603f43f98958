"""Clear and restore threads."""

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
    """Clear entire threads, given their ids or a QuerySet of some of their tasks.

    As when clearing in the browser, the threads are archived, and `by` and `reason` are recorded.
    Running threads are kept unless `with_running` is set. Returns the Clearing, whose `cleared` and
    `kept` are numbers of threads. After a StoreError, every thread is either intact or cleared.
    """
    if isinstance(threads, TaskRecordQuerySet):
        threads = threads.order_by().values_list("thread_id", flat=True).distinct()
    actor = lifecycle.Actor(Source.CODE, name=by)
    return lifecycle.clear(list(threads), actor, reason=reason, with_running=with_running)
