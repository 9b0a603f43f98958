"""Heavy work: few at once for one person, and the place is given back however it ends."""

import gc
import time
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.core.signals import request_finished
from django.db import close_old_connections
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import Client, RequestFactory

from tasks.views import limits
from tests.factories import checkpoint, task

pytestmark = pytest.mark.django_db(databases="__all__")


def request_of(number: int) -> HttpRequest:
    request = RequestFactory().get("/")
    request.user = User(pk=number)
    return request


def streaming(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(iter([b"a", b"b"]))


def opened(view: Callable, times: int, person: int = 1) -> list:
    return [limits.heavy(view)(request_of(person)) for _ in range(times)]


def test_one_too_many_is_told_to_wait():
    *kept, last, refused = opened(streaming, limits.AT_ONCE + 1)

    assert (len(kept), last.status_code, refused.status_code) == (limits.AT_ONCE - 1, 200, 429)
    assert refused["Retry-After"] == "5"
    assert "Try again in 5 seconds" in refused.content.decode()


def test_another_person_is_served():
    kept = opened(streaming, limits.AT_ONCE)

    assert opened(streaming, 1, person=2)[0].status_code == 200
    assert len(kept) == limits.AT_ONCE


def test_stream_gives_its_place_back_when_it_is_closed():
    first, *others = opened(streaming, limits.AT_ONCE)
    list(first)
    assert opened(streaming, 1)[0].status_code == 429

    request_finished.disconnect(close_old_connections)  # which are the test's
    first.close()
    request_finished.connect(close_old_connections)

    assert [each.status_code for each in opened(streaming, 2)] == [200, 429]
    assert len(others) == limits.AT_ONCE - 1


def test_stream_that_is_dropped_gives_its_place_back(places: limits.Places):
    opened(streaming, limits.AT_ONCE)
    gc.collect()

    assert places._taken == {}


def test_page_gives_its_place_back_at_once(places: limits.Places):
    answers = opened(lambda request: HttpResponse("x"), limits.AT_ONCE * 2)

    assert {answer.status_code for answer in answers} == {200}
    assert places._taken == {}


def test_failure_gives_its_place_back(places: limits.Places):
    for _ in range(limits.AT_ONCE * 2):
        with pytest.raises(ZeroDivisionError):
            opened(lambda request: 1 / 0, 1)

    assert places._taken == {}


def test_stream_that_is_never_closed_counts_for_a_while(monkeypatch: pytest.MonkeyPatch):
    kept = opened(streaming, limits.AT_ONCE)
    later = time.monotonic() + limits.LONGEST + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)

    assert opened(streaming, 1)[0].status_code == 200
    assert len(kept) == limits.AT_ONCE


HEAVY = [
    "/thread/message/?id=telegram_42",
    "/thread/raw/?id=telegram_42",
    "/thread/checkpoint/?checkpoint={}",
    "/thread/export/?id=telegram_42&format=jsonl",
    "/?q=hello",
]


@pytest.mark.parametrize("path", HEAVY)
def test_heavy_pages_are_bounded(viewer: Client, places: limits.Places, path: str):
    path = path.format(checkpoint(task()).pk)
    person = int(viewer.session["_auth_user_id"])
    for _ in range(limits.AT_ONCE):
        answer = viewer.get(path)
        assert answer.status_code == 200
        answer.getvalue()  # which closes it
    for _ in range(limits.AT_ONCE):
        places.take(person)

    assert viewer.get(path).status_code == 429
    assert viewer.get("/?q=hello&where=ids").status_code == 200


def test_choosing_what_to_clear_is_bounded(operator: Client, places: limits.Places):
    for _ in range(limits.AT_ONCE):
        places.take(int(operator.session["_auth_user_id"]))

    assert operator.post("/clear/", {"all": "1"}).status_code == 429
