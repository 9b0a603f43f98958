"""What was cleared: every act, its threads, and their way back."""

from datetime import datetime
from typing import Any

from django.contrib import messages
from django.db import Error
from django.db.models import Count, Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from archive.models import ClearedThread, Clearing, Fate, Source, Stage
from tasks.clearing import batches, confirmation, lifecycle, restoring, summaries
from tasks.fields import parse_stored
from tasks.store import workspace
from tasks.views.clear import CONFLICT, actor, confirm_page, refuse_read_only
from tasks.views.common import can_clear, can_view, number_in
from tasks.views.limits import limit_concurrency

ACTS_PER_PAGE, THREADS_PER_PAGE = 50, 50
SECONDS, SECONDS_WITHOUT_SCRIPT = 1.0, 5.0  # of work in one request


@require_safe
@can_view
@can_clear
def cleared(request: HttpRequest) -> HttpResponse:
    """Every act of clearing in this store, the newest first."""
    acts = Clearing.objects.confirmed().filter(store=workspace.identity()).newest_first()
    if before := number_in(request.GET, "before"):
        acts = acts.filter(pk__lt=before)
    in_archive = Q(threads__fate=Fate.CLEARED, threads__archive__isnull=False)
    acts = acts.annotate(in_archive=Count("threads", filter=in_archive))
    found = list(acts[: ACTS_PER_PAGE + 1])
    more = found[ACTS_PER_PAGE - 1].pk if len(found) > ACTS_PER_PAGE else None
    _name(found)
    context = {"acts": found[:ACTS_PER_PAGE], "older": more, "is_first": not before}
    return render(request, "tasks/clearing/cleared.html", context)


def _name(acts: list[Clearing]) -> None:
    """Set `only` of acts that were about one thread: that thread."""
    alone = ClearedThread.objects.filter(clearing__in=[act.pk for act in acts if act.planned == 1])
    only = {row.clearing_id: row for row in alone}
    for act in acts:
        act.only = only.get(act.pk)  # type: ignore[attr-defined]


@require_safe
@can_view
@can_clear
def act(request: HttpRequest, pk: int) -> HttpResponse:
    """One act: its confirmation, its progress, or what came of it."""
    found = _act(request, pk)
    if found.stage == Stage.DRAFT:
        return confirm_page(request, confirmation.of_draft(found), act=found)
    return render(request, "tasks/clearing/clearing.html", _context(request, found))


@require_POST
@can_view
@can_clear
def confirm(request: HttpRequest, pk: int) -> HttpResponse:
    """Begin to clear what was shown; where that is not what is there, show it and ask again."""
    refuse_read_only()
    found = _act(request, pk)
    if found.stage != Stage.DRAFT:
        return redirect("clearing", pk)
    was_shown = request.POST.get("version") == confirmation.of_draft(found).version
    changes = confirmation.refresh(found)
    shown = confirmation.of_draft(found)
    shown.changes = changes
    if changes or not was_shown:
        return confirm_page(request, shown, status=CONFLICT, act=found, is_stale=True)
    if not shown.check(request.POST):
        return confirm_page(request, shown, act=found)
    lifecycle.confirm(found, **confirmation.options(request.POST))
    _run(request, found, SECONDS)
    query = "?go=on" if found.stage == Stage.RUNNING else ""
    return redirect(f"{request.path.removesuffix('confirm/')}{query}")


@require_POST
@can_view
@can_clear
def go_on(request: HttpRequest, pk: int) -> HttpResponse:
    """Clear for about a second; the page asks for more until all is done."""
    refuse_read_only()
    found = _act(request, pk)
    _run(request, found, SECONDS if _is_by_script(request) else SECONDS_WITHOUT_SCRIPT)
    if not _is_by_script(request):
        return redirect("clearing", pk)
    if found.stage == Stage.RUNNING:
        return render(request, "tasks/clearing/_progress.html", {"act": found, "goes_on": True})
    return HttpResponse(headers={"HX-Redirect": request.path.removesuffix("go-on/")})


def _run(request: HttpRequest, found: Clearing, seconds: float) -> None:
    try:
        lifecycle.run_for(found, seconds)
    except lifecycle.BusyError:
        found.refresh_from_db()  # another window works on it
    except Error as error:
        messages.error(request, f"Broken off: {error}")
        found.refresh_from_db()


@require_POST
@can_view
@can_clear
def cancel(request: HttpRequest, pk: int) -> HttpResponse:
    lifecycle.cancel(_act(request, pk))
    return redirect("clearing", pk)


@require_POST
@can_view
@can_clear
@limit_concurrency
def restore(request: HttpRequest, pk: int) -> HttpResponse:
    """Put back one thread of an act, or for some seconds all that can be."""
    refuse_read_only()
    found, by = _act(request, pk), actor(request, Source.PAGE)
    if "thread" in request.POST:
        _restore_one(request, found, by)
    else:
        _restore_all(request, found, by)
    return redirect("clearing", pk)


def _restore_one(request: HttpRequest, found: Clearing, by: lifecycle.Actor) -> None:
    number = number_in(request.POST, "thread") or 0
    row = found.threads.filter(pk=number).select_related("clearing").first()
    if row is None:
        raise Http404("There is no such thread in this clearing.")
    try:
        restoring.restore(
            row,
            by=by,
            replace=bool(request.POST.get("replace")),
            seen=request.POST.get("seen", ""),
            with_running=bool(request.POST.get("with_running")),
        )
    except restoring.RestoreError as error:
        messages.error(request, f"Nothing was restored: {error}")
    else:
        restoring.log(found, by, 1)
        messages.success(request, "Restored, as it was.")


def _restore_all(request: HttpRequest, found: Clearing, by: lifecycle.Actor) -> None:
    restored, refused = restoring.restore_for(found, SECONDS_WITHOUT_SCRIPT, by=by)
    if restored:
        restoring.log(found, by, restored)
        messages.success(request, f"Restored {restored} thread{'' if restored == 1 else 's'}.")
    if refused:
        messages.error(request, f"{len(refused)} could not be restored: {refused[0]}")


def _context(request: HttpRequest, found: Clearing) -> dict[str, Any]:
    rows = found.threads.marked_if_archived().order_by("pk")
    if fate := request.GET.get("fate"):
        rows = rows.filter(fate=fate)
    if after := number_in(request.GET, "after"):
        rows = rows.filter(pk__gt=after)
    shown = list(rows[: THREADS_PER_PAGE + 1])
    more = shown[THREADS_PER_PAGE - 1].pk if len(shown) > THREADS_PER_PAGE else None
    del shown[THREADS_PER_PAGE:]
    rows_shown = [{"row": row, "back": back} for row, back in _came_back(shown)]
    return {
        "act": found,
        "rows": rows_shown,
        "any_is_back": any(entry["back"] for entry in rows_shown),
        "older": more,
        "is_first": not after,
        "fates": found.threads.values_list("fate").annotate(Count("pk")).order_by("fate"),
        "fate": fate,
        "in_archive": found.threads.with_archive().count(),
        "goes_on": bool(request.GET.get("go")) and found.stage == Stage.RUNNING,
    }


def _came_back(rows: list[ClearedThread]) -> list[tuple[ClearedThread, Any]]:
    """Each with what is there again of its thread, if anything, and since when."""
    cleared_ids = [row.thread_id for row in rows if row.fate == Fate.CLEARED]
    since = summaries.back_since(cleared_ids) if cleared_ids else {}
    there = summaries.of(list(since)) if since else {}
    return [(row, _back(row, there.get(row.thread_id), since.get(row.thread_id))) for row in rows]


def _back(row: ClearedThread, there: summaries.Summary | None, since: str | None) -> Any:
    if there is None or since is None:
        return None
    made = parse_stored(since)
    is_later = isinstance(made, datetime) and row.cleared_at and made > row.cleared_at
    return {
        "since": made if is_later else None,  # an import brings the old time along
        "now": confirmation.described(batches.plan(row.clearing, there)),
        "fingerprint": there.fingerprint,
        "is_running": there.is_running,
    }


def _act(request: HttpRequest, pk: int) -> Clearing:
    found = Clearing.objects.filter(store=workspace.identity(), pk=pk).first()
    if found is None:
        raise Http404("There is no such clearing in this store.")
    return found


def _is_by_script(request: HttpRequest) -> bool:
    return request.headers.get("HX-Request") == "true"
