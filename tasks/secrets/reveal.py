"""Showing the secrets of a thread: one thread, to one session, for ten minutes, on record.

What is shown, and until when, is kept in the session, so it ends with it. Whether the person may
see it is asked again each time.
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

from archive.models import Reveal, key_of
from tasks.fields import storable
from tasks.secrets import request_masking
from tasks.store import workspace

PERMISSION = "tasks.reveal_secrets"
FOR = timedelta(minutes=10)
KEPT = "secrets"  # in the session

View = Callable[..., HttpResponseBase]


def begin(request: HttpRequest, thread_id: str) -> None:
    """Show a thread's secrets from now on, in place of another's that were shown.

    It is written down first. What the database raises is raised, and then nothing is shown.
    """
    user: Any = request.user
    now = timezone.now()
    with transaction.atomic():
        _write_end(request.session.get(KEPT), now)
        row = Reveal.objects.create(
            store=workspace.identity(),
            stored_id=thread_id.encode(),
            user=user,
            user_name=user.get_username(),
            address=request.META.get("REMOTE_ADDR", ""),
            at=now,
            until=now + FOR,
        )
        LogEntry.objects.log_actions(user.pk, [row], ADDITION, single_object=True)
    until = row.until.isoformat()
    request.session[KEPT] = {"thread": _digest(thread_id), "until": until, "row": row.pk}


def end(request: HttpRequest, thread_id: str) -> None:
    """Hide a thread's secrets before their time is over."""
    kept = request.session.get(KEPT)
    if kept and kept["thread"] == _digest(thread_id):
        del request.session[KEPT]
        with suppress(Error):  # the record then says the full time; hidden they are in any case
            _write_end(kept, timezone.now())


def end_at_sign_out(request: HttpRequest, **kwargs: Any) -> None:
    """Write down that the session ends, and with it what is shown."""
    with suppress(Error):  # nobody is to stay signed in for that
        _write_end(request.session.get(KEPT), timezone.now())


def write_export(request: HttpRequest) -> None:
    """Write down that a file with the secrets is taken, before it is."""
    row = Reveal.objects.filter(pk=request.session[KEPT]["row"])
    row.update(exports=F("exports") + 1)


def until(request: HttpRequest, thread_id: str) -> datetime | None:
    """Until when this person sees the secrets of this thread; None where they are hidden."""
    kept = request.session.get(KEPT)
    if not kept or kept["thread"] != _digest(thread_id) or not request.user.has_perm(PERMISSION):
        return None
    over = datetime.fromisoformat(kept["until"])
    return over if timezone.now() < over else None


def lift_if_shown(request: HttpRequest, thread_id: str) -> None:
    """Let the answer hold the secrets of this thread, if this person is to see them."""
    over = until(request, thread_id)
    request.secrets_until = over  # type: ignore[attr-defined]
    if over:
        request_masking.lift()


def lifted_until(request: HttpRequest) -> datetime | None:
    """Until when the secrets that the answer holds may be seen; None where it holds none."""
    return getattr(request, "secrets_until", None)


def reloaded_when_over(view: View) -> View:
    """For a view: an answer with secrets that is left open is loaded again when time is up."""

    @wraps(view)
    def timed(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response = view(request, *args, **kwargs)
        if over := lifted_until(request):
            seconds = int((over - timezone.now()).total_seconds())
            response.headers["Refresh"] = str(max(seconds, 0) + 1)
        return response

    return timed


def _digest(thread_id: str) -> str:
    """Of the thread in this store, under whichever of its names an address has it."""
    stored = storable(thread_id, workspace.store_connection().vendor)
    return key_of(f"{workspace.identity()}\0{stored}")


def _write_end(kept: dict[str, str] | None, now: datetime) -> None:
    if kept:
        Reveal.objects.filter(pk=kept["row"], hidden_at=None, until__gt=now).update(hidden_at=now)
