"""Tests that heavy requests are limited to a few slots per user, and always release their slots."""

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
from tests.support.factories import checkpoint, task

pytestmark = pytest.mark.django_db(databases="__all__")


def request_by(number: int) -> HttpRequest:
    request = RequestFactory().get("/")
    request.user = User(pk=number)
    return request


def streaming(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(iter([b"a", b"b"]))


def fail(request: HttpRequest) -> HttpResponse:
    raise ZeroDivisionError


def open_responses(view: Callable, times: int, user: int = 1) -> list:
    return [limits.limit_concurrency(view)(request_by(user)) for _ in range(times)]


def test_request_over_the_limit_gets_a_429():
    *open_streams, last, refused = open_responses(streaming, limits.SLOTS_PER_USER + 1)

    assert len(open_streams) == limits.SLOTS_PER_USER - 1
    assert (last.status_code, refused.status_code) == (200, 429)
    assert refused["Retry-After"] == "5"
    assert "Try again in 5 seconds" in refused.content.decode()


def test_limit_is_per_user():
    open_streams = open_responses(streaming, limits.SLOTS_PER_USER)

    assert open_responses(streaming, 1, user=2)[0].status_code == 200
    assert len(open_streams) == limits.SLOTS_PER_USER


def test_closing_a_stream_releases_its_slot():
    first, *others = open_responses(streaming, limits.SLOTS_PER_USER)
    list(first)
    assert open_responses(streaming, 1)[0].status_code == 429

    request_finished.disconnect(close_old_connections)  # keep the test's database connections open
    first.close()
    request_finished.connect(close_old_connections)

    assert [each.status_code for each in open_responses(streaming, 2)] == [200, 429]
    assert len(others) == limits.SLOTS_PER_USER - 1


def test_dropping_a_stream_releases_its_slot(request_slots: limits.RequestSlots):
    open_responses(streaming, limits.SLOTS_PER_USER)
    gc.collect()

    assert request_slots._held == {}


def test_page_releases_its_slot_at_once(request_slots: limits.RequestSlots):
    responses = open_responses(lambda request: HttpResponse("x"), limits.SLOTS_PER_USER * 2)

    assert {response.status_code for response in responses} == {200}
    assert request_slots._held == {}


def test_server_may_answer_heavy_requests_elsewhere(request_slots: limits.RequestSlots):
    request = request_by(1)
    request.META[limits.ANSWER_ELSEWHERE] = streaming
    responses = [limits.limit_concurrency(fail)(request) for _ in range(limits.SLOTS_PER_USER + 1)]

    assert [response.status_code for response in responses] == [200] * 4 + [429]
    assert len(request_slots._held) == limits.SLOTS_PER_USER
    assert limits.limit_concurrency_if(lambda request: False)(streaming)(request).status_code == 200


def test_failing_view_releases_its_slot(request_slots: limits.RequestSlots):
    for _ in range(limits.SLOTS_PER_USER * 2):
        with pytest.raises(ZeroDivisionError):
            open_responses(fail, 1)

    assert request_slots._held == {}


def test_slot_of_a_stream_that_is_never_closed_expires(monkeypatch: pytest.MonkeyPatch):
    open_streams = open_responses(streaming, limits.SLOTS_PER_USER)
    later = time.monotonic() + limits.SLOT_LIFETIME + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)

    assert open_responses(streaming, 1)[0].status_code == 200
    assert len(open_streams) == limits.SLOTS_PER_USER


HEAVY = [
    "/thread/message/?id=telegram_42",
    "/thread/raw/?id=telegram_42",
    "/thread/checkpoint/?checkpoint={}",
    "/thread/export/?id=telegram_42&format=jsonl",
    "/?q=hello",
]


@pytest.mark.parametrize("path", HEAVY)
def test_heavy_pages_are_limited(viewer: Client, request_slots: limits.RequestSlots, path: str):
    path = path.format(checkpoint(task()).pk)
    user = int(viewer.session["_auth_user_id"])
    for _ in range(limits.SLOTS_PER_USER):
        response = viewer.get(path)
        assert response.status_code == 200
        response.getvalue()  # reading to the end also closes the response
    for _ in range(limits.SLOTS_PER_USER):
        request_slots.acquire(user)

    assert viewer.get(path).status_code == 429
    assert viewer.get("/?q=hello&where=ids").status_code == 200


def test_selecting_threads_to_clear_is_limited(
    operator: Client, request_slots: limits.RequestSlots
):
    for _ in range(limits.SLOTS_PER_USER):
        request_slots.acquire(int(operator.session["_auth_user_id"]))

    assert operator.post("/clear/", {"all": "1"}).status_code == 429
