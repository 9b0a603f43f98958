"""Clearing threads: what is meant is shown first, and nothing else is cleared."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import BadRequest
from django.db import Error
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.html import format_html
from django.views.decorators.http import require_http_methods, require_POST

from archive.models import ClearedThread, Clearing, Source
from tasks.addresses import thread_id_from_token
from tasks.clearing import confirmation, lifecycle
from tasks.clearing.confirmation import Change, Confirmation
from tasks.clearing.lifecycle import Actor
from tasks.engines import storable
from tasks.listing.filters import Filters
from tasks.listing.thread_list import ThreadList
from tasks.models import TaskRecord
from tasks.store.daemon import daemon
from tasks.store.workspace import store_connection
from tasks.templatetags.threads import shown_id
from tasks.transcript.titles import task_title
from tasks.views.common import can_clear, can_view, list_url, no_such_thread, thread_id_of
from tasks.views.limits import limit_concurrency

CONFLICT = 409
SHOWN_ROWS = 20
SECONDS_OF_ONE = 10.0  # for clearing one thread at once
WALK = 500  # threads read at a time


@require_http_methods(["GET", "HEAD", "POST"])
@can_view
@can_clear
def clear(request: HttpRequest) -> HttpResponse:
    """Clear a thread: ask first, then clear what was shown, or show what has changed."""
    thread_id = thread_id_of(request)
    shown = confirmation.of_thread(thread_id)
    if shown is None:
        raise no_such_thread(thread_id)
    status = 200
    if request.method == "POST":
        if request.POST.get("version") != shown.version:
            shown.changes = confirmation.changed_since(request.POST.get("seen", ""), shown)
            shown.changes = shown.changes or [Change(thread_id, "", "")]
            status = CONFLICT
        elif shown.check(request.POST) and _cleared(request, thread_id, shown):
            return redirect(list_url(request))
    return confirm_page(request, shown, status=status, thread_id=thread_id)


@require_POST
@can_view
@can_clear
@limit_concurrency
def clear_selected(request: HttpRequest) -> HttpResponse:
    """Write down which threads are meant, and ask: the selected ones, or all of a list."""
    if request.POST.get("all"):
        query = request.POST.get("query", "")
        ids = _ids_of_list(Filters.parse(QueryDict(query)))
    else:
        query, ids = "", [thread_id_from_token(token) for token in request.POST.getlist("thread")]
    if not ids:
        messages.error(request, "No thread is selected.")
        return redirect("threads")
    act = lifecycle.draft(ids, actor(request, Source.LIST), filter_text=query, is_measured=True)
    return redirect("clearing", act.pk)


def actor(request: HttpRequest, source: Source) -> Actor:
    return Actor(source, request.user, address=request.META.get("REMOTE_ADDR", ""))


def confirm_page(
    request: HttpRequest, shown: Confirmation, *, status: int = 200, **more: Any
) -> HttpResponse:
    context = {
        "shown": shown,
        "is_stalled": _is_stalled(shown),
        "posted": request.POST,
        "archive_days": settings.ARCHIVE_RETENTION.days,
        "first_rows": _with_titles(shown.rows[:SHOWN_ROWS]),
        **more,
    }
    return render(request, "tasks/clearing/confirm.html", context, status=status)


def _with_titles(rows: Sequence[ClearedThread]) -> Sequence[ClearedThread]:
    """The rows with what their threads are about now, for a person to recognise them by."""
    ids = [storable(row.thread_id, store_connection()) for row in rows]
    latest = TaskRecord.objects.filter(thread_id__in=ids).latest_per_thread().for_list()
    titles = {record.thread_id: task_title(record) for record in latest}
    for row, id_ in zip(rows, ids, strict=True):
        row.title = titles.get(id_, "")
    return rows


def _is_stalled(shown: Confirmation) -> bool:
    """Whether the only thread that is meant is called stalled elsewhere."""
    if shown.only is None:
        return False
    tasks = TaskRecord.objects.for_thread(shown.only.thread_id)
    latest = tasks.only("status", "updated_at").first()
    return latest is not None and daemon().is_stalled(latest)


def refuse_read_only() -> None:
    if settings.TASKS_READ_ONLY:
        raise BadRequest("The store is read-only: nothing can be cleared or restored.")


def _cleared(request: HttpRequest, thread_id: str, shown: Confirmation) -> bool:
    """Whether the thread was cleared; either way the person is told."""
    if settings.TASKS_READ_ONLY:
        messages.error(request, "Nothing was cleared: The store is read-only.")
        return False
    act = lifecycle.draft([thread_id], actor(request, Source.THREAD_PAGE))
    if confirmation.of_draft(act).version != shown.version:
        act.delete()
        shown.errors.append("It changed this moment. Look again.")
        return False
    lifecycle.confirm(act, **confirmation.options(request.POST))
    try:
        lifecycle.run_for(act, SECONDS_OF_ONE)
    except Error as error:
        lifecycle.cancel(act)
        messages.error(request, f"Nothing was cleared: {str(error).rstrip('.')}.")
        return False
    return _told(request, act, thread_id)


def _told(request: HttpRequest, act: Clearing, thread_id: str) -> bool:
    if not act.cleared:
        messages.error(request, f"Nothing was cleared: {act.threads.get().why}")
        return False
    text = "Erased {}." if act.is_erasing else 'Cleared {}. <a href="{}">Undo…</a>'
    address = reverse("clearing", args=[act.pk])
    messages.success(request, format_html(text, shown_id(thread_id)[:200], address))
    return True


def _ids_of_list(filters: Filters) -> list[str]:
    """The ids of all threads that pass the filters, however long that takes."""
    found, listed, after = [], ThreadList(filters), None
    while True:
        page = listed.page(WALK, after)
        found += [record.thread_id for record in page.records]
        if page.stopped_at:
            after = page.stopped_at
        elif page.has_more:
            after = filters.cursor(page.records[-1])
        else:
            return found
