"""The list of threads."""

from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from tasks import transcript
from tasks.fields import to_text
from tasks.models import TaskRecord
from tasks.views.common import can_view

THREADS_PER_PAGE = 50


@require_safe
@can_view
def threads(request: HttpRequest) -> HttpResponse:
    """The threads, newest first, a page at a time."""
    rows = TaskRecord.objects.latest_of_thread().newest_first().for_list()
    if before := request.GET.get("before"):
        rows = rows.before(before, request.GET.get("task", ""))
    found = list(rows[: THREADS_PER_PAGE + 1])
    shown = found[:THREADS_PER_PAGE]
    for record in shown:
        record.title = transcript.title(record)  # type: ignore[attr-defined]
    older = ""
    if len(found) > THREADS_PER_PAGE:
        last = shown[-1]
        older = urlencode({"before": to_text(last.updated_at), "task": last.task_id})
    return render(
        request, "tasks/threads.html", {"threads": shown, "older": older, "is_first": not before}
    )
