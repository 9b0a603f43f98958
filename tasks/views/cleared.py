"""Views that show past clearings and restore their threads."""

from datetime import datetime
from typing import Any, NamedTuple

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.db import Error
from django.db.models import Count, Q
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from archive.models import ClearedThread, Clearing, Fate, Source, Stage
from tasks.addresses import parse_number
from tasks.clearing import restoring, summaries
from tasks.clearing.confirmation import Confirmation, describe
from tasks.clearing.lifecycle import Actor
from tasks.fields import parse_stored
from tasks.listing.filters import Filters
from tasks.store import workspace
from tasks.views.clear import (
    SECONDS,
    SECONDS_WITHOUT_SCRIPT,
    actor,
    confirm_page,
    get_clearing,
    refuse_read_only,
)
from tasks.views.common import can_clear, can_view, list_url
from tasks.views.limits import limit_concurrency

CLEARINGS_PER_PAGE, THREADS_PER_PAGE = 50, 50


@require_safe
@can_view
@can_clear
def clearing_list(request: HttpRequest) -> HttpResponse:
    """List the clearings of this store, newest first."""
    rows = Clearing.objects.confirmed().filter(store=workspace.identity()).newest_first()
    if before := parse_number(request.GET.get("before", "")):
        rows = rows.filter(pk__lt=before)
    in_archive = Q(threads__fate=Fate.CLEARED, threads__archive__isnull=False)
    restored = Q(threads__fate=Fate.RESTORED)
    rows = rows.annotate(
        in_archive=Count("threads", filter=in_archive), restored=Count("threads", filter=restored)
    )
    page, older = _page(rows, CLEARINGS_PER_PAGE)
    _set_only_thread(page)
    context = {"clearings": page, "older": older, "is_first": not before}
    return render(request, "tasks/clearing/cleared.html", context)


def _page(rows: Any, length: int) -> tuple[list[Any], int | None]:
    """Return a page of rows, and the primary key of its last row if more rows follow."""
    page = list(rows[: length + 1])
    return page[:length], page[length - 1].pk if len(page) > length else None


def _set_only_thread(page: list[Clearing]) -> None:
    """Set `only` on each clearing to its thread if it has exactly one, otherwise to None."""
    single = [clearing.pk for clearing in page if clearing.planned == 1]
    threads = ClearedThread.objects.filter(clearing__in=single)
    only = {thread.clearing_id: thread for thread in threads}
    for clearing in page:
        clearing.only = only.get(clearing.pk)  # type: ignore[attr-defined]


@require_safe
@can_view
@can_clear
def clearing_detail(request: HttpRequest, pk: int) -> HttpResponse:
    """Show a clearing: its confirmation form, its progress, or its result."""
    clearing = get_clearing(pk)
    if clearing.stage == Stage.DRAFT:
        return confirm_page(request, Confirmation.of(clearing), clearing=clearing)
    return render(request, "tasks/clearing/clearing.html", _context(request, clearing))


def _context(request: HttpRequest, clearing: Clearing) -> dict[str, Any]:
    threads = clearing.threads.annotate_has_archive().order_by("pk")
    if fate := request.GET.get("fate"):
        threads = threads.filter(fate=fate)
    if after := parse_number(request.GET.get("after", "")):
        threads = threads.filter(pk__gt=after)
    page, older = _page(threads, THREADS_PER_PAGE)
    rows = with_returned(page)
    in_archive = clearing.threads.restorable().count()
    # what came back can only be replaced
    returned = [thread for thread, now in rows if now and thread.has_archive]  # type: ignore[attr-defined]
    return {
        "clearing": clearing,
        "filter": _filter_text(clearing),
        "list_url": list_url(request),
        "rows": rows,
        "any_returned": any(returned for _, returned in rows),
        "older": older,
        "is_first": not after,
        "fates": clearing.threads.values_list("fate").annotate(Count("pk")).order_by("fate"),
        "fate": fate,
        "in_archive": in_archive,
        "restorable": in_archive - len(returned),
        "goes_on": bool(request.GET.get("go")) and clearing.stage == Stage.RUNNING,
    }


def _filter_text(clearing: Clearing) -> str:
    """Describe the list's filters in words. Commands store their options, which are left as is."""
    if clearing.source != Source.LIST:
        return clearing.filter
    try:
        labels = Filters.parse(QueryDict(clearing.filter)).labels()
    except BadRequest:  # stored by a version that had other filters
        return clearing.filter
    names = {"status": "status", "period": "active", "q": "search"}
    parts = ((label or names.get(name), text) for name, (label, text) in labels.items())
    text = ", ".join(": ".join(filter(None, part)) for part in parts)
    return text[:1].upper() + text[1:]


class Returned(NamedTuple):
    """A thread with the id of a cleared one, as described on the page of the clearing."""

    since: datetime | None
    now: str
    fingerprint: str
    is_running: bool


def with_returned(threads: list[ClearedThread]) -> list[tuple[ClearedThread, Returned | None]]:
    """Pair each cleared thread with a description of a new thread that has its id, or with None."""
    cleared_ids = [thread.thread_id for thread in threads if thread.fate == Fate.CLEARED]
    since = summaries.first_created(cleared_ids) if cleared_ids else {}
    current = summaries.read(list(since)) if since else {}
    return [
        (thread, _returned(thread, current.get(thread.thread_id), since.get(thread.thread_id)))
        for thread in threads
    ]


def _returned(
    thread: ClearedThread, summary: summaries.Summary | None, since: str | None
) -> Returned | None:
    if summary is None or since is None:
        return None
    created: Any = parse_stored(since)
    if not (isinstance(created, datetime) and thread.cleared_at and created > thread.cleared_at):
        created = None  # an imported thread keeps its creation time
    return Returned(created, describe(summary), summary.fingerprint, summary.was_running)


@require_POST
@can_view
@can_clear
@limit_concurrency
def restore(request: HttpRequest, pk: int) -> HttpResponse:
    """Restore one of a clearing's threads, or all, for which the page asks again until done."""
    refuse_read_only()
    clearing, by = get_clearing(pk), actor(request, Source.PAGE)
    if "thread" not in request.POST:
        return _restore_all(request, clearing, by)
    _restore_thread(request, clearing, by)
    return redirect("clearing", pk)


def _restore_thread(request: HttpRequest, clearing: Clearing, by: Actor) -> None:
    number = parse_number(request.POST.get("thread", "")) or 0
    thread = clearing.threads.filter(pk=number).select_related("clearing").first()
    if thread is None:
        raise Http404("There is no such thread in this clearing.")
    try:
        restoring.restore(
            thread,
            by=by,
            replace=bool(request.POST.get("replace")),
            expected=request.POST.get("seen", ""),
            with_running=bool(request.POST.get("with_running")),
        )
    except restoring.RestoreError as error:
        messages.error(request, f"Nothing was restored: {error}")
    else:
        restoring.log(clearing, by, 1)
        messages.success(request, "Restored.")


def _restore_all(request: HttpRequest, clearing: Clearing, by: Actor) -> HttpResponse:
    has_script = request.headers.get("HX-Request") == "true"
    run = restoring.Run(clearing, by, parse_number(request.POST.get("run", "")) or 0)
    try:
        run.go_on(SECONDS if has_script else SECONDS_WITHOUT_SCRIPT)
    except Error as error:
        messages.error(request, f"Interrupted: {error}")
    else:
        if has_script and run.waiting:
            context = {"clearing": clearing, "run": run, "goes_on": True}
            return render(request, "tasks/clearing/_progress.html", context)
    if run.restored:
        messages.success(request, restoring.restored_text(run.restored))
    if run.failed:
        messages.error(request, f"{run.failed:,} could not be restored: {run.first_reason}")
    address = reverse("clearing", args=[clearing.pk])
    return HttpResponse(headers={"HX-Redirect": address}) if has_script else redirect(address)
