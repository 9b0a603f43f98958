"""The views of the pages about many threads at once."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils.timezone import get_current_timezone
from django.views.decorators.http import require_safe

from tasks.addresses import parse_number, thread_url, threads_url
from tasks.fields import to_text
from tasks.index import following
from tasks.index.models import TEXT_FILTERS, IndexedCall, IndexedTask
from tasks.insights import pictures
from tasks.insights.errors import read_errors, variants
from tasks.insights.overview import FAILED, Overview, needs
from tasks.insights.selection import Selection
from tasks.listing.filters import PERIOD_LENGTHS, Filters, filter_values
from tasks.listing.forms import ANY, PERIODS
from tasks.listing.thread_list import ThreadList
from tasks.maintenance import disk_space
from tasks.store.daemon import STALLED, Daemon, daemon
from tasks.templatetags.threads import absolute
from tasks.transcript import time_zones
from tasks.transcript.titles import heading
from tasks.views.common import can_view

MAX_ERRORS, MAX_THREADS = 30, 5
MAX_CHOICES, MAX_CHOICE_LENGTH = 50, 200  # limits for the menus
IN_MENUS = ("channel", "provider", "model", "tool", "period")


@require_safe
@can_view
def errors(request: HttpRequest) -> HttpResponse:
    """Show the errors of the threads that match the filters, or one of them in detail."""
    following.catch_up_texts(following.BUILD_SECONDS)
    selection = Selection.of(Filters.parse(request.GET), daemon())
    filters, order = selection.filters, request.GET.get("order", "")
    found = read_errors(selection, MAX_ERRORS, by_time=order == "last")
    context = _context(selection, "errors") | {
        "found": found,
        "rows": [(error, _links(filters, error.shape)) for error in found.errors],
        "order": order,
        "by_threads_url": _url("errors", filters),
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
        "all_errors_url": _url("errors", filters, error=""),
    }
    return render(request, "tasks/insights/error.html", context)


def _links(filters: Filters, shape: int) -> dict[str, str]:
    error = str(shape)
    return {
        "page": _url("errors", filters, error=error),
        "threads": threads_url(filters.query_string(error=error)),
    }


def _tool_links(filters: Filters, tools: dict[str, int]) -> list[tuple[str, int, str]]:
    ordered = sorted(tools.items(), key=lambda pair: -pair[1])
    return [(tool, n, _url("errors", filters, tool=tool)) for tool, n in ordered]


def _url(name: str, filters: Filters, **changes: str) -> str:
    query = filters.query_string(**changes)
    return f"{reverse(name)}?{query}" if query else reverse(name)


def _context(selection: Selection, name: str) -> dict[str, Any]:
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
            {"label": label, "text": text, "url": _url(name, filters, **{filter_: ""})}
            for filter_, (label, text) in filters.labels().items()
            if filter_ not in IN_MENUS
        ],
        "is_filtered": bool(filters.query_string()),
        "is_counted": selection.threads.is_counted,
        "unread": selection.threads.unread(),
        "index": selection.threads.index,
    }


VISIT = "gloamy_visit"  # the cookie with the times of the last visit, and of this visit's last view
VISIT_ENDS = timedelta(minutes=30)  # without a view
LARGEST, FREQUENT = 5, 5
MAX_GROUPS = 6
STACKED = ("completed", "running", "cancelled", STALLED, "timed_out", "failed")  # upwards
ANY_TIME = "all"
DEFAULT_PERIODS = ("7d", "30d")


@require_safe
@can_view
def overview(request: HttpRequest) -> HttpResponse:
    """Show what needs a person, what changed, and what is most frequent and largest."""
    following.catch_up_texts(following.BUILD_SECONDS)
    now = daemon()
    selection = Selection.of(_overview_filters(request.GET, now), now)
    visit, cookie = _visit(request, now.now)
    context = _context(selection, "overview") | {
        "any_time": ANY_TIME,
        "visit": visit,
        "needs": [need for need in _needs(selection, visit) if need["count"]],
        "problems": _problems(now),
        "disk": disk_space.of_store(),
    }
    if selection.threads.is_counted:
        context |= _figures(selection)
    response = render(request, "tasks/insights/overview.html", context)
    response.set_cookie(
        VISIT, cookie, max_age=timedelta(days=90), secure=request.is_secure(), httponly=True
    )
    return response


def _overview_filters(query: QueryDict, now: Daemon) -> Filters:
    """Return the filters, for a period in which some thread was active if they have no time."""
    query = query.copy()
    period = query.get("period", "")
    if period == ANY_TIME:
        query["period"] = ""
    filters = Filters.parse(query)
    if period or filters.start or filters.end:
        return filters
    following.catch_up()
    for period in DEFAULT_PERIODS:
        since = to_text(now.now - PERIOD_LENGTHS[period])
        if IndexedTask.objects.latest().filter(updated_at__gte=since).exists():
            return replace(filters, period=period)
    return filters


def _visit(request: HttpRequest, now: datetime) -> tuple[datetime | None, str]:
    """Return when the last visit ended, if that is known, and the cookie's new value."""
    times = [parse_number(text) for text in request.COOKIES.get(VISIT, "").split(".")]
    current = int(now.timestamp())
    before, last = times if len(times) == 2 and None not in times else (None, None)
    if last is not None and current - last > VISIT_ENDS.total_seconds():
        before = last
    moment = datetime.fromtimestamp(before, UTC) if before and before <= current else None
    return moment, f"{before or 0}.{current}"


def _needs(selection: Selection, visit: datetime | None) -> list[dict[str, Any]]:
    since = visit or selection.now - timedelta(days=1)
    return [
        {"name": need.name, "count": need.count, "url": _list_url(need.filters)}
        for need in needs(selection, since.replace(microsecond=0))
    ]


def _problems(now: Daemon) -> list[str]:
    """Return what is wrong with the store, and not with any thread."""
    problems = [f"The index is kept in memory: {following.problem}."] if following.problem else []
    if now.beat and now.state == "dead":
        problems.append(f"The daemon has not run since {absolute(now.beat)}.")
    return problems


def _figures(selection: Selection) -> dict[str, Any]:
    figures = Overview(selection, get_current_timezone())
    filters, frequent = selection.filters, read_errors(selection, FREQUENT, has_trends=False)
    largest = ThreadList(replace(filters, sort="size"), selection.threads.daemon)
    query = filters.query_string(sort="size")
    states = [state for state in STACKED if figures.totals[state]]
    columns = [
        (
            column,
            _list_url(within),
            [(s, column.counts[s], _list_url(within, status=s)) for s in states],
        )
        for column in figures.columns
        for within in [selection.within(column.start, column.end)]
    ]
    return {
        "total": figures.totals.total(),
        "list_url": _list_url(filters),
        "states": [(s, figures.totals[s], _list_url(filters, status=s)) for s in states],
        "columns": columns,
        "bars": _bars(columns, states),
        "middle": figures.columns[len(columns) // 2],
        "last": figures.columns[-1],
        "slowest_url": _list_url(replace(figures.sample.filters, sort="duration")),
        "top": max(column.total for column in figures.columns),
        "groups": [(name, *_groups(figures, name)) for name in TEXT_FILTERS],
        "tools": _tools(figures),
        "has_before": any(g.before for groups in figures.groups.values() for g in groups),
        "durations": _durations(figures),
        "sample": figures.sample,
        "sample_url": _list_url(figures.sample.filters),
        "errors": [(error, _links(filters, error.shape)) for error in frequent.errors],
        "error_count": frequent.number,
        "errors_url": _url("errors", filters),
        "largest": [
            (r, heading(r), thread_url("thread", r.thread_id, list=query))
            for r in largest.page(LARGEST).records
        ],
        "largest_url": threads_url(query),
    }


def _list_url(filters: Filters, **changes: str) -> str:
    return threads_url(filters.query_string(**changes))


def _bars(columns: list[Any], states: list[str]) -> list[tuple[pictures.Bar, str, int, str, str]]:
    """Return each bar of the chart with its state, its number, its column's label and its URL."""
    values = [[n for _, n, _ in by_state] for _, _, by_state in columns]
    found = []
    for bar in pictures.bars(values):
        column, _, by_state = columns[bar.column]
        state, n, url = by_state[bar.part]
        found.append((bar, state, n, column.label, url))
    return found


def _groups(figures: Overview, name: str) -> tuple[list[dict[str, Any]], int]:
    """Return the rows of a table of failure rates, and how many groups there are."""
    groups = [group for group in figures.groups[name] if group.counts]
    selection = figures.selection
    rows = []
    for group in groups[:MAX_GROUPS]:
        value = {name: group.value}
        before = selection.within(*figures.before) if figures.before else None
        rows.append(
            {
                "value": group.value,
                "threads": group.counts.total(),
                "url": _list_url(selection.filters, **value),
                "failed": [
                    (
                        group.counts[status],
                        _list_url(selection.filters, status=status, **value),
                    )
                    for status in FAILED
                ],
                "rate": group.rate,
                "rate_before": group.rate_before,
                "before": group.before.total(),
                "before_url": _list_url(before, **value) if before else "",
            }
        )
    return rows, len(groups)


def _tools(figures: Overview) -> list[dict[str, Any]]:
    sample, before = figures.sample, figures.sample_before
    rows = []
    for tool, (threads, failed) in list(sample.tools.items())[:MAX_GROUPS]:
        then, failed_then = before.tools.get(tool, (0, 0)) if before else (0, 0)
        rows.append(
            {
                "value": tool,
                "threads": threads,
                "url": _list_url(sample.filters, tool=tool),
                "failed": [(failed, _list_url(sample.filters, tool=tool, error=ANY))],
                "rate": failed / threads,
                "rate_before": failed_then / then if then else None,
                "before": then,
                "before_url": _list_url(before.filters, tool=tool) if before else "",
            }
        )
    return rows


def _durations(figures: Overview) -> list[tuple[str, int | None, int | None]]:
    """Return the median and the 90th percentile of durations, and those of the period before."""
    before = figures.sample_before
    return [
        (name, figures.sample.percentile(percent), before.percentile(percent) if before else None)
        for name, percent in {"Median duration": 50, "90% took at most": 90}.items()
    ]
