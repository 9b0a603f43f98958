"""Helpers shared by the views: permission checks, and lookups of the thread named in a URL."""

from collections.abc import Sequence

from django.conf import settings
from django.contrib.auth.decorators import permission_required
from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, QueryDict

from archive.models import last_clearings
from tasks.addresses import parse_number, threads_url
from tasks.large_values import is_unusable_key
from tasks.models import TaskRecord, TaskRecordQuerySet
from tasks.secrets import reveal
from tasks.store import workspace

can_view = permission_required("tasks.view_taskrecord", raise_exception=True)
can_clear = permission_required("tasks.clear_thread", raise_exception=True)
can_reveal = permission_required(reveal.PERMISSION, raise_exception=True)


def thread_view(view: reveal.View) -> reveal.View:
    """Decorate a thread view to check permissions and to reload when revealed secrets expire."""
    return can_view(reveal.reload_when_over(view))


def may_clear(request: HttpRequest) -> bool:
    """Return whether the user may clear threads in this store."""
    return request.user.has_perm("tasks.clear_thread") and not settings.TASKS_READ_ONLY


def mark_returned(records: Sequence[TaskRecord]) -> None:
    """Set each record's `came_back` to its thread's last clearing or None, using a single query."""
    cleared = last_clearings([str(r.thread_id) for r in records], workspace.identity())
    for record in records:
        record.came_back = cleared.get(str(record.thread_id))  # type: ignore[attr-defined]


def requested_thread_id(request: HttpRequest) -> str:
    """Return the URL's thread id, which may be empty. Raise BadRequest if the URL has none."""
    if "too-long" in request.GET:
        raise BadRequest("The ID of this thread or its task is too long for a URL.")
    if "id" not in request.GET:
        raise BadRequest("The URL must name a thread: “?id=…”.")
    return request.GET["id"]


def requested_tasks(request: HttpRequest) -> TaskRecordQuerySet:
    """Return the requested thread's tasks, latest first, or only the task named in the URL."""
    tasks = TaskRecord.objects.for_thread(requested_thread_id(request))
    return tasks.filter(task_id=request.GET["task"]) if "task" in request.GET else tasks


def get_task(request: HttpRequest, tasks: TaskRecordQuerySet) -> TaskRecord:
    """Return the first of the requested thread's tasks, or raise Http404 if there is none.

    If the user has revealed the thread's secrets, this also turns off masking for the request.
    """
    record = tasks.first()
    if record is not None and is_unusable_key(record.pk):
        record = tasks.defer(None).first()  # load all fields now: a corrupt id cannot be looked up
    if record is None:
        raise no_such_thread(requested_thread_id(request))
    reveal.lift_if_revealed(request, requested_thread_id(request))
    return record


def checkpoint_number(request: HttpRequest) -> int:
    text = request.GET.get("checkpoint", "")
    number = parse_number(text)
    if number is None:
        raise BadRequest(f"“{text[:200]}” is not a checkpoint number.")
    return number


def list_url(request: HttpRequest) -> str:
    """Return the URL of the thread list that the user came from, given by the `list` parameter."""
    return threads_url(QueryDict(request.GET.get("list", "")).urlencode())


def no_such_thread(thread_id: str) -> Http404:
    return Http404(f"There is no thread “{thread_id[:200]}”. It may have been cleared.")
