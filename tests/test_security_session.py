"""Sessions: one begins with each sign-in, ends when it should, and leads nowhere else."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from tasks.accounts import sign_in_link

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"


@pytest.fixture
def owner() -> User:
    return User.objects.create_user("owner", password=PASSWORD)


def attempt(client: Client, password: str):
    return client.post("/sign-in/", {"username": "owner", "password": password})


def test_signing_in_changes_the_session(owner: User, client: Client):
    client.get("/thread/?id=" + "x" * 2_000)
    before = client.session.session_key

    attempt(client, PASSWORD)

    assert before and client.session.session_key != before
    assert not Session.objects.filter(pk=before).exists()
    assert client.session.get_expiry_age() == 7 * 24 * 3600


def test_stranger_leaves_no_session_for_long(client: Client):
    client.get("/thread/?id=" + "x" * 2_000)
    Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))

    Client().get("/thread/?id=" + "y" * 2_000)

    [left] = Session.objects.all()
    assert left.expire_date <= timezone.now() + timedelta(minutes=15)


@pytest.mark.parametrize("by", ["password", "link"])
def test_disabled_user_is_out_at_once(owner: User, client: Client, by: str):
    if by == "link":
        client.get(sign_in_link(owner, ""))
        client.post("/sign-in/link/")
    else:
        attempt(client, PASSWORD)
    assert client.get("/").status_code == 403  # signed in, and allowed nothing

    User.objects.update(is_active=False)

    assert client.get("/")["Location"] == "/sign-in/?next=/"
    assert attempt(Client(), PASSWORD).status_code == 200


def test_changed_password_ends_all_sessions(owner: User, client: Client):
    attempt(client, PASSWORD)
    owner.set_password("another one")
    owner.save()

    assert client.get("/").status_code == 302


NOT_OURS = [
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


@pytest.mark.parametrize("elsewhere", NOT_OURS)
@pytest.mark.parametrize("how", ["form", "address", "session", "signed in"])
def test_sign_in_goes_nowhere_else(owner: User, client: Client, elsewhere: str, how: str):
    form = {"username": "owner", "password": PASSWORD}
    if how == "form":
        done = client.post("/sign-in/", {**form, "next": elsewhere})
    elif how == "address":
        done = client.post("/sign-in/", form, query_params={"next": elsewhere})
    elif how == "session":
        session = client.session
        session["next"] = elsewhere
        session.save()
        done = client.post("/sign-in/", form)
    else:
        client.force_login(owner)
        done = client.get("/sign-in/", {"next": elsewhere})

    assert (done.status_code, done["Location"]) == (302, "/")


def test_sign_in_keeps_an_encoded_backslash_encoded(owner: User, client: Client):
    form = {"username": "owner", "password": PASSWORD, "next": "/%5cevil.example"}

    assert client.post("/sign-in/", form)["Location"] == "/%5cevil.example"


def test_link_goes_on_to_the_long_address_that_was_wanted(owner: User, client: Client):
    wanted = "/thread/?id=" + "x" * 20_000
    client.get(wanted)
    client.get(sign_in_link(owner, ""))

    assert client.post("/sign-in/link/")["Location"] == wanted
