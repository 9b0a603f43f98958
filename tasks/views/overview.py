"""The view of the overview, the page after signing in."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.utils.timezone import get_current_timezone
from django.views.decorators.http import require_safe

from tasks.addresses import parse_number, thread_url, threads_url
from tasks.fields import to_text
from tasks.index import following
from tasks.index.models import TEXT_FILTERS, IndexedTask
from tasks.insights import pictures
from tasks.insights.errors import read_errors
from tasks.insights.overview import FAILED, Overview, needs
from tasks.insights.selection import Selection
from tasks.listing.filters import PERIOD_LENGTHS, Filters
from tasks.listing.forms import ANY
from tasks.listing.thread_list import ThreadList
from tasks.maintenance import disk_space
from tasks.store.daemon import STALLED, Daemon, daemon
from tasks.templatetags.threads import absolute
from tasks.transcript.titles import heading
from tasks.views.common import can_view
from tasks.views.insights import ANY_TIME, error_links, page_context, page_url

VISIT = "gloamy_visit"  # the cookie with the times of the last visit, and of this visit's last view
VISIT_ENDS = timedelta(minutes=30)  # without a view
LARGEST, FREQUENT = 5, 5
MAX_GROUPS = 6
STACKED = ("completed", "running", "cancelled", STALLED, "timed_out", "failed")  # upwards
DEFAULT_PERIODS = ("7d", "30d")


@require_safe
@can_view
def overview(request: HttpRequest) -> HttpResponse:
    """Show what needs a person, what changed, and what is most frequent and largest."""
    following.catch_up()  # the rows first, or the texts of new ones would be missing
    following.catch_up_texts(following.BUILD_SECONDS)
    now = daemon()
    selection = Selection.of(_overview_filters(request.GET, now), now)
    visit, cookie = _visit(request, now.now)
    context = page_context(selection, "overview") | {
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
    filters, frequent = selection.filters, read_errors(selection, FREQUENT, has_times=False)
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
        "errors": [(error, error_links(filters, error.shape)) for error in frequent.errors],
        "error_count": frequent.number,
        "errors_url": page_url("errors", filters),
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
