"""Tests for one-time sign-in links and limits on password attempts."""

import logging
from datetime import timedelta
from threading import Thread

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.utils import timezone

from gloamy_site.models import Attempt
from gloamy_site.sign_in import limiter, views
from gloamy_site.sign_in.links import sign_in_link

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"


@pytest.fixture
def owner() -> User:
    return User.objects.create_user("owner", password=PASSWORD)


def attempt(client: Client, password: str = "wrong", username: str = "owner", at="203.0.113.1"):
    form = {"username": username, "password": password}
    return client.post("/sign-in/", form, REMOTE_ADDR=at)


def fail(times: int, **kwargs: str) -> list[int]:
    return [attempt(Client(), **kwargs).status_code for _ in range(times)]


def test_guessing_is_blocked_for_a_stated_time(owner: User):
    assert fail(6) == [200] * 5 + [429]

    refused = attempt(Client(), PASSWORD)

    assert refused.status_code == 429
    assert 0 < int(refused["Retry-After"]) <= 15 * 60 + 1
    assert "Try again in 15 minutes, or use a one-time link." in refused.content.decode()
    assert "_auth_user_id" not in refused.client.session


def test_blocked_password_is_not_checked(owner: User, monkeypatch: pytest.MonkeyPatch):
    fail(5)
    monkeypatch.setattr("django.contrib.auth.forms.authenticate", pytest.fail)

    assert attempt(Client(), PASSWORD).status_code == 429


@pytest.mark.parametrize("username", ["OWNER", " owner ", "\uff4fwner"])
def test_other_spellings_count_as_the_same_account(owner: User, username: str):
    fail(5)

    assert attempt(Client(), username=username).status_code == 429


def test_unknown_account_is_limited_like_a_known_one(owner: User):
    assert fail(6, username="nobody") == fail(6, at="203.0.113.2")


def test_block_ends_after_the_window(owner: User):
    fail(6)
    Attempt.objects.update(until=timezone.now() - timedelta(seconds=1))

    assert attempt(Client(), PASSWORD).status_code == 302
    assert Attempt.objects.count() == 2  # the two new rows; the expired ones were deleted


def test_stranger_elsewhere_does_not_lock_the_owner_out(owner: User):
    fail(30)

    assert attempt(Client(), PASSWORD, at="203.0.113.2").status_code == 302


def test_strangers_everywhere_do_not_lock_out_a_known_browser(owner: User):
    known_browser = Client()
    attempt(known_browser, PASSWORD)
    known_browser.post("/sign-out/")
    for number in range(12):
        fail(5, at=f"198.51.100.{number}")

    assert attempt(Client(), PASSWORD, at="192.0.2.1").status_code == 429
    assert attempt(known_browser, PASSWORD, at="192.0.2.1").status_code == 302


def test_stranger_at_the_same_address_does_not_lock_out_a_known_browser(owner: User):
    known_browser = Client()
    attempt(known_browser, PASSWORD)
    known_browser.post("/sign-out/")
    fail(30)

    assert attempt(known_browser, PASSWORD).status_code == 302


def test_known_browser_is_limited_too(owner: User):
    known_browser = Client()
    attempt(known_browser, PASSWORD)
    known_browser.post("/sign-out/")

    statuses = [attempt(known_browser).status_code for _ in range(11)]

    assert statuses == [200] * 10 + [429]


def test_known_browser_cookie_is_only_valid_for_its_account(owner: User):
    User.objects.create_user("other", password=PASSWORD)
    known_browser = Client()
    attempt(known_browser, PASSWORD, "other")
    known_browser.post("/sign-out/")
    fail(5)

    assert attempt(known_browser, PASSWORD).status_code == 429


@pytest.mark.parametrize("forged", ["", "x", "browser:account:1abc:signature", "\x01"])
def test_forged_known_browser_cookie_is_ignored(owner: User, forged: str):
    fail(5)
    client = Client()
    client.cookies[limiter.COOKIE] = forged

    assert attempt(client, PASSWORD).status_code == 429


def test_attempts_per_address_are_limited(owner: User):
    statuses = [attempt(Client(), username=f"user-{n}").status_code for n in range(21)]

    assert statuses == [200] * 20 + [429]
    assert Attempt.objects.count() == 1 + 2 * 20  # blocked attempts are not counted


def test_ipv6_network_is_limited_as_one_address(owner: User):
    for number in range(5):
        fail(1, at=f"2001:db8::{number}")

    assert fail(1, at="2001:db8::ffff") == [429]
    assert fail(1, at="2001:db8:0:1::1") == [200]


def test_success_resets_earlier_failures(owner: User):
    for _ in range(3):
        fail(4)
        assert attempt(Client(), PASSWORD).status_code == 302


def test_links_are_never_limited(owner: User):
    fail(30)
    client = Client()
    client.get(sign_in_link(owner, ""), REMOTE_ADDR="203.0.113.1")

    assert client.post("/sign-in/link/", REMOTE_ADDR="203.0.113.1").status_code == 302


def test_token_leaves_the_address_bar_at_once(owner: User, client: Client):
    link = sign_in_link(owner, "")

    opened = client.get(link)

    assert (opened.status_code, opened["Location"]) == (302, "/sign-in/link/")
    cookie = opened.cookies[views.LINK_COOKIE]
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")
    assert (cookie["path"], cookie["max-age"]) == ("/sign-in/link/", 300)
    page = client.get("/sign-in/link/").content.decode()
    assert "as <b>owner</b>" in page
    assert link.partition("token=")[2] not in page
    assert client.post("/sign-in/link/").cookies[views.LINK_COOKIE].value == ""


def test_link_page_without_a_link_shows_an_error(client: Client):
    page = client.get("/sign-in/link/")

    assert page.status_code == 403
    assert "Open the link again" in page.content.decode()


def test_link_signs_in_only_one_of_two_concurrent_requests(
    owner: User, monkeypatch: pytest.MonkeyPatch
):
    both_looked = User.objects.get()
    monkeypatch.setattr(views, "authenticate", lambda request, sesame: both_looked)
    both_looked.backend = "sesame.backends.ModelBackend"

    first = Client().post("/sign-in/link/")
    both_looked.last_login = None  # the second request read the user before the first signed in
    second = Client().post("/sign-in/link/")

    assert (first.status_code, second.status_code) == (302, 403)


def test_link_is_not_logged(owner: User, caplog: pytest.LogCaptureFixture, monkeypatch):
    caplog.set_level(logging.DEBUG)
    client = Client(raise_request_exception=False)
    link = sign_in_link(owner, "")
    token = link.partition("token=")[2]

    client.get(link)
    client.get(link + "x")
    client.get(link, headers={"Host": "evil.example"})
    client.put(link)
    monkeypatch.setattr(views, "get_user", lambda *args, **kwargs: 1 / 0)
    assert client.get(link).status_code == 500

    assert caplog.text
    assert token[:20] not in caplog.text


@pytest.mark.django_db(transaction=True)
def test_concurrent_attempts_are_all_counted():
    def count() -> None:
        for _ in range(5):
            Attempt.objects.count_one("key", limiter.WINDOW)
        connection.close()

    threads = [Thread(target=count) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert Attempt.objects.get().count == 30
