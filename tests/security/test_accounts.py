"""Tests of sign-in: the first administrator, one-time links and passwords."""

from urllib.parse import quote

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client

from gloamy_site.sign_in.links import administrator, sign_in_link

pytestmark = pytest.mark.django_db

SERVER = "http://testserver"


@pytest.fixture
def user() -> User:
    return administrator()


def open_link(client: Client, link: str):
    """Open a sign-in link, and submit the form on its page."""
    client.get(link)
    return client.post("/sign-in/link/")


def is_signed_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


def test_administrator_is_created_once_without_a_password(user: User):
    assert administrator() == user
    assert user.is_superuser and user.is_staff
    assert not user.has_usable_password()


def test_administrator_avoids_an_existing_username():
    get_user_model().objects.create_user("admin")

    assert administrator().get_username() == "admin-1"


def test_link_signs_in_after_a_post(client: Client, user: User):
    link = sign_in_link(user, SERVER)

    page = client.get(link, follow=True)
    response = client.post("/sign-in/link/")

    assert page.context["link_user"] == user
    assert (response.status_code, response["Location"]) == (302, "/overview/")
    assert is_signed_in(client)


@pytest.mark.parametrize("method", ["get", "head"])
def test_link_survives_a_preview(client: Client, user: User, method: str):
    link = sign_in_link(user, SERVER)

    for _ in range(3):
        assert getattr(Client(), method)(link, follow=True).status_code == 200
    open_link(client, link)

    assert is_signed_in(client)


def test_link_works_once(client: Client, user: User):
    link = sign_in_link(user, SERVER)
    client.get(link)
    open_link(Client(), link)

    assert client.post("/sign-in/link/").status_code == 403
    assert client.get(link).status_code == 403
    assert not is_signed_in(client)


def test_link_expires(client: Client, user: User, monkeypatch: pytest.MonkeyPatch):
    from sesame import settings as sesame_settings  # noqa: PLC0415 - the import reads Django's settings

    link = sign_in_link(user, SERVER)
    monkeypatch.setattr(sesame_settings, "MAX_AGE", sesame_settings.MAX_AGE * 0)

    assert open_link(client, link).status_code == 403


@pytest.mark.parametrize("wrong", ["", "x", "🦉", "A" * 5_000, "\x00"])
def test_invalid_token_is_rejected(client: Client, user: User, wrong: str):
    assert client.get("/sign-in/link/", {"token": wrong}).status_code == 403
    client.cookies["gloamy_link"] = quote(wrong)
    assert client.post("/sign-in/link/").status_code == 403


def test_link_of_a_disabled_user_is_rejected(client: Client, user: User):
    link = sign_in_link(user, SERVER)
    get_user_model().objects.update(is_active=False)

    assert open_link(client, link).status_code == 403


def test_password_sign_in_continues_to_the_requested_page(client: Client, user: User):
    user.set_password("correct horse")
    user.save()
    form = {"username": "admin", "password": "correct horse", "next": "/thread/?id=a%0Ab"}

    assert client.post("/sign-in/", form)["Location"] == "/thread/?id=a%0Ab"


@pytest.mark.parametrize("url", ["//example.org", "https://example.org/", "/\\example.org"])
def test_password_sign_in_does_not_redirect_elsewhere(client: Client, user: User, url: str):
    user.set_password("correct horse")
    user.save()
    form = {"username": "admin", "password": "correct horse", "next": url}

    assert client.post("/sign-in/", form)["Location"] == "/overview/"


def test_wrong_password_shows_an_error(client: Client, user: User):
    response = client.post("/sign-in/", {"username": "admin", "password": "wrong"})

    assert response.status_code == 200
    assert "Please enter a correct username and password" in response.content.decode()


def test_sign_out_requires_post(client: Client, user: User):
    client.force_login(user)

    assert client.get("/sign-out/").status_code == 405
    assert client.post("/sign-out/")["Location"] == "/sign-in/"
    assert not is_signed_in(client)


def test_admin_uses_the_same_sign_in(client: Client):
    assert client.get("/admin/login/?next=/admin/")["Location"] == "/sign-in/?next=/admin/"


def test_command_prints_a_link(client: Client, user: User, capsys: pytest.CaptureFixture[str]):
    call_command("sign_in_link", "admin", server=SERVER)

    open_link(client, capsys.readouterr().out.strip())

    assert is_signed_in(client)


def test_command_rejects_an_unknown_user():
    with pytest.raises(CommandError, match="There is no active user nobody"):
        call_command("sign_in_link", "nobody")
