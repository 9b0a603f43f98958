"""The page of what agents did."""

from typing import Any
from urllib.parse import urlencode

from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from tasks.addresses import parse_number, thread_url
from tasks.index import following
from tasks.index.models import IndexedCall, IndexedTask
from tasks.insights.actions import Action, Cursor, Selected
from tasks.transcript.actions import KINDS
from tasks.views.common import can_view

ACTIONS_PER_PAGE = 200
MAX_CHOICES, MAX_CHOICE_LENGTH = 50, 200  # limits for the menu of tools


@require_safe
@can_view
def actions(request: HttpRequest) -> HttpResponse:
    """List the tool calls of a thread in order, or those of all threads, newest first."""
    selected, cursor = _parse(request)
    following.catch_up()
    following.catch_up_texts(following.BUILD_SECONDS)
    rows, next_cursor = selected.page(ACTIONS_PER_PAGE, cursor)
    params = _params(selected)
    figures = selected.by_tool() if selected.thread_id else []
    context: dict[str, Any] = {
        "selected": selected,
        "rows": [(action, _links(action, selected)) for action in rows],
        "kinds": _kinds(selected, params),
        "figures": figures,
        "tools": _tools(selected, [row["tool"] for row in figures]),
        "next_url": next_cursor and _url(params | _cursor_params(next_cursor)),
        "unread": _unread(selected),
        "is_later_page": cursor is not None,
    }
    if selected.thread_id:
        context["thread_url"] = thread_url("thread", selected.thread_id)
    return render(request, "tasks/insights/actions.html", context)


def _parse(request: HttpRequest) -> tuple[Selected, Cursor | None]:
    query = request.GET
    kind, place = query.get("kind", ""), query.get("place", "")
    if kind not in ("", *KINDS):
        raise BadRequest(f"Invalid “kind” in the URL: it must be one of {', '.join(KINDS)}.")
    if place and parse_number(place) is None:
        raise BadRequest("Invalid “place” in the URL: it must be a whole number.")
    failed = query.get("failed") == "1"
    selected = Selected(query.get("id", ""), kind, query.get("tool", ""), failed)
    return selected, (query.get("time", ""), int(place)) if place else None


def _params(selected: Selected) -> dict[str, str]:
    params = {"id": selected.thread_id, "kind": selected.kind, "tool": selected.tool}
    params["failed"] = "1" if selected.only_failed else ""
    return {name: value for name, value in params.items() if value}


def _cursor_params(cursor: Cursor) -> dict[str, str]:
    return {"time": cursor[0], "place": str(cursor[1])}


def _url(params: dict[str, str]) -> str:
    query = urlencode(params)
    return f"{reverse('actions')}?{query}" if query else reverse("actions")


def _kinds(selected: Selected, params: dict[str, str]) -> list[dict[str, Any]]:
    """Return a link for each kind, with a count if it is about one thread."""
    counts = selected.by_kind() if selected.thread_id else None
    others = {name: value for name, value in params.items() if name != "kind"}
    links = [{"label": "all", "url": _url(others), "is_on": not selected.kind}]
    for kind, label in KINDS.items():
        if counts is None or kind in counts or kind == selected.kind:
            link = {"label": label, "url": _url(others | {"kind": kind})}
            links.append(link | {"is_on": kind == selected.kind, "count": (counts or {}).get(kind)})
    return links


def _tools(selected: Selected, of_thread: list[str]) -> list[str]:
    """Return the choices of the menu of tools."""
    tools = of_thread if selected.thread_id else IndexedCall.objects.tools()
    short = [tool for tool in tools if 0 < len(tool) <= MAX_CHOICE_LENGTH][:MAX_CHOICES]
    return sorted({*short, selected.tool} - {""})


def _links(action: Action, selected: Selected) -> dict[str, str]:
    step = f"{reverse('step')}?{urlencode({'checkpoint': action.call.checkpoint})}"
    if selected.thread_id:
        return {"step": step}
    return {"step": step, "thread": thread_url("thread", action.task.thread_id)}


def _unread(selected: Selected) -> int:
    """Return how many of the threads have calls that are not in the index yet."""
    rows = IndexedTask.objects.latest().filter(has_texts=False)
    return (rows.filter(thread_id=selected.thread_id) if selected.thread_id else rows).count()
