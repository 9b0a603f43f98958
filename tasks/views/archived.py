"""The view of a cleared thread that is in the archive: what it held, read before it is restored."""

from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, ClassVar

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from archive.models import ClearedThread
from tasks.addresses import parse_number
from tasks.clearing import restoring
from tasks.store.thread_rows import ThreadRows
from tasks.transcript.archived import ArchivedThread
from tasks.transcript.steps import Outline
from tasks.transcript.text_preview import Text, format_size
from tasks.views.clear import get_clearing
from tasks.views.cleared import with_returned
from tasks.views.common import can_clear, can_view
from tasks.views.limits import limit_concurrency
from tasks.views.plain_text import PLAIN_TEXT
from tasks.views.thread_page import MAX_ERROR_LINE, ThreadPage, tab_name

MAX_SIZE = 32_000_000  # bytes of text; the archive of a thread is read as a whole
TEXTS = {
    "last_error": ("Error", ""),
    "final_response": ("Final response", "markdown"),
    "latest_checkpoint_note": ("Latest note", "markdown"),
}


@dataclass
class ArchivedPage(ThreadPage):
    """The `page` variable for a thread in the archive."""

    archived: ArchivedThread = field(kw_only=True)
    cleared_at: datetime | None = field(kw_only=True)

    is_archived: ClassVar = True

    @cached_property
    def thread(self) -> ArchivedThread:
        return self.archived

    @cached_property
    def outlines(self) -> list[Outline]:
        return self.archived.outlines

    @cached_property
    def tab_name(self) -> str:
        return "checkpoints" if tab_name(self.request) == "checkpoints" else "transcript"

    @property
    def _now(self) -> datetime:
        return self.cleared_at or timezone.now()

    @cached_property
    def step_url(self) -> str:
        return f"{self.url}&to="

    def message_url(self, number: int) -> str:
        return f"{self.url}&raw={number}"

    @property
    def texts(self) -> list[tuple[str, Text, str]]:
        """The task's other texts: a label, the text and its form."""
        values = ((*TEXTS[name], str(getattr(self.record, name) or "")) for name in TEXTS)
        texts = [(label, Text(value), form) for label, form, value in values if value]
        return texts if self.has_long_error else [text for text in texts if text[0] != "Error"]

    @property
    def has_long_error(self) -> bool:
        error = str(self.record.last_error or "")
        return len(error) > MAX_ERROR_LINE or "\n" in error.strip()


@require_safe
@can_view
@can_clear
@limit_concurrency
def thread(request: HttpRequest, pk: int) -> HttpResponse:
    """Show a cleared thread that can be restored, or the raw text of one of its messages."""
    clearing = get_clearing(pk)
    number = parse_number(request.GET.get("thread", "")) or 0
    cleared = clearing.threads.annotate_has_archive().filter(pk=number).first()
    if cleared is None:
        raise Http404("There is no such thread in this clearing.")
    [(_, returned)] = with_returned([cleared])
    context: dict[str, Any] = {"clearing": clearing, "thread": cleared, "returned": returned}
    if (cleared.size or 0) > MAX_SIZE:
        context["limit"] = format_size(MAX_SIZE)
        return render(request, "tasks/clearing/thread.html", context)
    try:
        rows = restoring.archived_rows(cleared)
    except restoring.RestoreError:
        raise Http404("The thread is not in the archive: it was restored, or expired.") from None
    context |= _page_context(request, cleared, rows)
    page: ArchivedPage = context["page"]
    if (step := parse_number(request.GET.get("to", ""))) is not None:
        return redirect(f"{page.url}&step={step}#step-{step}")
    if "raw" in request.GET:
        return _raw(page.thread, parse_number(request.GET["raw"]) or 0)
    if "piece" in request.GET:
        return render(request, "tasks/thread/_entries.html", context)
    return render(request, "tasks/clearing/thread.html", context)


def _page_context(request: HttpRequest, cleared: ClearedThread, rows: ThreadRows) -> dict[str, Any]:
    """Return the context for the chosen task of the thread, or for the one active last."""
    tasks = sorted(rows.tasks, key=lambda task: str(task.updated_at), reverse=True)
    url = f"{reverse('clearing-thread', args=[cleared.clearing_id])}?thread={cleared.pk}"
    number = min(parse_number(request.GET.get("task", "")) or 0, len(tasks) - 1)
    task_id = tasks[number].task_id
    checkpoints = [row for row in rows.checkpoints if row.task_id == task_id]
    thread = ArchivedThread(tasks[number], checkpoints)
    url_of_task = f"{url}&task={number}" if number else url
    page = ArchivedPage(
        request, thread.record, url_of_task, archived=thread, cleared_at=cleared.cleared_at
    )
    urls = [f"{url}&task={n}" for n in range(len(tasks))] if len(tasks) > 1 else []
    return {"page": page, "task_urls": urls, "task_number": number}


def _raw(thread: ArchivedThread, number: int) -> HttpResponse:
    if 0 < number <= len(thread.messages):
        text = thread.messages[number - 1].text.whole
        return HttpResponse(text, content_type=PLAIN_TEXT)
    raise Http404(f"The thread has no message {number}.")
