"""Views that show exactly which threads will be cleared, and then clear them."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import BadRequest
from django.db import Error
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.html import format_html
from django.views.decorators.http import require_http_methods, require_POST

from archive.models import ClearedThread, Clearing, Source, Stage
from tasks.addresses import clearing_url, thread_id_from_token, threads_url
from tasks.clearing import lifecycle
from tasks.clearing.confirmation import Confirmation, options, signed_thread
from tasks.clearing.lifecycle import Actor
from tasks.engines import storable
from tasks.listing.filters import Filters
from tasks.listing.thread_list import ThreadList
from tasks.models import TaskRecord
from tasks.store import workspace
from tasks.store.daemon import STALLED
from tasks.templatetags.threads import display_id
from tasks.transcript.titles import task_title
from tasks.views.common import (
    can_clear,
    can_view,
    list_url,
    no_such_thread,
    requested_thread_id,
)
from tasks.views.limits import limit_concurrency

CONFLICT = 409
LISTED_THREADS = 20
THREADS_PER_READ = 500
SECONDS, SECONDS_WITHOUT_SCRIPT = 1.0, 5.0  # seconds spent clearing per request


@require_http_methods(["GET", "HEAD", "POST"])
@can_view
@can_clear
def clear(request: HttpRequest) -> HttpResponse:
    """Ask the user to confirm, then clear the thread unless it has changed in the meantime."""
    thread_id = requested_thread_id(request)
    if request.method == "POST":
        return _clear_thread(request, thread_id)
    threads = lifecycle.plan([thread_id], measure=True)
    if not threads:
        raise no_such_thread(thread_id)
    return confirm_page(request, Confirmation(threads), thread_id=thread_id)


def _clear_thread(request: HttpRequest, thread_id: str) -> HttpResponse:
    signed = signed_thread(thread_id, request.POST.get("seen", ""))
    threads = [signed] if signed else lifecycle.plan([thread_id], measure=True)
    clearing = lifecycle.draft(threads, actor(request, Source.THREAD_PAGE))
    if page := _confirm(request, clearing, thread_id=thread_id):
        clearing.delete()
        if not clearing.planned:
            raise no_such_thread(thread_id)
        return page
    if problem := _clear_at_once(clearing):
        messages.error(request, f"Nothing was cleared: {problem}")
        return confirm_page(request, Confirmation.of(clearing), thread_id=thread_id)
    text = "Erased {}." if clearing.is_erasing else 'Cleared {}. <a href="{}">Undo…</a>'
    address = reverse("clearing", args=[clearing.pk])
    messages.success(request, format_html(text, display_id(thread_id)[:200], address))
    return redirect(list_url(request))


def _clear_at_once(clearing: Clearing) -> str:
    """Clear a single thread. Return "" on success, or the reason why it was not cleared."""
    try:
        lifecycle.run(clearing)
    except Error as error:
        lifecycle.cancel(clearing)
        return f"{str(error).rstrip('.')}."
    return "" if clearing.cleared else clearing.threads.get().why


@require_POST
@can_view
@can_clear
@limit_concurrency
def clear_selected(request: HttpRequest) -> HttpResponse:
    """Draft a clearing of the selected threads or of the entire list, and ask for confirmation."""
    query, every = request.POST.get("query", ""), bool(request.POST.get("all"))
    if every:
        ids = _listed_ids(Filters.parse(QueryDict(query)))
    else:
        ids = [thread_id_from_token(token) for token in request.POST.getlist("thread")]
    if not ids:
        messages.error(request, "No threads selected.")
        return redirect(threads_url(QueryDict(query).urlencode()))
    threads = lifecycle.plan(ids, measure=True)
    filter_text = query if every else ""
    clearing = lifecycle.draft(threads, actor(request, Source.LIST), filter_text=filter_text)
    return redirect(clearing_url("clearing", clearing.pk, query))


def _listed_ids(filters: Filters) -> list[str]:
    """Return the ids of all threads that match the filters, however long that takes."""
    ids, thread_list, after = [], ThreadList(filters), None
    while True:
        page = thread_list.page(THREADS_PER_READ, after)
        ids += [record.thread_id for record in page.records]
        if page.stopped_at:
            after = page.stopped_at
        elif page.has_more:
            after = filters.cursor(page.records[-1])
        else:
            return ids


@require_POST
@can_view
@can_clear
def confirm(request: HttpRequest, pk: int) -> HttpResponse:
    """Start clearing the threads in a draft, or ask the user to confirm again."""
    refuse_read_only()
    clearing = get_clearing(pk)
    if clearing.stage != Stage.DRAFT:
        return redirect("clearing", pk)
    if page := _confirm(request, clearing, clearing=clearing):
        return page
    _run(request, clearing, SECONDS)
    go = "on" if clearing.stage == Stage.RUNNING else ""
    return redirect(clearing_url("clearing", pk, request.GET.get("list", ""), go=go))


@require_POST
@can_view
@can_clear
def go_on(request: HttpRequest, pk: int) -> HttpResponse:
    """Continue a clearing for about a second. The page asks again until the clearing is done."""
    refuse_read_only()
    clearing = get_clearing(pk)
    if request.headers.get("HX-Request") != "true":
        _run(request, clearing, SECONDS_WITHOUT_SCRIPT)
        return redirect("clearing", pk)
    _run(request, clearing, SECONDS)
    if clearing.stage == Stage.RUNNING:
        context = {"clearing": clearing, "goes_on": True}
        return render(request, "tasks/clearing/_progress.html", context)
    address = clearing_url("clearing", pk, request.GET.get("list", ""))
    return HttpResponse(headers={"HX-Redirect": address})


def _run(request: HttpRequest, clearing: Clearing, seconds: float) -> None:
    try:
        lifecycle.run(clearing, seconds)
    except lifecycle.BusyError:
        clearing.refresh_from_db()  # another request is already running this clearing
    except Error as error:
        messages.error(request, f"Interrupted: {error}")
        clearing.refresh_from_db()


@require_POST
@can_view
@can_clear
def cancel(request: HttpRequest, pk: int) -> HttpResponse:
    lifecycle.cancel(get_clearing(pk))
    return redirect(clearing_url("clearing", pk, request.GET.get("list", "")))


def _confirm(request: HttpRequest, draft: Clearing, **context: Any) -> HttpResponse | None:
    """Confirm a draft and return None, or return a page that explains the problem and asks again.

    A draft is confirmed only if the threads in it are those that the user saw and have not changed.
    """
    current = Confirmation.of(draft)
    current.is_stale = request.POST.get("version") != current.version
    current.refresh(draft)
    if current.is_stale:
        return confirm_page(request, current, status=CONFLICT, **context)
    if not current.check(request.POST):
        return confirm_page(request, current, **context)
    if settings.TASKS_READ_ONLY:
        messages.error(request, "Nothing was cleared: The store is read-only.")
        return confirm_page(request, current, **context)
    lifecycle.confirm(draft, **options(request.POST))
    return None


def confirm_page(
    request: HttpRequest, confirmation: Confirmation, *, status: int = 200, **context: Any
) -> HttpResponse:
    context |= {
        "confirmation": confirmation,
        "archive_days": settings.ARCHIVE_RETENTION.days,
        "first_threads": _with_titles(confirmation),
        "list_url": list_url(request),
    }
    return render(request, "tasks/clearing/confirm.html", context, status=status)


def _with_titles(confirmation: Confirmation) -> Sequence[ClearedThread]:
    """Give the first threads their current titles and states, to recognize them by."""
    threads = confirmation.threads[:LISTED_THREADS]
    store = workspace.store_connection()
    ids = [storable(thread.thread_id, store) for thread in threads]
    latest = TaskRecord.objects.filter(thread_id__in=ids).latest_per_thread().for_list()
    titles = {record.thread_id: task_title(record) for record in latest}
    for thread, id_ in zip(threads, ids, strict=True):
        thread.title = titles.get(id_, "")
        state = confirmation.daemon.state_of(thread.status, thread.active)
        thread.is_stalled = state == STALLED  # type: ignore[attr-defined]
    return threads


def actor(request: HttpRequest, source: Source) -> Actor:
    return Actor(source, request.user, address=request.META.get("REMOTE_ADDR", ""))


def get_clearing(pk: int) -> Clearing:
    clearing = Clearing.objects.filter(store=workspace.identity(), pk=pk).first()
    if clearing is None:
        raise Http404("There is no such clearing in this store.")
    return clearing


def refuse_read_only() -> None:
    if settings.TASKS_READ_ONLY:
        raise BadRequest("The store is read-only: nothing can be cleared or restored.")
