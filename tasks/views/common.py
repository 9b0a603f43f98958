"""What the views of threads share: who may use them, and the thread that an address names."""

from collections.abc import Sequence

from django.conf import settings
from django.contrib.auth.decorators import permission_required
from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, QueryDict
from django.urls import reverse

from archive.models import last_clearings
from tasks.large_values import is_unusable_key
from tasks.models import TaskRecord, TaskRecordQuerySet
from tasks.secrets import reveal
from tasks.store import workspace

can_view = permission_required("tasks.view_taskrecord", raise_exception=True)
can_clear = permission_required("tasks.clear_thread", raise_exception=True)
can_reveal = permission_required(reveal.PERMISSION, raise_exception=True)


def shows_thread(view: reveal.View) -> reveal.View:
    """For a view of one thread: whoever may look, and with its secrets while those are shown."""
    return can_view(reveal.reload_when_over(view))


def may_clear(request: HttpRequest) -> bool:
    """Whether clearing is offered."""
    return request.user.has_perm("tasks.clear_thread") and not settings.TASKS_READ_ONLY


def mark_returned(records: Sequence[TaskRecord]) -> None:
    """Set `came_back` of threads that were cleared and are there again; one query."""
    found = last_clearings([str(r.thread_id) for r in records], workspace.identity())
    for record in records:
        record.came_back = found.get(str(record.thread_id))  # type: ignore[attr-defined]


def thread_id_of(request: HttpRequest) -> str:
    """The id of the address, which may be empty but must be there."""
    if "too-long" in request.GET:
        raise BadRequest("The id of this thread, or of its task, is too long for an address.")
    if "id" not in request.GET:
        raise BadRequest("The address names no thread: it needs “?id=…”.")
    return request.GET["id"]


def tasks_of(request: HttpRequest) -> TaskRecordQuerySet:
    """The tasks of the address's thread, the latest first; only the one that it names, if so."""
    tasks = TaskRecord.objects.for_thread(thread_id_of(request))
    return tasks.filter(task_id=request.GET["task"]) if "task" in request.GET else tasks


def the_task(request: HttpRequest, tasks: TaskRecordQuerySet) -> TaskRecord:
    """The first of these tasks of the address's thread, which is what a page shows.

    With its secrets, if this person is to see them now.
    """
    record = tasks.first()
    if record is not None and is_unusable_key(record.pk):
        record = tasks.defer(None).first()  # a spoilt id leads nowhere, so all is read at once
    if record is None:
        raise no_such_thread(thread_id_of(request))
    reveal.lift_if_revealed(request, thread_id_of(request))
    return record


def list_url(request: HttpRequest) -> str:
    """The list as it was when a thread was opened: `list=` in an address holds its query."""
    query = QueryDict(request.GET.get("list", "")).urlencode()
    return f"{reverse('threads')}?{query}" if query else reverse("threads")


def no_such_thread(thread_id: str) -> Http404:
    return Http404(f"There is no thread “{thread_id[:200]}”. It may have been cleared.")


def number_in(query: QueryDict, name: str) -> int | None:
    """A number that a query or a form holds, if it does and a key may be that large."""
    given = query.get(name, "")
    is_number = given.isascii() and given.isdecimal() and len(given) < 19
    return int(given) if is_number else None
