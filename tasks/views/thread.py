"""Views of one thread: its page, more entries for a tab, and the parts that update live."""

import hashlib
from collections.abc import Iterable
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from tasks.addresses import thread_url
from tasks.fields import to_text
from tasks.models import TaskCheckpoint, TaskRecord
from tasks.secrets import reveal
from tasks.store.daemon import daemon
from tasks.views.common import (
    can_view,
    checkpoint_number,
    get_task,
    mark_returned,
    no_such_thread,
    requested_tasks,
    requested_thread_id,
    thread_view,
)
from tasks.views.limits import limit_concurrency_if
from tasks.views.thread_page import MAX_TASKS, ThreadPage, preserved_params, tab_name

HEADER = ("message_count", "resumability")  # attributes of ThreadPage that read the histories


@require_safe
@thread_view
@limit_concurrency_if(lambda request: bool(request.GET.get("find")))
def thread(request: HttpRequest) -> HttpResponse:
    """Render the thread page or, with `piece=`, just the entries before or after those shown."""
    if "piece" in request.GET:
        return _render(request, "tasks/thread/_entries.html", ["tab"])
    tag = _live_tag(request)  # computed before the page's data is read, so that no change is missed
    return _render(request, "tasks/thread/page.html", [*HEADER, "tab"], tag)


@require_safe
@thread_view
def live(request: HttpRequest) -> HttpResponse:
    """Render the live parts of the thread page, or return 304 if none of them has changed."""
    tag = _live_tag(request)
    if request.headers.get("If-None-Match") == tag:
        return HttpResponse(status=304, headers={"ETag": tag})
    names = HEADER if tab_name(request) == "raw" else [*HEADER, "tab"]
    response = _render(request, "tasks/thread/_live.html", names, tag)
    response["ETag"] = tag
    return response


def _render(
    request: HttpRequest, template: str, names: Iterable[str], live_tag: str = ""
) -> HttpResponse:
    """Render a thread page, after computing the named attributes, which read more from the store.

    Templates would hide the error raised if the task has been deleted since it was first read.
    """
    record = get_task(request, requested_tasks(request).for_page())
    mark_returned([record])
    url = thread_url("thread", record.thread_id, **preserved_params(request))
    page = ThreadPage(request, record, url, live_tag)
    try:
        for name in names:
            getattr(page, name)
    except TaskRecord.DoesNotExist:
        raise no_such_thread(str(record.thread_id)) from None
    return render(request, template, {"page": page})


def _live_tag(request: HttpRequest) -> str:
    """Return an ETag for the thread page, computed without reading any large columns.

    It covers all of the thread's tasks, which the page lists, and whether the chosen task exists.
    It is weak, because compression would make it so, and `live` compares it as a string.
    """
    tasks: list[Any] = list(
        TaskRecord.objects.for_thread(requested_thread_id(request)).versions()[:MAX_TASKS]
    )
    is_found = "task" not in request.GET or requested_tasks(request).exists()
    now = daemon()
    state = (
        tab_name(request),
        [(t.task_id, to_text(t.updated_at), t.status, t.last_checkpoint) for t in tasks],
        [now.is_stalled(task) for task in tasks],
        is_found,
        reveal.revealed_until(request, request.GET["id"]),
    )
    return f'W/"{hashlib.sha256(repr(state).encode("utf-8", "replace")).hexdigest()[:32]}"'


@require_safe
@can_view
def step(request: HttpRequest) -> HttpResponse:
    """Redirect from a checkpoint number to its step on the thread page.

    Thread ids may be thousands of bytes long, so pages with many steps link here to stay small.
    """
    number = checkpoint_number(request)
    ids = TaskCheckpoint.objects.filter(pk=number).values_list("task__thread_id", "task_id")
    for thread_id, task_id in ids:
        has_others = TaskRecord.objects.for_thread(thread_id).exclude(pk=task_id).exists()
        params = {"task": task_id if has_others else None, "list": request.GET.get("list")}
        url = thread_url("thread", thread_id, **params, step=number)
        # HttpResponseRedirect is not used because it refuses URLs over 16,384 characters
        return HttpResponse(status=302, headers={"Location": f"{url}#step-{number}"})
    raise Http404(f"There is no checkpoint {number}.")
