"""Views that return a thread's stored data as plain text."""

from django.conf import settings
from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.views.decorators.http import require_safe

from tasks import large_values
from tasks.addresses import parse_number
from tasks.models import STORED_TEXTS, TaskCheckpoint
from tasks.secrets import reveal
from tasks.transcript.history import Thread
from tasks.views.common import checkpoint_number, get_task, requested_tasks, thread_view
from tasks.views.limits import limit_concurrency

PLAIN_TEXT = "text/plain; charset=utf-8"


@require_safe
@thread_view
@limit_concurrency
def message(request: HttpRequest) -> HttpResponseBase:
    """Return one message of a thread, or its entire history if the URL names no message."""
    number = request.GET.get("message", "")
    if not number:
        return _stored_text(request)
    thread = Thread(get_task(request, requested_tasks(request).for_list()))
    if thread.is_too_large:
        raise Http404(f"The history cannot be read: {thread.problem}.")
    position = (parse_number(number) or 0) - 1
    if 0 <= position < len(thread.messages):
        return HttpResponse(thread.messages[position].text.whole, content_type=PLAIN_TEXT)
    raise Http404(f"The thread has no message {number}.")


@require_safe
@thread_view
@limit_concurrency
def raw(request: HttpRequest) -> HttpResponseBase:
    """Return the text stored in one column of a task, by default its execution history."""
    return _stored_text(request)


def _stored_text(request: HttpRequest) -> HttpResponseBase:
    column = request.GET.get("text", STORED_TEXTS[0])
    if column not in STORED_TEXTS:
        raise BadRequest(f"Tasks have no text “{column[:200]}”.")
    record = get_task(request, requested_tasks(request).with_beginnings(text=(column, 1)))
    if (record.text_length or 0) > settings.MAX_HISTORY_SIZE:  # type: ignore[attr-defined]
        chunks = large_values.stream(record, column)
        return StreamingHttpResponse(chunks, content_type=PLAIN_TEXT)
    text = getattr(record, column)
    return HttpResponse("" if text is None else str(text), content_type=PLAIN_TEXT)


@require_safe
@thread_view
@limit_concurrency
def checkpoint(request: HttpRequest) -> HttpResponse:
    """Return the stored items of one checkpoint."""
    number = checkpoint_number(request)
    rows = TaskCheckpoint.objects.filter(pk=number)
    for items, thread_id in rows.values_list("items_json", "task__thread_id"):
        reveal.lift_if_revealed(request, str(thread_id))
        return HttpResponse(str(items), content_type=PLAIN_TEXT)
    raise Http404(f"There is no checkpoint {number}.")
