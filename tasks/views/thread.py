"""One thread: its page, the pieces of it that come later, and its texts as they are stored."""

import hashlib
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.core.exceptions import BadRequest
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    QueryDict,
    StreamingHttpResponse,
)
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from tasks import large_values
from tasks.addresses import admin_task_url, thread_url
from tasks.fields import to_text
from tasks.listing.filters import Filters
from tasks.listing.thread_list import neighbours
from tasks.models import STORED_TEXTS, USER_TURN, TaskCheckpoint, TaskRecord, TaskStatus
from tasks.secrets import reveal
from tasks.store.daemon import daemon
from tasks.transcript.export import FORMATS
from tasks.transcript.history import Thread
from tasks.transcript.steps import UNREADABLE, build_outlines, last_attempt_seconds
from tasks.transcript.timeline import build_timeline
from tasks.transcript.titles import task_title
from tasks.views.common import can_view, mark_returned, shows_thread, tasks_of, the_task
from tasks.views.limits import limit_concurrency, limit_concurrency_if
from tasks.views.thread_tabs import LONGEST_COUNTED, TABS

MOST_TASKS = 50  # of a thread that its page lists
MOST_FAILURES = 8  # that the side of the page lists
PLAIN_TEXT = "text/plain; charset=utf-8"
ENTRY_QUERIES = {
    "transcript": "message",
    "checkpoints": "show=checkpoints&step",
    "resume": "show=resume&turn",
}


@require_safe
@shows_thread
@limit_concurrency_if(lambda request: bool(request.GET.get("find")))
def thread(request: HttpRequest) -> HttpResponse:
    """One thread: what is known of it, the timeline of its steps, and one of its tabs."""
    if "piece" in request.GET:
        return render(request, "tasks/thread/_piece.html", _piece_context(request))
    context = _page_context(request)
    context |= {"way": _way_back(request, context["record"]), "back": request.get_full_path()}
    return render(request, "tasks/thread/page.html", context)


@require_safe
@shows_thread
def live(request: HttpRequest) -> HttpResponse:
    """The parts of a thread's page that change while it runs; 304 where nothing has changed."""
    tag = _tag(request)
    if request.headers.get("If-None-Match") == tag:
        return HttpResponse(status=304, headers={"ETag": tag})
    response = render(request, "tasks/thread/_live.html", _page_context(request))
    response["ETag"] = tag
    return response


def _tag(request: HttpRequest) -> str:
    """An ETag of what a thread's page shows, made without reading anything large."""
    columns = ("task_id", "updated_at", "status", "checkpoint_count")
    tasks = list(tasks_of(request).only(*columns)[:MOST_TASKS])
    now = daemon()
    state = [[str(getattr(task, name)) for name in columns] for task in tasks]
    stalled = [now.is_stalled(task) for task in tasks]
    shown_until = reveal.revealed_until(request, request.GET["id"])
    seen = repr((_tab(request), stalled, state, shown_until)).encode("utf-8", "replace")
    return f'"{hashlib.sha256(seen).hexdigest()[:32]}"'


def _piece_context(request: HttpRequest) -> dict[str, Any]:
    """One tab's entries around the one that the address names."""
    record = the_task(request, tasks_of(request).for_page())
    mark_returned([record])
    shown = Thread(record)
    # not record.checkpoints: a spoilt row may have no id
    checkpoints = TaskCheckpoint.objects.filter(task_id=record.task_id)
    found = build_outlines(checkpoints.outline_rows(), record)
    tab = _tab(request)
    return TABS[tab](request, shown, found) | {
        "thread": shown,
        "record": record,
        "found": found,
        "tab": tab,
        "address": _address(request, record),
        "entry_query": ENTRY_QUERIES.get(tab),
        "direction": request.GET.get("piece"),
        "attempt_count": found[-1].attempt if found else 0,
    }


def _page_context(request: HttpRequest) -> dict[str, Any]:
    tag = _tag(request)  # before what it stands for is read: too old does no harm
    context = _piece_context(request)
    record, found, shown = context["record"], context["found"], context["thread"]
    tab, now = context["tab"], timezone.now()
    others = TaskRecord.objects.for_thread(record.thread_id).exclude(pk=record.pk)
    other_tasks = list(others.only("thread_id", "status", "updated_at")[:MOST_TASKS])
    failures = [step for step in found if step.failed]
    return context | {
        "title": task_title(record),
        "live_tag": tag,
        "latest_address": _latest_address(context),
        "step_address": _step_address(request),
        "kept_list": request.GET.get("list"),
        "live_address": _live_address(request, record, tab),
        "other_tasks": other_tasks,
        "chosen_task": "task" in request.GET,
        "is_latest": all(
            (to_text(other.updated_at), other.pk) < (to_text(record.updated_at), record.pk)
            for other in other_tasks[:1]
        ),
        "timeline": build_timeline(found, record, now, context.get("outlines", ())),
        "step_count": len(found),
        "attempt_seconds": last_attempt_seconds(found, record) if found else None,
        "error_has_lines": "\n" in str(record.error_start or "").strip(),
        "failures": failures[-MOST_FAILURES:],
        "failure_ids": [step.id for step in failures],
        "message_count": _message_count(shown, tab),
        "unreadable_steps": [step for step in found if step.outcome == UNREADABLE],
        "is_unreadable": _is_read(shown, tab) and bool(shown.problem) and not shown.is_too_large,
        "resumes": _resumes(shown, tab),
        "is_running": not TaskStatus.read(record.status).is_terminal,
        "is_stalled": daemon(now).is_stalled(record),
        "admin_address": admin_task_url(record.pk),
        "shown_until": reveal.lifted_until(request),
        "back": f"{context['address']}&show={tab}",
        "export_formats": [(name, found.label) for name, found in FORMATS.items()],
    }


def _latest_address(context: dict[str, Any]) -> str:
    """The address of the last message or step."""
    address, tab, found = context["address"], context["tab"], context["found"]
    if tab == "transcript":
        last = context["thread"].messages[-1:]
        return "".join(f"{address}&message={m.number}#message-{m.number}" for m in last)
    return "".join(f"{address}&step={step.id}#step-{step.id}" for step in found[-1:])


def _live_address(request: HttpRequest, record: TaskRecord, tab: str) -> str:
    return thread_url("thread-live", record.thread_id, show=tab, **_kept(request))


def _kept(request: HttpRequest) -> dict[str, str]:
    """What every address of a page keeps: the task that was chosen, and the list's filters."""
    return {name: request.GET[name] for name in ("task", "list") if name in request.GET}


def _step_address(request: HttpRequest) -> str:
    """What leads to a step once its number is put at the end; it keeps the list's filters."""
    kept = {"list": request.GET["list"]} if "list" in request.GET else {}
    return f"{reverse('step')}?{urlencode(kept | {'checkpoint': ''})}"


def _way_back(request: HttpRequest, record: TaskRecord) -> dict[str, str]:
    """The addresses of the list as it was left, and of the threads before and after in it."""
    try:
        filters = Filters.parse(QueryDict(request.GET.get("list", "")))
    except BadRequest:
        filters = Filters()
    query = filters.query_string()
    kept = {"list": query} if query else {}
    found = dict(zip(("previous", "next"), neighbours(filters, record), strict=True))
    beside = {
        name: thread_url("thread", thread_id, **kept)
        for name, thread_id in found.items()
        if thread_id is not None
    }
    return {"list": f"{reverse('threads')}?{query}" if query else reverse("threads"), **beside}


def _message_count(shown: Thread, tab: str) -> int | None:
    """How many messages there are; None where that would mean to read many megabytes."""
    return len(shown.messages) if _is_read(shown, tab) and not shown.problem else None


def _is_read(shown: Thread, tab: str) -> bool:
    return shown.length <= LONGEST_COUNTED or tab == "transcript"


def _resumes(shown: Thread, tab: str) -> dict[str, Any]:
    """Whether the agent can resume, with how many turns if that is known, and what is wrong."""
    is_long = shown.resumable_length > LONGEST_COUNTED
    if shown.is_resume_too_large or (is_long and tab != "resume"):
        return {"can": USER_TURN in str(shown.record.resumable_start)}  # type: ignore[attr-defined]
    count = len(shown.resumable_turns)
    return {"can": count > 0, "count": count, "problem": shown.resume_problem}


def _tab(request: HttpRequest) -> str:
    asked = request.GET.get("show", "")
    if asked in TABS:
        return asked
    return "checkpoints" if "step" in request.GET else "transcript"


def _address(request: HttpRequest, record: TaskRecord) -> str:
    """The address of this page, for a tab or a piece to be added; it keeps to a chosen task."""
    return thread_url("thread", record.thread_id, **_kept(request))


@require_safe
@can_view
def step(request: HttpRequest) -> HttpResponse:
    """The way from a checkpoint's number to its place on its thread's page.

    A page with many steps links to them by way of this, as an id may be thousands of bytes long.
    """
    number = _checkpoint_number(request)
    names = TaskCheckpoint.objects.filter(pk=number).values_list("task__thread_id", "task_id")
    for thread_id, task_id in names:
        several = TaskRecord.objects.for_thread(thread_id).exclude(pk=task_id).exists()
        chosen = {"task": task_id} if several else {}
        kept = {"list": request.GET.get("list")}
        address = thread_url("thread", thread_id, **chosen, **kept, step=number)
        # no redirect proper: that refuses an address over 16,384 characters
        return HttpResponse(status=302, headers={"Location": f"{address}#step-{number}"})
    raise Http404(f"There is no checkpoint {number}.")


@require_safe
@shows_thread
@limit_concurrency
def message(request: HttpRequest) -> HttpResponseBase:
    """One message of a thread as plain text, whole."""
    number = request.GET.get("message", "")
    if not number:
        return _stored_text(request)
    shown = Thread(the_task(request, tasks_of(request).for_list()))
    if shown.is_too_large:
        raise Http404(f"The history cannot be read: {shown.problem}.")
    for entry in shown.messages:
        if str(entry.number) == number:
            return _plain_text(entry.text.whole)
    raise Http404(f"The thread has no message {number}.")


@require_safe
@shows_thread
@limit_concurrency
def raw(request: HttpRequest) -> HttpResponseBase:
    """One text of a task, whole and as stored; its history if the address names none."""
    return _stored_text(request)


def _stored_text(request: HttpRequest) -> HttpResponseBase:
    column = request.GET.get("text", STORED_TEXTS[0])
    if column not in STORED_TEXTS:
        raise BadRequest(f"A task stores no text “{column[:200]}”.")
    record = the_task(request, tasks_of(request).with_beginnings(text=(column, 1)))
    if (record.text_length or 0) > settings.MAX_HISTORY_SIZE:  # type: ignore[attr-defined]
        pieces = large_values.stream(record, column)
        return StreamingHttpResponse(pieces, content_type=PLAIN_TEXT)
    text = getattr(record, column)
    return _plain_text("" if text is None else str(text))


@require_safe
@shows_thread
@limit_concurrency
def checkpoint(request: HttpRequest) -> HttpResponse:
    """The items of one checkpoint, as stored."""
    number = _checkpoint_number(request)
    found = TaskCheckpoint.objects.filter(pk=number)
    for items, thread_id in found.values_list("items_json", "task__thread_id"):
        reveal.lift_if_revealed(request, str(thread_id))
        return _plain_text(str(items))
    raise Http404(f"There is no checkpoint {number}.")


def _checkpoint_number(request: HttpRequest) -> int:
    number = request.GET.get("checkpoint", "")
    if not (number.isascii() and number.isdecimal() and len(number) <= 18):
        raise BadRequest(f"“{number[:200]}” is no checkpoint number.")
    return int(number)


def _plain_text(text: str) -> HttpResponse:
    return HttpResponse(text, content_type=PLAIN_TEXT)
