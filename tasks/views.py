"""The pages. Reads are QuerySet methods; whatever writes goes through `tasks.service`."""

from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import authenticate, login
from django.contrib.auth.decorators import login_not_required, permission_required
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView
from django.core.exceptions import BadRequest
from django.core.paginator import Page, Paginator
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods, require_safe
from sesame.utils import get_user

from tasks import service, transcript
from tasks.fields import to_text
from tasks.models import TaskCheckpoint, TaskRecord, TaskStatus
from tasks.templatetags.threads import shown_id

THREADS_PER_PAGE = 50
MESSAGES_PER_PAGE = 200
STEPS_PER_PAGE = 100

can_view = permission_required("tasks.view_taskrecord", raise_exception=True)
can_clear = permission_required("tasks.clear_thread", raise_exception=True)


@require_safe
@can_view
def threads(request: HttpRequest) -> HttpResponse:
    """The threads, newest first, a page at a time."""
    rows = TaskRecord.objects.latest_of_thread().newest_first().for_list()
    if before := request.GET.get("before"):
        rows = rows.before(before, request.GET.get("task", ""))
    found = list(rows[: THREADS_PER_PAGE + 1])
    shown = found[:THREADS_PER_PAGE]
    for record in shown:
        record.title = transcript.title(record)  # type: ignore[attr-defined]
    older = ""
    if len(found) > THREADS_PER_PAGE:
        last = shown[-1]
        older = urlencode({"before": to_text(last.updated_at), "task": last.task_id})
    return render(
        request, "tasks/threads.html", {"threads": shown, "older": older, "is_first": not before}
    )


@require_safe
@can_view
def thread(request: HttpRequest) -> HttpResponse:
    """One thread: what is known of it, its messages, and its steps with their items."""
    record = _latest_task(request)
    shown = transcript.Thread(record)
    checkpoints = TaskCheckpoint.objects.filter(task_id=record.task_id).in_order_taken()
    attempts = transcript.attempts(checkpoints.values_list("id", "step_index"))
    step_page = _page(request, "steps", checkpoints, STEPS_PER_PAGE)
    context = {
        "thread": shown,
        "record": record,
        "other_tasks": TaskRecord.objects.of_thread(record.thread_id)
        .exclude(pk=record.pk)
        .without_histories(),
        "message_page": _page(request, "messages", shown.messages, MESSAGES_PER_PAGE),
        "step_page": step_page,
        "steps": transcript.steps(step_page, attempts),
        "attempt_count": len(set(attempts.values())),
        "show": "steps" if "steps" in request.GET else "messages",
    }
    return render(request, "tasks/thread.html", context)


@require_safe
@can_view
def message(request: HttpRequest) -> HttpResponse:
    """One message of a thread as plain text, whole."""
    record = _latest_task(request)
    number = request.GET.get("message", "")
    shown = transcript.Thread(record)
    if not number:
        return _plain_text(shown.raw.whole)
    for entry in shown.messages:
        if str(entry.number) == number:
            return _plain_text(entry.text.whole)
    raise Http404(f"The thread has no message {number}.")


@require_safe
@can_view
def checkpoint(request: HttpRequest) -> HttpResponse:
    """The items of one checkpoint, exactly as stored."""
    number = request.GET.get("checkpoint", "")
    if not (number.isascii() and number.isdecimal() and len(number) <= 18):
        raise BadRequest(f"“{number}” is no checkpoint number.")
    found = TaskCheckpoint.objects.filter(pk=number).first()
    if found is None:
        raise Http404(f"There is no checkpoint {number}.")
    return _plain_text(str(found.items_json))


@require_http_methods(["GET", "HEAD", "POST"])
@can_view
@can_clear
def clear(request: HttpRequest) -> HttpResponse:
    """Clear a thread: ask first, then delete all its tasks with their checkpoints."""
    thread_id = _thread_id(request)
    tasks = TaskRecord.objects.of_thread(thread_id).without_histories()
    if not tasks:
        raise _no_such_thread(thread_id)
    if request.method == "POST" and _cleared(request, thread_id):
        return redirect("threads")
    context = {
        "thread_id": thread_id,
        "tasks": tasks,
        "checkpoint_count": TaskCheckpoint.objects.of_thread(thread_id).count(),
        "is_running": any(not TaskStatus.read(task.status).is_terminal for task in tasks),
    }
    return render(request, "tasks/clear.html", context)


def _cleared(request: HttpRequest, thread_id: str) -> bool:
    """Whether the thread was cleared; either way the person is told."""
    try:
        service.delete_by_thread_id(thread_id)
    except OperationalError as error:
        reason = "The store is read-only" if settings.TASKS_READ_ONLY else error
        messages.error(request, f"Nothing was cleared: {reason}.")
        return False
    messages.success(request, f"Cleared {shown_id(thread_id)[:200]}.")
    return True


class SignInView(LoginView):
    """Sign in with a password, and go on to the page that was wanted."""

    template_name = "tasks/sign_in.html"
    redirect_authenticated_user = True

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        wanted = self.request.session.pop("next", None)
        response = super().form_valid(form)
        if wanted is None:
            return response
        # our own, and so to be trusted; a redirect proper refuses an address over 16,384 characters
        return HttpResponse(status=302, headers={"Location": wanted})


@login_not_required
@never_cache
@sensitive_post_parameters("token")
@sensitive_variables("token")
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in_with_link(request: HttpRequest) -> HttpResponse:
    """Sign in with a one-time link. Only the POST uses it up, so a link preview does no harm."""
    if request.method == "POST":
        user = authenticate(request, sesame=request.POST.get("token", ""))
        if user is not None:
            login(request, user)
            return redirect("threads")
        return render(request, "tasks/sign_in_link.html", {"user_found": None}, status=403)
    token = request.GET.get("token", "")
    user_found = get_user(token, update_last_login=False)
    return render(
        request,
        "tasks/sign_in_link.html",
        {"token": token, "user_found": user_found},
        status=200 if user_found else 403,
    )


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    reason = str(exception) if isinstance(exception, BadRequest) else "It could not be understood."
    return _error(request, 400, "This request is not right", reason)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _error(request, 403, "You may not do this", "Ask an administrator for the permission.")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    known = exception.args and isinstance(exception.args[0], str)
    reason = exception.args[0] if known else "There is no such page."
    return _error(request, 404, "Not found", reason)


def unavailable(request: HttpRequest, reason: str) -> HttpResponse:
    return _error(request, 503, "The store is not available", f"{reason} Try again in a moment.")


@login_not_required
def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return _error(
        request,
        403,
        "This form has expired",
        "Go back, load the page again, and send it once more.",
    )


def _error(request: HttpRequest, status: int, heading: str, reason: str) -> HttpResponse:
    context = {"status": status, "heading": heading, "reason": reason}
    return render(request, "error.html", context, status=status)


def _thread_id(request: HttpRequest) -> str:
    """The id of the address, which may be empty but must be there."""
    if "id" not in request.GET:
        raise BadRequest("The address names no thread: it needs “?id=…”.")
    return request.GET["id"]


def _latest_task(request: HttpRequest) -> TaskRecord:
    """The task that the thread of the address shows."""
    thread_id = _thread_id(request)
    record = TaskRecord.objects.of_thread(thread_id).first()
    if record is None:
        raise _no_such_thread(thread_id)
    return record


def _no_such_thread(thread_id: str) -> Http404:
    return Http404(f"There is no thread “{thread_id[:200]}”. It may have been cleared.")


def _page(request: HttpRequest, parameter: str, rows: Any, size: int) -> Page[Any]:
    return Paginator(rows, size).get_page(request.GET.get(parameter))


def _plain_text(text: str) -> HttpResponse:
    return HttpResponse(text, content_type="text/plain; charset=utf-8")
