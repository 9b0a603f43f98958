"""Tests that odd parameters lead to a page or a clear error on every URL, never to a traceback."""

from itertools import cycle, islice
from urllib.parse import quote, quote_from_bytes

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from tests.security.test_requests import ROUTES, address
from tests.support.factories import checkpoint, task

pytestmark = pytest.mark.django_db(databases="__all__")

NAMES = (
    *("id", "task", "list", "find", "hit", "message", "step", "turn", "show", "piece", "text"),
    *("checkpoint", "format", "q", "where", "status", "channel", "provider", "model", "period"),
    *("start", "end", "resume", "zone", "sort", "after", "before", "seen", "fate", "token", "next"),
    *("o", "p", "e", "all", "active", "containing", "thread_id", "_to_field", "_popup"),
    *("_changelist_filters", "is_staff__exact", "groups__id__exact", "pk", "id__in", "app_label"),
    *(
        "model_name",
        "field_name",
        "term",
        "_source_model",
        "password__startswith",
        "user__username",
    ),
)
VALUES = (
    *("", "0", "1", "-1", "1e999", "9" * 30, "9" * 5_000, "\u0663", "\u00b2", "NaN", "null", "[]"),
    *(
        "a,b",
        "\0",
        "x\0y",
        "'",
        '"><b>',
        "%",
        "%00",
        "\\",
        "(",
        "(?P<x",
        "\u202e",
        "+",
        "-",
        ".",
        "*",
    ),
    *("../../x", "javascript:1", "//x", "2026-13-45", "2026-03-29T02:30:00", "0001-01-01"),
    *("9999-12-31T23:59:59Z", "x" * 5_000, "id", "task_id", "password", "user", "logentry"),
)
SURROGATE = quote_from_bytes("\ud800".encode("utf-8", "surrogatepass"))


def assert_answers(client: Client, url: str) -> None:
    client.force_login(get_user_model().objects.get())  # an earlier request may have signed out
    for send in (client.get, client.post):
        try:
            assert send(url).status_code < 500, url
        except Exception as error:
            raise AssertionError(f"{url} fails: {error!r}") from error


def test_odd_parameters_lead_to_a_page_or_an_error_page(admin_client: Client):
    checkpoint(task("1", thread_id="1"), id=1)
    parameters = zip(cycle(NAMES), cycle([*map(quote, VALUES), SURROGATE]), strict=False)
    for route in ROUTES:
        query = "&".join(f"{name}={value}" for name, value in islice(parameters, 3))
        assert_answers(admin_client, f"{address(route)}?{query}")


@pytest.mark.parametrize("name", ["", "%2B", "user", "logentry", "password", "id"])
def test_account_pages_answer_any_to_field(admin_client: Client, name: str):
    for model in ("user", "group"):
        for page in ("", "add/", "1/change/", "1/delete/", "1/history/"):
            assert_answers(admin_client, f"/admin/auth/{model}/{page}?_to_field={name}")
