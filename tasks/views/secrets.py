"""Views that reveal a thread's secrets for a limited time, and list who has revealed secrets."""

from urllib.parse import urlsplit

from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST, require_safe

from archive.models import Reveal
from tasks.addresses import parse_number, thread_url
from tasks.secrets import reveal
from tasks.store import workspace
from tasks.views.common import can_reveal, can_view, get_task, requested_tasks, requested_thread_id

PER_PAGE = 50
ACTIONS = {"show": reveal.begin, "hide": reveal.end}


@require_POST
@can_view
@can_reveal
def secrets(request: HttpRequest) -> HttpResponse:
    """Show or hide a thread's secrets, and redirect to the page that the form was on."""
    action = ACTIONS.get(request.POST.get("do", ""))
    if action is None:
        raise BadRequest("Invalid form: `do` must be “show” or “hide”.")
    record = get_task(request, requested_tasks(request).only("thread_id"))
    action(request, str(record.thread_id))
    # HttpResponseRedirect is not used because it refuses URLs over 16,384 characters
    return HttpResponse(status=302, headers={"Location": _return_url(request)})


def _return_url(request: HttpRequest) -> str:
    """Return the form's `back` URL if it leads to the thread's page, otherwise that page's URL."""
    back, thread_id = request.POST.get("back", ""), requested_thread_id(request)
    if url_has_allowed_host_and_scheme(back, allowed_hosts=None):
        url = urlsplit(back)
        query = QueryDict(url.query)
        if url.path == reverse("thread") and query.get("id") == thread_id:
            return f"{reverse('thread')}?{query.urlencode()}"
    return thread_url("thread", thread_id)


@require_safe
@can_view
@can_reveal
def reveals(request: HttpRequest) -> HttpResponse:
    """List which users revealed which threads' secrets in this store, newest first."""
    rows = Reveal.objects.filter(store=workspace.identity()).order_by("-pk")
    if before := parse_number(request.GET.get("before", "")):
        rows = rows.filter(pk__lt=before)
    page = list(rows[: PER_PAGE + 1])
    context = {
        "reveals": page[:PER_PAGE],
        "older": page[PER_PAGE - 1].pk if len(page) > PER_PAGE else None,
        "is_first": not before,
    }
    return render(request, "tasks/secrets/reveals.html", context)
