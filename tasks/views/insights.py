"""The views of the pages about many threads at once."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from tasks.addresses import thread_url, threads_url
from tasks.index import following
from tasks.index.models import IndexedCall
from tasks.insights.errors import read_errors, variants
from tasks.insights.selection import Selection
from tasks.listing.filters import Filters, filter_values
from tasks.listing.forms import ANY, PERIODS
from tasks.store.daemon import daemon
from tasks.transcript import time_zones
from tasks.transcript.titles import heading
from tasks.views.common import can_view

MAX_ERRORS, MAX_THREADS = 30, 5
MAX_CHOICES, MAX_CHOICE_LENGTH = 50, 200  # limits for the menus
ANY_TIME = "all"  # the overview's period without limits; by default, it has some
IN_MENUS = ("channel", "provider", "model", "tool", "period")


@require_safe
@can_view
def errors(request: HttpRequest) -> HttpResponse:
    """Show the errors of the threads that match the filters, or one of them in detail."""
    following.catch_up()  # the rows first, or the texts of new ones would be missing
    following.catch_up_texts(following.BUILD_SECONDS)
    selection = Selection.of(Filters.parse(request.GET), daemon())
    filters, order = selection.filters, request.GET.get("order", "")
    found = read_errors(selection, MAX_ERRORS, by_time=order == "last")
    context = page_context(selection, "errors") | {
        "found": found,
        "rows": [(error, error_links(filters, error.shape)) for error in found.errors],
        "order": order,
        "by_threads_url": page_url("errors", filters),
        "by_time_url": f"{reverse('errors')}?{filters.query_string(order='last')}",
    }
    if filters.error in ("", ANY):
        return render(request, "tasks/insights/errors.html", context)
    page = selection.threads.page(MAX_THREADS)
    query = filters.query_string()
    context |= {
        "error": found.errors[0] if found.errors else None,
        "list_url": threads_url(query),
        "tools": _tool_links(filters, found.errors[0].tools) if found.errors else [],
        "variants": variants(selection),
        "threads": [
            (r, heading(r), thread_url("thread", r.thread_id, list=query)) for r in page.records
        ],
        "all_errors_url": page_url("errors", filters, error=""),
    }
    return render(request, "tasks/insights/error.html", context)


def error_links(filters: Filters, shape: int) -> dict[str, str]:
    error = str(shape)
    return {
        "page": page_url("errors", filters, error=error),
        "threads": threads_url(filters.query_string(error=error)),
    }


def _tool_links(filters: Filters, tools: dict[str, int]) -> list[tuple[str, int, str]]:
    ordered = sorted(tools.items(), key=lambda pair: -pair[1])
    return [(tool, n, page_url("errors", filters, tool=tool)) for tool, n in ordered]


def page_url(name: str, filters: Filters, **changes: str) -> str:
    query = filters.query_string(**changes)
    if name == "overview" and not any(f"{time}=" in query for time in ("period", "start", "end")):
        query += f"&period={ANY_TIME}" if query else f"period={ANY_TIME}"
    return f"{reverse(name)}?{query}" if query else reverse(name)


def page_context(selection: Selection, name: str) -> dict[str, Any]:
    filters = selection.filters
    values = filter_values(MAX_CHOICE_LENGTH)
    tools = [t for t in IndexedCall.objects.tools() if 0 < len(t) <= MAX_CHOICE_LENGTH]
    return {
        "page": name,
        "filters": filters,
        "periods": PERIODS,
        "zone": time_zones.active_name(),
        "choices": [
            (choice, current, sorted({*names[:MAX_CHOICES], current} - {""}))
            for choice, names in {**values, "tool": tools}.items()
            for current in [getattr(filters, choice)]
        ],
        "hidden": {n: v for n, v in filters.params().items() if n not in IN_MENUS},
        "others": [
            {"label": label, "text": text, "url": page_url(name, filters, **{filter_: ""})}
            for filter_, (label, text) in filters.labels().items()
            if filter_ not in IN_MENUS
        ],
        "is_filtered": bool(filters.query_string()),
        "is_counted": selection.threads.is_counted,
        "unread": selection.threads.unread(),
        "index": selection.threads.index,
    }
