"""One thread: its page, and its texts as they are stored."""

from typing import Any

from django.core.exceptions import BadRequest
from django.core.paginator import Page, Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from tasks import transcript
from tasks.limits import heavy
from tasks.models import TaskCheckpoint, TaskRecord
from tasks.views.common import can_view, latest_task

MESSAGES_PER_PAGE = 200
STEPS_PER_PAGE = 100


@require_safe
@can_view
def thread(request: HttpRequest) -> HttpResponse:
    """One thread: what is known of it, its messages, and its steps with their items."""
    record = latest_task(request)
    shown = transcript.Thread(record)
    checkpoints = TaskCheckpoint.objects.filter(task_id=record.task_id).in_order_taken()
    attempts = transcript.attempts(checkpoints.values_list("id", "step_index"))
    step_page = _page(request, "steps", checkpoints, STEPS_PER_PAGE)
    context = {
        "thread": shown,
        "record": record,
        "other_tasks": TaskRecord.objects.of_thread(record.thread_id)
        .exclude(pk=record.pk)
        .without_histories(),
        "message_page": _page(request, "messages", shown.messages, MESSAGES_PER_PAGE),
        "step_page": step_page,
        "steps": transcript.steps(step_page, attempts),
        "attempt_count": len(set(attempts.values())),
        "show": "steps" if "steps" in request.GET else "messages",
    }
    return render(request, "tasks/thread.html", context)


@require_safe
@can_view
@heavy
def message(request: HttpRequest) -> HttpResponse:
    """One message of a thread as plain text, whole."""
    record = latest_task(request)
    number = request.GET.get("message", "")
    shown = transcript.Thread(record)
    if not number:
        return _plain_text(shown.raw.whole)
    for entry in shown.messages:
        if str(entry.number) == number:
            return _plain_text(entry.text.whole)
    raise Http404(f"The thread has no message {number}.")


@require_safe
@can_view
@heavy
def checkpoint(request: HttpRequest) -> HttpResponse:
    """The items of one checkpoint, exactly as stored."""
    number = request.GET.get("checkpoint", "")
    if not (number.isascii() and number.isdecimal() and len(number) <= 18):
        raise BadRequest(f"“{number}” is no checkpoint number.")
    found = TaskCheckpoint.objects.filter(pk=number).first()
    if found is None:
        raise Http404(f"There is no checkpoint {number}.")
    return _plain_text(str(found.items_json))


def _page(request: HttpRequest, parameter: str, rows: Any, size: int) -> Page[Any]:
    return Paginator(rows, size).get_page(request.GET.get(parameter))


def _plain_text(text: str) -> HttpResponse:
    return HttpResponse(text, content_type="text/plain; charset=utf-8")
