"""The secrets of a thread: shown for a while, hidden again, and who saw which."""

from urllib.parse import urlsplit

from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST, require_safe

from archive.models import Reveal
from tasks.addresses import thread_url
from tasks.secrets import reveal
from tasks.store import workspace
from tasks.views.common import can_reveal, can_view, number_in, tasks_of, the_task, thread_id_of

PER_PAGE = 50
ACTS = {"show": reveal.begin, "hide": reveal.end}


@require_POST
@can_view
@can_reveal
def secrets(request: HttpRequest) -> HttpResponse:
    """Show or hide the secrets of a thread, and go back to where that was asked for."""
    act = ACTS.get(request.POST.get("do", ""))
    if act is None:
        raise BadRequest("The form says neither “show” nor “hide”.")
    record = the_task(request, tasks_of(request).only("thread_id"))
    act(request, str(record.thread_id))
    # no redirect proper: that refuses an address over 16,384 characters
    return HttpResponse(status=302, headers={"Location": _back(request)})


def _back(request: HttpRequest) -> str:
    """The page of this thread that the form names, or simply the thread's page."""
    given, thread_id = request.POST.get("back", ""), thread_id_of(request)
    if url_has_allowed_host_and_scheme(given, allowed_hosts=None):
        address = urlsplit(given)
        query = QueryDict(address.query)
        if address.path == reverse("thread") and query.get("id") == thread_id:
            return f"{reverse('thread')}?{query.urlencode()}"
    return thread_url("thread", thread_id)


@require_safe
@can_view
@can_reveal
def reveals(request: HttpRequest) -> HttpResponse:
    """Who saw the secrets of which thread of this store, the newest first."""
    rows = Reveal.objects.filter(store=workspace.identity()).order_by("-pk")
    if before := number_in(request.GET, "before"):
        rows = rows.filter(pk__lt=before)
    found = list(rows[: PER_PAGE + 1])
    context = {
        "reveals": found[:PER_PAGE],
        "older": found[PER_PAGE - 1].pk if len(found) > PER_PAGE else None,
        "is_first": not before,
    }
    return render(request, "tasks/secrets/reveals.html", context)
