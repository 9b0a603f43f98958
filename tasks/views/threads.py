"""The view of the thread list."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.views.decorators.http import require_safe

from tasks.addresses import parse_number, thread_url, threads_url
from tasks.fields import parse_stored, to_text
from tasks.index import following
from tasks.index.texts import STEP
from tasks.listing.change_token import change_token
from tasks.listing.filters import Cursor, Filters, filter_values
from tasks.listing.forms import CHECKS, PERIODS, SEARCH_SCOPES, SORTS, STATES
from tasks.listing.thread_list import Page, ThreadList
from tasks.models import USER_TURN, TaskRecord
from tasks.secrets.response_masking import MaskedPage, mask_page
from tasks.store import workspace
from tasks.store.daemon import Daemon, daemon
from tasks.templatetags.threads import absolute, elapsed
from tasks.transcript import time_zones
from tasks.transcript.invisible import escape_invisible_in_html
from tasks.transcript.search import UNREADABLE, Hit
from tasks.transcript.titles import Heading, heading, note_summary
from tasks.views.common import can_view, mark_returned, may_clear
from tasks.views.limits import limit_concurrency_if
from tasks.views.sharing import shared, shared_parts

THREADS_PER_PAGE = 50
HITS_PER_THREAD = 2
MAX_CHOICES, MAX_CHOICE_LENGTH = 50, 200  # limits for the channel, provider and model menus
SORT_HEADINGS = {
    "steps": "Steps",
    "size": "Size",
    "duration": "Duration",
    "activity": "Active",
    "age": "Age",
}
ROWS = "<!--rows-->"  # where rows go in a page, in which no text of an agent has a "<"


def _searches_messages(request: HttpRequest) -> bool:
    return bool(request.GET.get("q")) and request.GET.get("where") != "ids"


@require_safe
def threads(request: HttpRequest) -> HttpResponseBase:
    """Render the list page. Polls (`seen=`) get only the list, or status 204 if nothing changed."""
    now = daemon()
    token = change_token(now)
    if request.GET.get("seen") == token and not following.is_building():
        return HttpResponse(status=204)  # saves querying permissions, since nothing is shown
    return _threads(request, now, token)


@can_view
@limit_concurrency_if(_searches_messages)
def _threads(request: HttpRequest, now: Daemon, token: str) -> HttpResponse:
    if "seen" in request.GET:
        return _poll(request, now, token)
    context = _list_context(request, now, token)
    context |= {"request": request, **_form_context(context["filters"])}
    return MaskedPage(_render("tasks/threads/page.html", context, request))


def _poll(request: HttpRequest, now: Daemon, token: str) -> HttpResponse:
    def rendered() -> str:
        context = _list_context(request, now, token)
        context |= {"is_poll": True, "perms": _perms(can_clear), **workspace.context(request)}
        # without the request, nothing else in it can get into a page that others are sent
        return _render("tasks/threads/_list.html", context)

    query, can_clear = request.GET.copy(), request.user.has_perm("tasks.clear_thread")
    del query["seen"]
    return MaskedPage(shared((token, query.urlencode(), can_clear), rendered))


def _render(template: str, context: dict[str, Any], request: HttpRequest | None = None) -> str:
    """Render and mask a page of the list, into which its rows are put last.

    The HTML of a row is used again while nothing changes that it depends on.
    """
    before, _, after = render_to_string(template, context, request).partition(ROWS)
    rows: list[Row] = context["rows"]

    def rendered(positions: list[int]) -> list[str]:
        each = [render_to_string(_ROW, _row_context(rows[n], context)) for n in positions]
        masked = _masked(ROWS.join(each)).split(ROWS)
        # what looks like a secret may begin in one row and end in another
        return masked if len(masked) == len(each) else list(map(_masked, each))

    parts = shared_parts([_shown(row, context) for row in rows], rendered)
    return _masked(before) + "".join(parts) + _masked(after)


def _masked(html: str) -> str:
    return escape_invisible_in_html(mask_page(html))


def _list_context(request: HttpRequest, now: Daemon, token: str) -> dict[str, Any]:
    thread_list = ThreadList(Filters.parse(request.GET), now)
    after, before = Cursor.parse(request.GET, "after"), Cursor.parse(request.GET, "before")
    page = thread_list.page(THREADS_PER_PAGE, after, before)
    if before and not page.has_more and not page.stopped_at:
        after = before = None  # the newer threads do not fill a page, so show the first page
        page = thread_list.page(THREADS_PER_PAGE)
    mark_returned(page.records)
    filters = thread_list.filters
    query = filters.query_string()
    is_first = not after and not before
    states = _states(thread_list)
    first = 1 if is_first else parse_number(request.GET.get("from", ""))
    running = next(state.count for state in states if state.name == "running")
    return {
        "daemon": now,
        "change_token": token,
        "may_clear": may_clear(request),
        "can_clear": request.user.has_perm("tasks.clear_thread"),
        "filters": filters,
        "query": query,
        "rows": [_row(record, page, thread_list, query) for record in page.records],
        "states": states,
        "running": "" if running.startswith("0") else running,
        "active_filters": _active_filters(filters),
        "unsearched": thread_list.unsearched(),
        "cut": thread_list.cut(),
        "index": thread_list.index,
        "indexed_since": parse_stored(thread_list.index.frontier),
        "index_problem": following.problem,
        "sorts": _sorts(filters),
        "first": first,
        "last": (first or 0) + len(page.records) - 1,
        "total": next(state.count for state in states if state.is_current),
        "unfiltered_url": threads_url(Filters(sort=filters.sort).query_string()),
        "is_first": is_first,
        "is_live": filters.is_live and is_first,
        "is_empty": not page.records and not query and not TaskRecord.objects.exists(),
        **_page_links(filters, page, after, before, first),
    }


@dataclass(frozen=True)
class Row:
    record: TaskRecord
    key: str
    heading: Heading
    url: str
    is_stalled: bool
    cannot_resume: bool
    is_unreadable: bool
    is_too_long: bool  # the thread id does not fit in a URL or a form
    error: str
    note: str
    hits: list[tuple[Hit, str]]
    more_hits: int


_ROW = "tasks/threads/_row.html"
_HISTORIES = {"history_start", "history_end", "resumable_start"}  # shown only as the heading


def _row_context(row: Row, context: dict[str, Any]) -> dict[str, Any]:
    same = {name: context[name] for name in ("may_clear", "daemon")}
    return {"row": row, "record": row.record, "perms": _perms(context["can_clear"]), **same}


def _perms(can_clear: bool) -> dict[str, Any]:
    return {"tasks": {"clear_thread": can_clear}}


def _shown(row: Row, context: dict[str, Any]) -> tuple[object, ...]:
    """Return all that the row's HTML depends on, except the time zone."""
    stored = {n: v for n, v in vars(row.record).items() if n not in {"_state", *_HISTORIES}}
    came_back = stored.pop("came_back", None)
    times = [value for value in stored.values() if isinstance(value, datetime)]
    return (
        [(name, to_text(v) if name.endswith("_at") else v) for name, v in stored.items()],
        [elapsed(time) for time in [*times, *(came_back or ())[1:]]],
        came_back,
        [value for name, value in vars(row).items() if name != "record"],
        *(context["may_clear"], context["can_clear"], context["daemon"].state),
    )


def _row(record: Any, page: Page, thread_list: ThreadList, query: str) -> Row:
    hits = page.hits.get(record.task_id, [])
    # all threads may share the system prompt, so list its hits last
    hits = sorted(hits, key=lambda hit: hit.role == "system")
    back = {"list": query} if query else {}
    return Row(
        record=record,
        key=_key(record),
        heading=heading(record),
        url=thread_url("thread", record.thread_id, **back),
        is_stalled=thread_list.daemon.is_stalled(record),
        cannot_resume=USER_TURN not in str(record.resumable_start),
        is_unreadable=not str(record.history_start).lstrip().startswith("["),
        is_too_long=len(str(record.thread_id)) > settings.MAX_QUERY_LENGTH,
        error=_first_line(record.error_start),
        note=note_summary(str(record.note_start or "")),
        hits=[(hit, _hit_url(record, hit, back)) for hit in hits[:HITS_PER_THREAD]],
        more_hits=max(0, len(hits) - HITS_PER_THREAD),
    )


def _key(record: TaskRecord) -> str:
    """Return an HTML id for a row that is stable across polls and valid for any thread id."""
    identity = repr((record.thread_id, record.task_id is None))
    return f"thread-{blake2b(identity.encode(), digest_size=8).hexdigest()}"


def _hit_url(record: TaskRecord, hit: Hit, back: dict[str, str]) -> str:
    """Return the URL of the hit's message, which repeats the search, or of its step or thread."""
    if not hit.number:
        return thread_url("thread", record.thread_id, **back)
    if hit.role == STEP:
        url = thread_url("thread", record.thread_id, step=hit.number, **back)
        return f"{url}#step-{hit.number}"
    find = {"find": hit.match} if hit.role != UNREADABLE else {}
    url = thread_url("thread", record.thread_id, message=hit.number, **find, **back)
    return f"{url}#message-{hit.number}"


def _first_line(text: Any) -> str:
    return next((line.strip() for line in str(text or "").splitlines() if line.strip()), "")


@dataclass(frozen=True)
class State:
    name: str
    label: str
    count: str
    url: str
    is_current: bool


def _states(thread_list: ThreadList) -> list[State]:
    """Return a link for each state, with a count of its threads."""
    filters = thread_list.filters
    counts, are_complete = thread_list.counts()
    more = "" if are_complete else "+"
    return [
        State(
            name,
            label,
            f"{counts[name]:,}{more}" if name in counts else "",
            threads_url(filters.query_string(status=name)),
            filters.status == name,
        )
        for name, label in {"": "all", **STATES}.items()
    ]


@dataclass(frozen=True)
class Sort:
    name: str
    label: str
    direction: str  # "ascending", "descending", or "" if the list is sorted by another column
    url: str


def _sorts(filters: Filters) -> list[Sort]:
    """Return the sortable column headings; the current sort column's link reverses the order."""
    sorts = []
    for name, label in SORT_HEADINGS.items():
        direction = {name: "descending", f"-{name}": "ascending"}.get(filters.sort, "")
        query = filters.query_string(sort=f"-{name}" if filters.sort == name else name)
        sorts.append(Sort(name, label, direction, threads_url(query)))
    return sorts


def _page_links(
    filters: Filters, page: Page, after: Cursor | None, before: Cursor | None, place: int | None
) -> dict[str, str]:
    """Return the URLs of other pages. `place` is that of this page's first thread in the list."""
    first, last = (page.records[0], page.records[-1]) if page.records else (None, None)
    has_older = bool(before or page.has_more)
    has_newer = bool(after or (before and page.has_more))
    older = filters.cursor(last) if last and has_older else None
    newer = filters.cursor(first) if first and has_newer else None
    return {
        "older_url": _cursor_url(filters, "after", older, place and place + len(page.records)),
        "newer_url": _cursor_url(filters, "before", newer, place and place - THREADS_PER_PAGE),
        "continue_url": _cursor_url(filters, "before" if before else "after", page.stopped_at),
        "first_page_url": threads_url(filters.query_string()),
        "scan_progress": _scan_progress(filters, page.stopped_at),
    }


def _scan_progress(filters: Filters, stopped_at: Cursor | None) -> str:
    if stopped_at is None or filters.sort_column not in ("updated_at", "created_at"):
        return "Not all threads have been searched yet."
    return f"Searched up to {absolute(parse_stored(str(stopped_at.value)))}."


def _cursor_url(
    filters: Filters, name: str, cursor: Cursor | None, place: int | None = None
) -> str:
    if not cursor:
        return ""
    start = {"from": str(place)} if place and place > 1 else {}
    return threads_url(urlencode(filters.params() | cursor.params(name) | start))


def _form_context(filters: Filters) -> dict[str, Any]:
    return {
        "without_menu": _active_filters(filters, ("tool", "error", "returned")),
        "periods": PERIODS,
        "scopes": SEARCH_SCOPES,
        "orders": SORTS,
        "checks": CHECKS,
        "zone": time_zones.active_name(),
        "choices": [
            {
                "name": name,
                "current": (current := getattr(filters, name)),
                "values": sorted({*values[:MAX_CHOICES], current} - {""}),
            }
            for name, values in filter_values(MAX_CHOICE_LENGTH).items()
        ],
    }


def _active_filters(filters: Filters, names: Collection[str] = ()) -> list[dict[str, str]]:
    """Return the active filters, or those of some names, with URLs that remove them."""
    return [
        {"label": label, "text": text, "url": threads_url(filters.query_string(**{name: ""}))}
        for name, (label, text) in filters.labels().items()
        if name in names or not names
    ]
