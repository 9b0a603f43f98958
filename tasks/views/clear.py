"""Clearing a thread."""

from django.conf import settings
from django.contrib import messages
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from tasks import service
from tasks.models import TaskCheckpoint, TaskRecord, TaskStatus
from tasks.templatetags.threads import shown_id
from tasks.views.common import can_clear, can_view, list_url, no_such_thread, thread_id_of


@require_http_methods(["GET", "HEAD", "POST"])
@can_view
@can_clear
def clear(request: HttpRequest) -> HttpResponse:
    """Clear a thread: ask first, then delete all its tasks with their checkpoints."""
    thread_id = thread_id_of(request)
    tasks = TaskRecord.objects.of_thread(thread_id).without_histories()
    if not tasks:
        raise no_such_thread(thread_id)
    if request.method == "POST" and _cleared(request, thread_id):
        return redirect(list_url(request))
    context = {
        "thread_id": thread_id,
        "tasks": tasks,
        "checkpoint_count": TaskCheckpoint.objects.of_thread(thread_id).count(),
        "is_running": any(not TaskStatus.read(task.status).is_terminal for task in tasks),
    }
    return render(request, "tasks/clear.html", context)


def _cleared(request: HttpRequest, thread_id: str) -> bool:
    """Whether the thread was cleared; either way the person is told."""
    try:
        service.delete_by_thread_id(thread_id)
    except OperationalError as error:
        reason = "The store is read-only" if settings.TASKS_READ_ONLY else error
        messages.error(request, f"Nothing was cleared: {reason}.")
        return False
    messages.success(request, f"Cleared {shown_id(thread_id)[:200]}.")
    return True
