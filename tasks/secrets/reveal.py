"""Reveal one thread's secrets to one session for ten minutes, after logging the reveal.

The session stores the revealed thread and the expiry time, so a reveal ends with its session. The
user's permission is checked again on every request.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from functools import wraps
from typing import Any

from django.contrib.admin.models import ADDITION, LogEntry
from django.db import Error, transaction
from django.db.models import F
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone

from archive.models import Reveal, digest
from tasks.engines import storable
from tasks.secrets import request_masking
from tasks.store import workspace

PERMISSION = "tasks.reveal_secrets"
DURATION = timedelta(minutes=10)
SESSION_KEY = "secrets"

View = Callable[..., HttpResponseBase]


def begin(request: HttpRequest, thread_id: str) -> None:
    """Reveal a thread's secrets to this session, ending the reveal of any other thread.

    If logging the reveal raises a database error, nothing is revealed.
    """
    user: Any = request.user
    now = timezone.now()
    with transaction.atomic():
        _record_end(request.session.get(SESSION_KEY), now)
        reveal = Reveal.objects.create(
            store=workspace.identity(),
            stored_id=thread_id.encode(),
            user=user,
            user_name=user.get_username(),
            address=request.META.get("REMOTE_ADDR", ""),
            at=now,
            until=now + DURATION,
        )
        LogEntry.objects.log_actions(user.pk, [reveal], ADDITION, single_object=True)
    until = reveal.until.isoformat()
    request.session[SESSION_KEY] = {"thread": _digest(thread_id), "until": until, "row": reveal.pk}


def end(request: HttpRequest, thread_id: str) -> None:
    """Hide the thread's secrets from this session again before the reveal expires."""
    entry = request.session.get(SESSION_KEY)
    if entry and entry["thread"] == _digest(thread_id):
        del request.session[SESSION_KEY]
        with suppress(Error):  # on failure, the log shows the planned end time
            _record_end(entry, timezone.now())


def end_at_sign_out(request: HttpRequest, **kwargs: Any) -> None:
    """Record that signing out ended the session's reveal (a `user_logged_out` receiver)."""
    with suppress(Error):  # a database error must not prevent signing out
        _record_end(request.session.get(SESSION_KEY), timezone.now())


def record_export(request: HttpRequest) -> None:
    """Add one to the number of exports made during the reveal, before the export is sent."""
    reveal = Reveal.objects.filter(pk=request.session[SESSION_KEY]["row"])
    reveal.update(exports=F("exports") + 1)


def revealed_until(request: HttpRequest, thread_id: str) -> datetime | None:
    """Return when the reveal of the thread ends, or None if its secrets are hidden."""
    entry = request.session.get(SESSION_KEY)
    if not entry or entry["thread"] != _digest(thread_id):
        return None
    if not request.user.has_perm(PERMISSION):
        return None
    until = datetime.fromisoformat(entry["until"])
    return until if timezone.now() < until else None


def lift_if_revealed(request: HttpRequest, thread_id: str) -> None:
    """Stop masking the response if the thread's secrets are revealed to the user."""
    until = revealed_until(request, thread_id)
    request.secrets_until = until  # type: ignore[attr-defined]
    if until:
        request_masking.lift()


def lifted_until(request: HttpRequest) -> datetime | None:
    """Return when the secrets in this response must be hidden again, or None if it shows none."""
    return getattr(request, "secrets_until", None)


def reload_when_over(view: View) -> View:
    """Make the decorated view's pages reload when the reveal of their secrets expires."""

    @wraps(view)
    def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response = view(request, *args, **kwargs)
        if until := lifted_until(request):
            seconds = int((until - timezone.now()).total_seconds())
            response.headers["Refresh"] = str(max(seconds, 0) + 1)
        return response

    return wrapper


def _digest(thread_id: str) -> str:
    """Return a digest of the store's identity and the thread's id as the database stores it."""
    stored_id = storable(thread_id, workspace.store_connection())
    return digest(f"{workspace.identity()}\0{stored_id}")


def _record_end(entry: dict[str, str] | None, now: datetime) -> None:
    if entry:
        current = Reveal.objects.filter(pk=entry["row"], hidden_at=None, until__gt=now)
        current.update(hidden_at=now)
