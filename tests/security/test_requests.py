"""Tests for public pages, forged requests and request limits."""

from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import pytest
from django.test import Client, RequestFactory
from django.urls import URLPattern, URLResolver, get_resolver

from gloamy_site.middleware import RequestMiddleware
from tests.support.factories import task

pytestmark = pytest.mark.django_db(databases="__all__")

FORM = "application/x-www-form-urlencoded"
# All public URLs. Any new URL must either require sign-in or be added here.
OPEN = {"sign-in/", "sign-in/link/", "admin/login/", "favicon.ico"}
GROUP = {"<path:object_id>": "1", "<id>": "1", "<path:content_type_id>": "1", "<int:pk>": "1"}


def views(patterns: list[Any], prefix: str = "") -> Iterator[tuple[str, Callable[..., Any]]]:
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from views(pattern.url_patterns, route)
        elif isinstance(pattern, URLPattern):
            yield route, pattern.callback


VIEWS = list(views(get_resolver().url_patterns))
ROUTES = [route for route, _ in VIEWS]


def address(route: str) -> str:
    """Return a sample URL that matches the route."""
    for group, value in GROUP.items():
        route = route.replace(group, value)
    return "/" + route.replace("^(?P<app_label>auth|tasks)/$", "tasks/").replace(
        "(?P<url>.*)$", "what/ever"
    )


def test_every_route_has_a_url_in_this_test():
    assert len(ROUTES) > 20
    assert not [route for route in ROUTES if set("<>()^") & set(address(route))]


def test_only_listed_pages_are_public():
    public = {route for route, view in VIEWS if not getattr(view, "login_required", True)}

    assert public == OPEN


def test_every_other_page_requires_sign_in(client: Client):
    for route in sorted(set(ROUTES) - OPEN):
        for send in (client.get, client.head, client.post):
            response = send(address(route))
            assert (route, response.status_code) == (route, 302)
            to = response["Location"].split("?")[0]
            assert to in ("/sign-in/", "/admin/login/"), route  # /admin/login/ redirects to sign-in


def test_no_page_is_exempt_from_csrf_checks():
    assert [route for route, view in VIEWS if getattr(view, "csrf_exempt", False)] == []


def test_every_page_rejects_a_forged_post(admin_user: Any):
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)

    for route in ROUTES:
        response = client.post(address(route), {"id": "x"})
        assert response.status_code in (403, 405), route
        assert "text/html" in response["Content-Type"], route


def test_form_from_another_site_is_rejected(client: Client):
    client = Client(enforce_csrf_checks=True)
    token = client.get("/sign-in/").context["csrf_token"]
    form = {"username": "x", "password": "x", "csrfmiddlewaretoken": str(token)}

    def status(origin: str) -> int:
        return client.post("/sign-in/", form, headers={"Origin": origin}).status_code

    assert status("http://testserver") == 200
    assert [status(other) for other in ("http://evil.example", "null")] == [403, 403]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND"])
def test_every_page_rejects_other_methods(admin_client: Client, method: str):
    for route in ROUTES:
        response = admin_client.generic(method, address(route))
        assert (response.status_code, bool(response["Allow"])) == (405, True)
    assert "Method not allowed" in response.content.decode()


@pytest.mark.parametrize("path", ["/", "/thread/?id=telegram_42", "/admin/", "/no/such/page/"])
def test_page_has_security_headers(admin_client: Client, path: str):
    task()

    headers = admin_client.get(path).headers

    assert "no-store" in headers["Cache-Control"]
    assert "private" in headers["Cache-Control"]
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "camera=()" in headers["Permissions-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


def test_no_response_is_cached(admin_client: Client):
    task()

    for route in ROUTES:
        response = admin_client.get(address(route), {"id": "telegram_42"})
        assert "no-store" in response["Cache-Control"], route


@pytest.mark.parametrize(
    ("site", "is_compressed"),
    [("none", True), ("same-origin", True), ("same-site", False), ("cross-site", False)],
)
def test_response_to_another_site_is_not_compressed(
    admin_client: Client, site: str, is_compressed: bool
):
    headers = {"Accept-Encoding": "gzip", "Sec-Fetch-Site": site}

    response = admin_client.get("/?q=guess", headers=headers)

    assert ("Content-Encoding" in response) == is_compressed


@pytest.mark.parametrize(
    ("status", "message", "send"),
    [
        (414, "URL too long", lambda c: c.get("/?x=" + "x" * 60_000)),
        (400, "Invalid request", lambda c: c.get("/", headers={"Host": "evil.example"})),
        (413, "too large", lambda c: c.get("/thread/?" + "a&" * 1_001)),
        (413, "too large", lambda c: c.post("/sign-out/", {"x": "x" * 2_500_001})),
        (413, "too large", lambda c: c.post("/sign-out/", "a=&" * 1_001, FORM)),
        (413, "too large", lambda c: c.post("/sign-out/", {"f": BytesIO(b"a file")})),
        (413, "too large", lambda c: c.post("/sign-out/", "", FORM, CONTENT_LENGTH="9" * 12)),
        (403, "has expired", lambda c: c.post("/sign-out/", "x=1", FORM)),
    ],
)
def test_request_beyond_the_limits_gets_an_error_page(
    admin_user: Any, status: int, message: str, send
):
    client = Client(enforce_csrf_checks=True)
    client.get("/sign-in/")  # sets the CSRF cookie, which every form needs
    client.force_login(admin_user)

    response = send(client)

    assert response.status_code == status
    assert message in response.content.decode()
    assert "Content-Security-Policy" in response.headers


def test_default_favicon_redirects_to_the_icon(client: Client):
    response = client.get("/favicon.ico", follow=True)

    assert response.redirect_chain == [("/static/tasks/icon.svg", 302)]
    assert response["Content-Type"] == "image/svg+xml"
    assert b"<svg" in response.getvalue()


@pytest.mark.parametrize("length", ["", "x", "-1", "9" * 400])
def test_invalid_content_length_is_ignored(length: str):
    request = RequestFactory().get("/", CONTENT_LENGTH=length)
    passed: list[Any] = []

    def get_response(request: Any) -> Any:
        passed.append(request)
        return Client().get("/sign-in/")

    RequestMiddleware(get_response)(request)

    assert passed == [request]
