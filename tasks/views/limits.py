"""Limits each user's concurrent heavy requests, so that other users are still served."""

import threading
import time
import weakref
from collections.abc import Callable
from functools import wraps
from math import inf
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from tasks.views.errors import too_many_requests

SERVER_THREADS = 16  # per process; many threads may be waiting for a slow disk or the agent's lock
SLOTS_PER_USER = 4
SLOT_LIFETIME = 10 * 60  # seconds after which a slot is freed even if its response was never closed
RETRY_AFTER = 5  # seconds
ANSWER_ELSEWHERE = "gloamy.answer_elsewhere"  # key in the WSGI environment

View = Callable[..., HttpResponseBase]


class RequestSlots:
    """A concurrency limit with `per_key` slots for each key and `total` slots for all keys.

    A slot that is never released expires after `lifetime` seconds.
    """

    def __init__(
        self, per_key: int = SLOTS_PER_USER, total: float = inf, lifetime: float = SLOT_LIFETIME
    ) -> None:
        self.per_key, self.total, self.lifetime = per_key, total, lifetime
        self._lock = threading.RLock()  # reentrant because garbage collection may release slots
        self._held: dict[object, tuple[Any, float]] = {}

    def acquire(self, key: Any) -> Callable[[], None] | None:
        """Take a slot and return a function that releases it, or return None if no slot is free."""
        slot, now = object(), time.monotonic()
        with self._lock:
            for other, (_, since) in self._held.copy().items():
                if since < now - self.lifetime:
                    self._held.pop(other, None)
            keys = [holder for holder, _ in self._held.copy().values()]
            if keys.count(key) >= self.per_key or len(keys) >= self.total:
                return None
            self._held[slot] = key, now
        return lambda: self._release(slot)

    def _release(self, slot: object) -> None:
        with self._lock:
            self._held.pop(slot, None)


_slots = RequestSlots()


def limit_concurrency_if(is_heavy: Callable[[HttpRequest], bool]) -> Callable[[View], View]:
    """Make a view respond with 429 while its user has `SLOTS_PER_USER` heavy requests running.

    A streaming response counts until it is closed. Apply this decorator below the permission check.
    If the server has a function that answers heavy requests elsewhere, it replaces the view.
    """

    def decorator(view: View) -> View:
        @wraps(view)
        def limited(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not is_heavy(request):
                return view(request, *args, **kwargs)
            release = _slots.acquire(request.user.pk)
            if release is None:
                return too_many_requests(request, RETRY_AFTER)
            if answer := request.META.get(ANSWER_ELSEWHERE):
                return _respond(answer, release, request)
            return _respond(view, release, request, *args, **kwargs)

        return limited

    return decorator


limit_concurrency = limit_concurrency_if(lambda request: True)


def _respond(
    view: View, release: Callable[[], None], *args: Any, **kwargs: Any
) -> HttpResponseBase:
    is_open = False
    try:
        response = view(*args, **kwargs)
        if is_open := response.streaming:
            response._resource_closers.append(release)  # type: ignore[attr-defined]
            weakref.finalize(response, release)  # in case the response is never closed
        return response
    finally:
        if not is_open:
            release()
