"""The view that exports a thread as a file."""

from django.conf import settings
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_safe

from tasks import large_values
from tasks.models import HISTORY_COLUMNS, TaskCheckpoint, TaskRecord
from tasks.secrets import reveal
from tasks.transcript.export import FORMATS, file_name
from tasks.transcript.history import Thread
from tasks.transcript.text_preview import format_size
from tasks.views.common import can_view, no_such_thread, requested_thread_id
from tasks.views.errors import export_too_large
from tasks.views.limits import limit_concurrency


@require_safe
@can_view
@limit_concurrency
def export(request: HttpRequest) -> HttpResponseBase:
    """Stream a thread's tasks in the requested format. An ATIF file holds only the latest task."""
    thread_id = requested_thread_id(request)
    export_format = FORMATS.get(request.GET.get("format", ""))
    if export_format is None:
        raise BadRequest(f"The URL must name a format: “&format=…”, one of {', '.join(FORMATS)}.")
    rows = TaskRecord.objects.for_thread(thread_id)
    heads = map(Thread, rows.for_list())
    length = sum(head.length + head.resumable_length for head in heads)
    limit = settings.MAX_HISTORY_SIZE
    if length > limit:
        what = f"Its histories total {format_size(length)}"
        return export_too_large(request, what, format_size(limit))
    if export_format.has_checkpoints:
        steps = TaskCheckpoint.objects.for_thread(thread_id)
        sizes = large_values.sizes(steps, "items_json").values()
        if (largest := max((size for (size,) in sizes), default=0)) > limit:
            what = f"One of its steps takes up {format_size(largest)}"
            return export_too_large(request, what, format_size(limit))
    tasks = list(rows.with_raw_text(*HISTORY_COLUMNS))
    if not tasks:
        raise no_such_thread(thread_id)
    reveal.lift_if_revealed(request, thread_id)
    if reveal.lifted_until(request) and request.method == "GET":
        reveal.record_export(request)
    chunks = export_format.chunks(tasks)
    response = StreamingHttpResponse(chunks, content_type=export_format.content_type)
    name = content_disposition_header(True, file_name(thread_id, export_format.extension))
    response.headers["Content-Disposition"] = name
    return response
