"""The list of threads."""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.core.exceptions import BadRequest
from django.db.models.functions import Left
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from tasks.addresses import thread_url
from tasks.fields import read_stored
from tasks.listing import change_token
from tasks.listing.filters import Cursor, Filters
from tasks.listing.forms import PERIODS, PLACES, SORTS, STATES
from tasks.listing.thread_list import COUNTED, Page, ThreadList
from tasks.models import USER_TURN, TaskRecord
from tasks.store.daemon import daemon
from tasks.templatetags.threads import absolute
from tasks.transcript.search import UNREADABLE, Hit
from tasks.transcript.titles import note_summary, task_title
from tasks.views.common import can_view, mark_returned, may_clear
from tasks.views.limits import limit_concurrency_if

THREADS_PER_PAGE = 50
CHOICES_FROM = 1_000  # of the newest tasks, whose channels and models are offered
CHOICES_SHOWN = 50
HITS_SHOWN = 2  # of one thread
LONGEST_CHOICE = 200  # characters of a channel, provider or model that is offered
LONGEST_PLACE = 2_000  # of what is stored, for an address to go on from there


def _searches_messages(request: HttpRequest) -> bool:
    return bool(request.GET.get("q")) and request.GET.get("where") != "ids"


@require_safe
@can_view
@limit_concurrency_if(_searches_messages)
def threads(request: HttpRequest) -> HttpResponse:
    """The threads that pass the filters, a page at a time; to a poll, what is new or nothing."""
    now = daemon()
    version = change_token.version(now)
    if request.GET.get("seen") == version:
        return HttpResponse(status=204)
    shown = ThreadList(Filters.of(request.GET), now)
    context = _list(request, shown) | {"version": version, "daemon": now}
    if "seen" in request.GET:
        return render(request, "tasks/threads/_list.html", context | {"is_poll": True})
    return render(request, "tasks/threads/page.html", context | _form(shown.filters))


def _list(request: HttpRequest, shown: ThreadList) -> dict[str, Any]:
    """What the part of the page shows that is fetched anew when something changes."""
    after, before = _cursor(request.GET, "after"), _cursor(request.GET, "before")
    page = shown.page(THREADS_PER_PAGE, after, before)
    if before and not page.has_more and not page.stopped:
        after = before = None  # there is no whole page before: it is the first
        page = shown.page(THREADS_PER_PAGE)
    mark_returned(page.records)
    query = shown.filters.query()
    return {
        "may_clear": may_clear(request),
        "filters": shown.filters,
        "query": query,
        "rows": [_row(record, page, shown, query) for record in page.records],
        "states": _states(shown),
        "chosen": _chosen(shown.filters),
        "too_large": page.too_large,
        "sorts": _sorts(shown.filters),
        "is_first": not after and not before,
        "is_live": shown.filters.is_live and not after and not before,
        "is_empty": not page.records and not query and not TaskRecord.objects.exists(),
        **_links(shown.filters, page, after, before),
    }


@dataclass(frozen=True)
class Row:
    """A thread of the list, and what is said of it beside what is stored."""

    record: TaskRecord
    key: str
    title: str
    url: str
    is_stalled: bool
    cannot_resume: bool
    is_unreadable: bool
    is_too_long: bool  # its id, for an address and so for a form
    reason: str
    note: str
    hits: list[tuple[Hit, str]]
    more_hits: int


def _row(record: Any, page: Page, shown: ThreadList, query: str) -> Row:
    found = page.hits.get(record.task_id, [])
    hits = sorted(found, key=lambda hit: hit.role == "system")  # every thread begins with that
    back = {"list": query} if query else {}
    return Row(
        record=record,
        key=_key(record),
        title=task_title(record),
        url=thread_url("thread", record.thread_id, **back),
        is_stalled=shown.daemon.is_stalled(record),
        cannot_resume=USER_TURN not in str(record.resumable_start),
        is_unreadable=not str(record.history_start).lstrip().startswith("["),
        is_too_long=len(str(record.thread_id)) > settings.MAX_QUERY_LENGTH,
        reason=_first_line(record.error_start),
        note=note_summary(str(record.note_start or "")),
        hits=[(hit, _message_url(record, hit, shown.filters.q, back)) for hit in hits[:HITS_SHOWN]],
        more_hits=max(0, len(hits) - HITS_SHOWN),
    )


def _key(record: TaskRecord) -> str:
    """An id in the page that stays when the list changes. One of the thread may hold anything."""
    told_apart = repr((record.thread_id, record.task_id is None))
    return f"thread-{blake2b(told_apart.encode(), digest_size=8).hexdigest()}"


def _message_url(record: TaskRecord, hit: Hit, query: str, back: dict[str, str]) -> str:
    """Where the message is, with the text found; a history that cannot be read is not looked in."""
    sought = {"find": query} if hit.role != UNREADABLE else {}
    url = thread_url("thread", record.thread_id, message=hit.number, **sought, **back)
    return f"{url}#message-{hit.number}"


def _first_line(text: Any) -> str:
    return next((line.strip() for line in str(text or "").splitlines() if line.strip()), "")


def _states(shown: ThreadList) -> list[dict[str, Any]]:
    """The chips of states with how many threads each has, if that can be said at little cost."""
    filters = shown.filters
    counts = {} if filters.q or filters.resume else shown.counts()
    return [
        {
            "name": name,
            "label": label,
            "count": _bounded(counts.get(name)),
            "url": _address(filters.query(status=name)),
            "is_current": filters.status == name,
        }
        for name, label in {"": "all", **STATES}.items()
    ]


def _bounded(count: int | None) -> str:
    if count is None:
        return ""
    return f"{COUNTED}+" if count > COUNTED else str(count)


def _sorts(filters: Filters) -> list[dict[str, str]]:
    """The columns that order the list; that of the present order turns it round."""
    names = {"steps": "Steps", "activity": "Active", "age": "Age"}
    return [
        {
            "name": name,
            "label": label,
            "direction": _direction(filters.sort, name),
            "url": _address(filters.query(sort=f"-{name}" if filters.sort == name else name)),
        }
        for name, label in names.items()
    ]


def _direction(sort: str, name: str) -> str:
    if sort.removeprefix("-") != name:
        return ""
    return "descending" if sort == name else "ascending"


def _links(
    filters: Filters, page: Page, after: Cursor | None, before: Cursor | None
) -> dict[str, str]:
    """Where the list goes on in both directions."""
    first, last = (page.records[0], page.records[-1]) if page.records else (None, None)
    goes_on = bool(before or page.has_more)
    goes_back = bool(after or (before and page.has_more))
    return {
        "older": _page_url(filters, "after", filters.cursor(last)) if last and goes_on else "",
        "newer": _page_url(filters, "before", filters.cursor(first)) if first and goes_back else "",
        "further": _page_url(filters, "before" if before else "after", page.stopped),
        "newest": _address(filters.query()),
        "looked_back": _looked_back(filters, page.stopped),
    }


def _looked_back(filters: Filters, stopped: Cursor | None) -> str:
    if stopped is None or filters.column == "checkpoint_count":
        return "Not all threads were looked at."
    return f"Searched as far as {absolute(read_stored(str(stopped.value)))}."


def _page_url(filters: Filters, key: str, cursor: Cursor | None) -> str:
    if cursor is None:
        return ""
    # one that is longer is cut: rows with the same beginning are then passed by, or listed again
    texts = {key: str(cursor.value), "task": str(cursor.task_id)}
    place = {name: text[:LONGEST_PLACE] for name, text in texts.items()}
    return _address(urlencode(filters.asked() | place))


def _address(query: str) -> str:
    return f"{reverse('threads')}?{query}" if query else reverse("threads")


def _cursor(query: QueryDict, key: str) -> Cursor | None:
    if key not in query:
        return None
    value, task_id = str(query[key]), str(query.get("task", ""))
    if query.get("sort", "").removeprefix("-") != "steps":
        return Cursor(value, task_id)
    digits = value.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 18):
        raise BadRequest(f"“{key}” in the address is not right: it must be a number of steps.")
    return Cursor(int(value), task_id)


def _form(filters: Filters) -> dict[str, Any]:
    """What the form offers."""
    return {
        "periods": PERIODS,
        "places": PLACES,
        "orders": SORTS,
        "choices": _choices(filters),
    }


def _choices(filters: Filters) -> list[dict[str, Any]]:
    """The channels, providers and models of the newest tasks, and the one that is asked for."""
    names = ("channel", "provider", "model")
    starts = (Left(name, LONGEST_CHOICE + 1) for name in names)
    newest = TaskRecord.objects.newest_first().values_list(*starts)[:CHOICES_FROM]
    columns = [
        {str(value) for value in column if len(str(value)) <= LONGEST_CHOICE}
        for column in zip(*newest, strict=True)
    ] or [set(), set(), set()]
    return [
        {
            "name": name,
            "current": (current := getattr(filters, name)),
            "values": sorted({*sorted(column)[:CHOICES_SHOWN], current} - {""}),
        }
        for name, column in zip(names, columns, strict=True)
    ]


def _chosen(filters: Filters) -> list[dict[str, str]]:
    """What is asked for, each with the address of the list without it."""
    asked = filters.asked()
    texts = {
        "status": STATES.get(filters.status, ""),
        "period": PERIODS.get(filters.period, ""),
        "start": f"from {asked.get('start', '').replace('T', ' ')} UTC",
        "end": f"until {asked.get('end', '').replace('T', ' ')} UTC",
        "resume": "cannot resume",
        "q": f"“{filters.q}”" + (f" {PLACES[filters.where]}" if filters.where else ""),
    }
    for name in ("channel", "provider", "model"):
        texts[name] = f"{name} {asked.get(name, '')}"
    return [
        {"text": text, "url": _address(filters.query(**{name: ""}))}
        for name, text in texts.items()
        if name in asked
    ]
