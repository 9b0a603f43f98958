"""How much heavy work one person may have done at once, so that the others are served as well."""

import threading
import time
import weakref
from collections.abc import Callable
from functools import wraps
from math import inf
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from tasks.views.errors import too_many

THREADS = 16  # of a server process; most of them wait: for a slow disk, or for the agent's lock
AT_ONCE = 4  # heavy requests of one person
RETRY_AFTER = 5  # seconds
LONGEST = 10 * 60  # seconds, after which one that was never closed counts no more

View = Callable[..., HttpResponseBase]


class Places:
    """Places that people take and give back: who has which, and since when.

    One may have `of_one`, all together `in_all`; after `longest` seconds a place is free again.
    """

    def __init__(
        self, of_one: int = AT_ONCE, in_all: float = inf, longest: float = LONGEST
    ) -> None:
        self.of_one, self.in_all, self.longest = of_one, in_all, longest
        self._lock = threading.RLock()  # a response may be collected while it is held
        self._taken: dict[Any, dict[object, float]] = {}

    def take(self, person: Any) -> Callable[[], None] | None:
        """What gives the place back, or None where there is none left."""
        now, place = time.monotonic(), object()
        with self._lock:
            self._forget_older_than(now - self.longest)
            taken = self._taken.get(person, {})
            if len(taken) >= self.of_one or sum(map(len, self._taken.values())) >= self.in_all:
                return None
            taken[place] = now
            self._taken[person] = taken  # not before: whoever is refused leaves nothing behind
        return lambda: self._give_back(person, place)

    def _forget_older_than(self, moment: float) -> None:
        kept = {
            person: {place: since for place, since in taken.items() if since >= moment}
            for person, taken in self._taken.items()
        }
        self._taken = {person: taken for person, taken in kept.items() if taken}

    def _give_back(self, person: Any, place: object) -> None:
        with self._lock:
            taken = self._taken.get(person, {})
            taken.pop(place, None)
            if not taken:
                self._taken.pop(person, None)


_places = Places()


def heavy_if(applies: Callable[[HttpRequest], bool]) -> Callable[[View], View]:
    """For a view whose requests may read much: 429 while a person has `AT_ONCE` of them under way.

    An answer that streams is under way until it is closed. Goes below the permission's decorator.
    """

    def decorator(view: View) -> View:
        @wraps(view)
        def bounded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not applies(request):
                return view(request, *args, **kwargs)
            give_back = _places.take(request.user.pk)
            if give_back is None:
                return too_many(request, RETRY_AFTER)
            return _answer(view, give_back, request, *args, **kwargs)

        return bounded

    return decorator


heavy = heavy_if(lambda request: True)


def _answer(
    view: View, give_back: Callable[[], None], *args: Any, **kwargs: Any
) -> HttpResponseBase:
    is_open = False
    try:
        response = view(*args, **kwargs)
        if is_open := response.streaming:
            response._resource_closers.append(give_back)  # type: ignore[attr-defined]
            weakref.finalize(response, give_back)  # of one that is dropped and never closed
        return response
    finally:
        if not is_open:
            give_back()
