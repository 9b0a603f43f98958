"""Tests how sessions start and end, and where users are redirected after signing in."""

import time
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from gloamy_site import middleware
from gloamy_site.sign_in.links import sign_in_link

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"


@pytest.fixture
def owner() -> User:
    return User.objects.create_user("owner", password=PASSWORD)


def attempt(client: Client, password: str):
    return client.post("/sign-in/", {"username": "owner", "password": password})


def test_sign_in_starts_a_new_session(owner: User, client: Client):
    client.get("/thread/?id=" + "x" * 2_000)
    before = client.session.session_key

    attempt(client, PASSWORD)

    assert before and client.session.session_key != before
    assert not Session.objects.filter(pk=before).exists()
    assert client.session.get_expiry_age() == 7 * 24 * 3600


def test_sessions_of_strangers_expire(client: Client):
    client.get("/thread/?id=" + "x" * 2_000)
    Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))

    Client().get("/thread/?id=" + "y" * 2_000)

    [session] = Session.objects.all()
    assert session.expire_date <= timezone.now() + timedelta(minutes=15)


def request_long_urls(count: int, address: str = "127.0.0.1") -> list[str]:
    """Request a long URL `count` times, each time as a new visitor, and return the redirects."""
    path = "/?q=" + "x" * 59_000
    return [Client().get(path, REMOTE_ADDR=address)["Location"] for _ in range(count)]


def test_sessions_per_stranger_are_limited():
    assert request_long_urls(12) == ["/sign-in/"] * 12
    assert Session.objects.count() == 10

    request_long_urls(1, "192.0.2.1")
    assert Session.objects.count() == 11


def test_sessions_of_all_strangers_are_limited(monkeypatch: pytest.MonkeyPatch):
    for number in range(206):
        request_long_urls(1, f"192.0.2.{number}")
    assert Session.objects.count() == 200

    later = time.monotonic() + middleware.SIGN_IN_TIMEOUT + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    request_long_urls(1, "192.0.2.255")
    assert Session.objects.count() == 201


def test_repeated_requests_use_one_session(client: Client):
    for number in range(20):
        client.get("/thread/?id=" + "x" * 2_000 + str(number))

    assert client.session["next"].endswith("x19")
    assert Session.objects.count() == 1


TO_CLEAR = "/sign-in/?next=/thread/clear/%3Fid%3Dx"
FORM_PAGE = "http://testserver/thread/?id=a%26b"


@pytest.mark.parametrize(
    ("path", "referer", "leads_to"),
    [
        ("/thread/secrets/?id=x", FORM_PAGE, "/sign-in/?next=/thread/%3Fid%3Da%2526b"),
        ("/clear/", "http://testserver/?q=x#top", "/sign-in/?next=/%3Fq%3Dx"),
        ("/clear/", "http://testserver", "/sign-in/?next=/"),
        ("/thread/clear/?id=x", "http://testserver/thread/clear/?id=x", TO_CLEAR),
        ("/cleared/1/confirm/", "", "/sign-in/"),
        ("/cleared/1/confirm/", "http://evil.example/thread/", "/sign-in/"),
        ("/cleared/1/confirm/", "https://testserver/", "/sign-in/"),
        ("/cleared/1/confirm/", "http://testserver:81/", "/sign-in/"),
        ("/cleared/1/confirm/", "http://[", "/sign-in/"),
        ("/clear/", "http://testserver//evil.example/", "/sign-in/?next=/%252Fevil.example/"),
        ("/clear/", "http://testserver/?q=" + "x" * 70_000, "/sign-in/"),
    ],
)
def test_form_after_session_end_leads_back_to_its_page(
    client: Client, path: str, referer: str, leads_to: str
):
    response = client.post(path, {"x": "1"}, headers={"Referer": referer} if referer else {})

    assert (response.status_code, response["Location"]) == (302, leads_to)


def test_form_on_a_page_with_a_long_url_leads_back_to_it(owner: User, client: Client):
    page = "/thread/?id=" + "x" * 20_000

    assert (
        client.post("/clear/", headers={"Referer": f"http://testserver{page}"}).status_code == 302
    )
    response = client.post("/sign-in/", {"username": "owner", "password": PASSWORD})

    assert response["Location"] == page


def test_form_behind_a_proxy_leads_back_to_the_public_url(client: Client, settings):
    settings.SITE_URL = "https://tasks.example.org"

    response = client.post("/clear/", headers={"Referer": "https://tasks.example.org/?q=x"})

    assert response["Location"] == "/sign-in/?next=/%3Fq%3Dx"


@pytest.mark.parametrize("by", ["password", "link"])
def test_disabled_user_is_signed_out_at_once(owner: User, client: Client, by: str):
    if by == "link":
        client.get(sign_in_link(owner, ""))
        client.post("/sign-in/link/")
    else:
        attempt(client, PASSWORD)
    assert client.get("/").status_code == 403  # signed in, but without any permissions

    User.objects.update(is_active=False)

    assert client.get("/")["Location"] == "/sign-in/?next=/"
    assert attempt(Client(), PASSWORD).status_code == 200


def test_changed_password_ends_all_sessions(owner: User, client: Client):
    attempt(client, PASSWORD)
    owner.set_password("another one")
    owner.save()

    assert client.get("/").status_code == 302


FOREIGN_URLS = [
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\/evil.example",
    "https:evil.example",
    "https:/evil.example",
    "https://evil.example/",
    "http://testserver@evil.example/",
    "javascript:alert(1)",
    "data:text/html,x",
    "/\t/evil.example",
    "\t//evil.example",
    "/\n/evil.example",
    "\x00//evil.example",
    "\x1b/evil.example",
    " //evil.example",
    "/" + "\t" * 2_000 + "/evil.example",
]


@pytest.mark.parametrize("how", ["form", "address", "session", "signed in"])
def test_sign_in_does_not_redirect_elsewhere(owner: User, how: str):
    for url in FOREIGN_URLS:
        response = signed_in_for(url, owner, how)
        assert (url, response.status_code, response["Location"]) == (url, 302, "/overview/")


def signed_in_for(page: str, owner: User, how: str) -> Any:
    """Sign in as a new visitor who wants to go to `page`, and return the response."""
    client = Client()
    form = {"username": "owner", "password": PASSWORD}
    if how == "form":
        return client.post("/sign-in/", {**form, "next": page})
    if how == "address":
        return client.post("/sign-in/", form, query_params={"next": page})
    if how == "session":
        session = client.session
        session["next"] = page
        session.save()
        return client.post("/sign-in/", form)
    client.force_login(owner)
    return client.get("/sign-in/", {"next": page})


@pytest.mark.parametrize(
    "page",
    [
        *("#x", "?next=%23x", ".", "..//sign-in/./", "/sign-in", "/sign-in/", "/sign-in/?next=/"),
        *("/x/../sign-in/", "/%2e/%73ign-in/", "http://testserver/sign-in/#x"),
        *("/admin/login/", "/admin/login/?next=/sign-in/"),
    ],
)
@pytest.mark.parametrize("how", ["form", "signed in"])
def test_sign_in_does_not_lead_back_to_itself(owner: User, page: str, how: str):
    response = signed_in_for(page, owner, how)

    assert (response.status_code, response["Location"]) == (302, "/overview/")


@pytest.mark.parametrize("how", ["form", "signed in"])
def test_sign_in_for_the_site_leads_to_the_overview(owner: User, how: str):
    for page, location in (("/", "/overview/"), ("/?q=x", "/?q=x"), ("/errors/", "/errors/")):
        assert signed_in_for(page, owner, how)["Location"] == location


def test_sign_in_keeps_an_encoded_backslash_encoded(owner: User, client: Client):
    form = {"username": "owner", "password": PASSWORD, "next": "/%5cevil.example"}

    assert client.post("/sign-in/", form)["Location"] == "/%5cevil.example"


def test_link_continues_to_the_requested_long_url(owner: User, client: Client):
    url = "/thread/?id=" + "x" * 20_000
    client.get(url)
    client.get(sign_in_link(owner, ""))

    assert client.post("/sign-in/link/")["Location"] == url
