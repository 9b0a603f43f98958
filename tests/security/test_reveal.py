"""Tests who may reveal a thread's secrets, for how long, on which pages, and what is recorded."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import OperationalError
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from archive.models import Reveal
from tasks import service
from tasks.addresses import thread_url
from tasks.models import TaskCheckpoint, TaskStatus
from tasks.secrets import request_masking, reveal
from tasks.store import workspace
from tasks.transcript.export import FORMATS
from tests.support.factories import (
    checkpoint,
    history,
    item,
    only_sqlite,
    snapshot,
    task,
    update,
)
from tests.support.html_audit import HtmlAudit
from tests.support.odd_rows import ODD_IDS

pytestmark = pytest.mark.django_db(databases="__all__")

ID = "telegram_42"
THREAD = thread_url("thread", ID)


@pytest.fixture
def person(db: None) -> User:
    """A user with permission to reveal secrets."""
    user = User.objects.create_user("maya", password="correct horse battery")
    rights = ("view_taskrecord", "view_taskcheckpoint", "reveal_secrets")
    user.user_permissions.set(Permission.objects.filter(codename__in=rights))
    return user


@pytest.fixture
def client(person: User) -> Client:
    return signed_in(person)


@pytest.fixture
def is_lifted(monkeypatch: pytest.MonkeyPatch) -> Callable[[Client, str], bool]:
    """A function that requests a page and returns whether the page shows secrets unmasked."""
    lifts: list[bool] = []
    monkeypatch.setattr(request_masking, "lift", lambda: lifts.append(True))

    def request_page(client: Client, address: str) -> bool:
        lifts.clear()
        response = client.get(address)
        response.getvalue()  # reading a streamed response to its end frees its request slot
        assert response.status_code == 200, address
        return bool(lifts)

    return request_page


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """A function that moves the clock forward by the given interval and then stops the clock."""

    def advance(by: timedelta) -> None:
        now = timezone.now() + by
        monkeypatch.setattr(timezone, "now", lambda: now)

    return advance


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def post_secrets(client: Client, do: str = "show", thread_id: str = ID, **form: str) -> Any:
    return client.post(thread_url("secrets", thread_id), {"do": do, **form})


def views_of(thread_id: str = ID) -> dict[str, str]:
    """Return the URLs of all views that show the thread's data, keyed by a name for each view."""
    step_id = TaskCheckpoint.objects.filter(task__thread_id=thread_id).latest("pk").pk
    tabs = ("transcript", "checkpoints", "resume", "raw")
    texts = ("execution_history_json", "resumable_history_json", "last_error")
    return {
        **{tab: thread_url("thread", thread_id, show=tab) for tab in tabs},
        "piece": thread_url("thread", thread_id, piece="later", message=1),
        "live": thread_url("thread-live", thread_id),
        "message": thread_url("message", thread_id, message=1),
        "message's text": thread_url("message", thread_id, text="last_error"),
        **{text: thread_url("raw", thread_id, text=text) for text in texts},
        "checkpoint": f"{reverse('checkpoint')}?checkpoint={step_id}",
        **{name: thread_url("export", thread_id, format=name) for name in FORMATS},
    }


def lifted_views(
    client: Client, is_lifted: Callable[[Client, str], bool], **addresses: str
) -> set[str]:
    """Return the names of the given views whose responses leave secrets unmasked."""
    return {name for name, address in addresses.items() if is_lifted(client, address)}


def store_thread(thread_id: str = ID) -> None:
    names = {"task_id": thread_id, "thread_id": thread_id}
    service.record_checkpoint(update(**names))
    service.save_snapshot(snapshot(**names, status=TaskStatus.FAILED, last_error="it broke"))


def test_secrets_are_masked_by_default(store, client: Client, is_lifted):
    store_thread()

    assert lifted_views(client, is_lifted, **views_of()) == set()


def test_reveal_applies_to_every_view_of_the_thread_and_no_other_page(
    store, client: Client, is_lifted
):
    store_thread()
    store_thread("other")
    User.objects.update(is_superuser=True, is_staff=True)
    post_secrets(client)

    assert lifted_views(client, is_lifted, **views_of()) == set(views_of())
    assert lifted_views(client, is_lifted, **views_of("other")) == set()
    others = ["/", "/?q=hello", "/cleared/", "/secrets/", thread_url("clear", ID)]
    others += ["/admin/", "/admin/tasks/taskrecord/", "/admin/tasks/taskcheckpoint/"]
    assert lifted_views(client, is_lifted, **{address: address for address in others}) == set()


def compressed_views(client: Client) -> set[str]:
    """Return the names of the thread's views that compress their responses when asked to."""
    names = set()
    for name, address in views_of().items():
        response: Any = client.get(address, headers={"Accept-Encoding": "gzip"})
        response.getvalue()  # reading a streamed response to its end frees its request slot
        if "Content-Encoding" in response:
            names.add(name)
    return names


def test_revealed_secrets_are_not_compressed(client: Client):
    long = "it broke " * 100
    names = {"task_id": ID, "thread_id": ID, "execution_history": history(long)}
    service.record_checkpoint(update(**names, items=[item(output=long)]))
    names["resumable_history"] = history(long)
    service.save_snapshot(snapshot(**names, status=TaskStatus.FAILED, last_error=long))
    assert compressed_views(client) == set(views_of())

    post_secrets(client)

    assert compressed_views(client) == set()


def test_hide_ends_the_reveal(client: Client, is_lifted):
    store_thread()
    post_secrets(client)
    post_secrets(client, "hide")

    assert not is_lifted(client, THREAD)
    row = Reveal.objects.get()
    assert row.hidden_at is not None
    assert row.at <= row.hidden_at < row.until


def test_hide_of_another_thread_changes_nothing(client: Client, is_lifted):
    store_thread()
    store_thread("other")
    post_secrets(client)
    post_secrets(client, "hide", "other")

    assert is_lifted(client, THREAD)
    assert Reveal.objects.get().hidden_at is None


def test_reveal_expires(client: Client, is_lifted, pass_time):
    store_thread()
    post_secrets(client)
    pass_time(timedelta(minutes=9, seconds=50))
    assert is_lifted(client, THREAD)

    pass_time(timedelta(seconds=11))

    assert lifted_views(client, is_lifted, **views_of()) == set()
    post_secrets(client, "hide")
    assert Reveal.objects.get().hidden_at is None  # the reveal had already expired


def test_reveal_ends_that_of_another_thread(client: Client, is_lifted):
    store_thread()
    store_thread("other")
    post_secrets(client)
    post_secrets(client, thread_id="other")

    assert not is_lifted(client, THREAD)
    assert is_lifted(client, thread_url("thread", "other"))
    first, second = Reveal.objects.order_by("pk")
    assert (first.hidden_at, second.hidden_at) == (second.at, None)


def test_other_session_of_the_same_user_stays_masked(client: Client, person: User, is_lifted):
    store_thread()
    post_secrets(client)

    assert not is_lifted(signed_in(person), THREAD)


def test_thread_with_the_same_id_in_another_store_stays_masked(
    client: Client, is_lifted, monkeypatch
):
    store_thread()
    post_secrets(client)
    monkeypatch.setattr(workspace, "identity", lambda: "/elsewhere/tasks.db")

    assert not is_lifted(client, THREAD)


def test_reveal_ends_when_the_permission_is_removed(client: Client, person: User, is_lifted):
    store_thread()
    post_secrets(client)
    person.user_permissions.remove(Permission.objects.get(codename="reveal_secrets"))

    assert not is_lifted(client, THREAD)
    assert post_secrets(client, "hide").status_code == 403


def test_sign_out_ends_the_reveal(client: Client, person: User, is_lifted):
    store_thread()
    post_secrets(client)
    client.post(reverse("sign-out"))
    assert Reveal.objects.get().hidden_at is not None
    client.force_login(person)

    assert not is_lifted(client, THREAD)


def test_clear_permission_does_not_allow_reveal(operator: Client):
    store_thread()

    assert post_secrets(operator).status_code == 403
    assert operator.get(reverse("reveals")).status_code == 403
    assert not Reveal.objects.exists()


def test_reveal_also_requires_view_permission(person: User):
    store_thread()
    person.user_permissions.set(Permission.objects.filter(codename="reveal_secrets"))

    assert post_secrets(signed_in(person)).status_code == 403


def test_reveal_is_recorded(store, client: Client, person: User):
    store_thread()
    post_secrets(client)

    row = Reveal.objects.get()
    assert (row.thread_id, row.store, row.user) == (ID, workspace.identity(), person)
    assert (row.user_name, row.address) == ("maya", "127.0.0.1")
    assert row.until - row.at == timedelta(minutes=10)
    entry = LogEntry.objects.get()
    assert (entry.user, entry.object_id) == (person, str(row.pk))
    assert str(entry) == "Added “Secrets of telegram_42”."


def test_record_survives_the_deletion_of_its_user(client: Client, person: User):
    store_thread()
    post_secrets(client)
    person.delete()

    row = Reveal.objects.get()
    assert (row.user, row.user_name) == (None, "maya")


@pytest.mark.parametrize("model", [Reveal, LogEntry])
def test_reveal_fails_if_it_cannot_be_recorded(
    client: Client, is_lifted, monkeypatch: pytest.MonkeyPatch, model
):
    store_thread()

    def fail(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("database or disk is full")

    monkeypatch.setattr(model, "save", fail)
    monkeypatch.setattr(model.objects, "create", fail, raising=False)

    assert post_secrets(client).status_code == 503
    assert not is_lifted(client, THREAD)
    assert not Reveal.objects.exists()


def test_hide_works_even_if_it_cannot_be_recorded(
    client: Client, is_lifted, monkeypatch: pytest.MonkeyPatch
):
    store_thread()
    post_secrets(client)

    def fail(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("database is locked")

    monkeypatch.setattr(reveal, "_record_end", fail)

    assert post_secrets(client, "hide").status_code == 302
    assert not is_lifted(client, THREAD)
    assert Reveal.objects.get().hidden_at is None


def test_thread_with_an_odd_id_is_revealed_hidden_and_listed(store, client: Client, is_lifted):
    for thread_id in ODD_IDS if store.vendor == "sqlite" else ODD_IDS[::4]:
        service.record_checkpoint(update(task_id=thread_id, thread_id=thread_id))
        address = thread_url("thread", thread_id)

        response = post_secrets(client, thread_id=thread_id, back=address)
        assert response["Location"].startswith("/thread/?"), thread_id
        page = client.get(response["Location"])
        logged = Reveal.objects.latest("pk").thread_id
        assert page.context["page"].record.thread_id == logged, thread_id
        assert HtmlAudit(page.content.decode()).problems == [], thread_id
        assert is_lifted(client, address), thread_id
        post_secrets(client, "hide", thread_id)
        assert not is_lifted(client, address), thread_id
    listed = client.get(reverse("reveals")).content.decode()
    for entry in Reveal.objects.all():
        assert thread_url("thread", entry.thread_id).replace("&", "&amp;") in listed


def test_log_entry_contains_no_nul():
    row = Reveal(stored_id=b"a\0b")

    assert str(row) == "Secrets of a\ufffdb"


@pytest.mark.parametrize(
    ("do", "thread_id", "status"),
    [("", ID, 400), ("reveal", ID, 400), ("show", "gone", 404), ("hide", "gone", 404)],
)
def test_invalid_request_is_refused(client: Client, do: str, thread_id: str, status: int):
    store_thread()

    assert post_secrets(client, do, thread_id).status_code == status
    assert not Reveal.objects.exists()


def test_thread_id_is_required(client: Client):
    assert client.post(reverse("secrets"), {"do": "show"}).status_code == 400


def test_get_is_not_allowed(client: Client, is_lifted):
    store_thread()

    assert client.get(thread_url("secrets", ID), {"do": "show"}).status_code == 405
    assert not is_lifted(client, THREAD)


def test_form_requires_a_csrf_token(person: User):
    store_thread()
    client = Client(enforce_csrf_checks=True)
    client.force_login(person)

    assert post_secrets(client).status_code == 403
    assert not Reveal.objects.exists()


RETURN_URLS = [
    f"{THREAD}&show=checkpoints",
    f"{THREAD}&show=resume&list=status%3Dfailed",
    f"{THREAD}&find=a%26b%0Ac&hit=2",
]


@pytest.mark.parametrize("back", RETURN_URLS)
def test_redirect_returns_to_the_same_tab(client: Client, back: str):
    store_thread()

    assert post_secrets(client, back=back)["Location"] == back
    assert post_secrets(client, "hide", back=back)["Location"] == back


FOREIGN_URLS = [
    "",
    "/",
    "/secrets/",
    "/thread/raw/?id=telegram_42&text=last_error",
    "/thread/?id=other",
    "/thread/",
    "https://evil.example/thread/?id=telegram_42",
    "//evil.example/thread/?id=telegram_42",
    "/\\evil.example/thread/?id=telegram_42",
    "///evil.example/thread/?id=telegram_42",
    "http:///thread/?id=telegram_42",
    "javascript:alert(1)//thread/?id=telegram_42",
    "http://[::1/thread/?id=telegram_42",
    "\x00/thread/?id=telegram_42",
]


@pytest.mark.parametrize("back", FOREIGN_URLS)
def test_redirect_ignores_other_urls(client: Client, back: str):
    store_thread()

    assert post_secrets(client, back=back)["Location"] == THREAD


def test_redirect_contains_no_line_break(client: Client):
    store_thread()

    location = post_secrets(client, back=f"{THREAD}&list=\r\nSet-Cookie: x=y")["Location"]

    assert location == f"{THREAD}&list=Set-Cookie%3A+x%3Dy"


def offers(client: Client, address: str, do: str) -> bool:
    return f'name="do" value="{do}"' in client.get(address).content.decode()


def test_page_has_a_reveal_button_or_a_hide_button(client: Client):
    store_thread()
    for address in (THREAD, thread_url("thread-live", ID)):
        assert (offers(client, address, "show"), offers(client, address, "hide")) == (
            True,
            False,
        )
    post_secrets(client)

    for address in (THREAD, thread_url("thread-live", ID)):
        assert (offers(client, address, "show"), offers(client, address, "hide")) == (
            False,
            True,
        )


def test_page_displays_the_expiry(client: Client):
    store_thread()
    post_secrets(client)

    page = client.get(THREAD).content.decode()

    until = f"{Reveal.objects.get().until:%Y-%m-%d %H:%M:%S} UTC"
    assert page.count(f'title="{until}">') == 1


def test_page_without_permission_explains_the_mask(viewer: Client):
    store_thread()

    page = viewer.get(THREAD).content.decode()

    assert "Keys, passwords and tokens are masked." in page
    assert thread_url("secrets", ID) not in page
    assert 'href="/secrets/"' not in page


def test_return_url_is_the_page_itself(client: Client):
    store_thread()
    address = f"{THREAD}&show=checkpoints&find=hello"

    assert client.get(address).context["page"].return_url == address
    live_page = client.get(thread_url("thread-live", ID, show="resume", message=1))
    assert live_page.context["page"].return_url == f"{THREAD}&show=resume"


def test_open_page_refreshes_when_the_reveal_expires(client: Client, pass_time):
    store_thread()
    addresses = {name: at for name, at in views_of().items() if name not in FORMATS}

    def refresh_headers() -> set[str | None]:
        return {client.get(address).headers.get("Refresh") for address in addresses.values()}

    assert refresh_headers() == {None}
    pass_time(timedelta())
    post_secrets(client)
    assert refresh_headers() == {"601"}
    pass_time(timedelta(seconds=599.5))
    assert refresh_headers() == {"1"}
    pass_time(timedelta(seconds=1))
    assert refresh_headers() == {None}


def test_export_does_not_refresh(client: Client):
    store_thread()
    post_secrets(client)

    for name in FORMATS:
        assert "Refresh" not in client.get(thread_url("export", ID, format=name)).headers


def test_exports_with_secrets_are_counted(client: Client):
    store_thread()
    client.get(thread_url("export", ID, format="json"))
    post_secrets(client)
    client.get(thread_url("export", ID, format="json"))
    client.head(thread_url("export", ID, format="json"))
    client.get(thread_url("export", ID, format="md"))

    assert Reveal.objects.get().exports == 2
    assert "2 exports" in client.get(reverse("reveals")).content.decode()


def test_live_page_etag_depends_on_the_reveal(client: Client, pass_time):
    store_thread()
    address = thread_url("thread-live", ID)

    def read_etag() -> str:
        etag: str = client.get(address)["ETag"]
        assert client.get(address, headers={"If-None-Match": etag}).status_code == 304
        return etag

    masked = read_etag()
    post_secrets(client)
    revealed = read_etag()
    post_secrets(client, "hide")
    hidden = read_etag()
    post_secrets(client)
    pass_time(timedelta(minutes=11))

    assert revealed != masked
    assert [hidden, read_etag()] == [masked, masked]


def reveals(count: int) -> None:
    now = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
    for number in range(count):
        Reveal.objects.create(
            store=workspace.identity(),
            stored_id=f"thread_{number}".encode(),
            user_name="maya",
            address="192.0.2.7",
            at=now,
            until=now + timedelta(minutes=10),
            hidden_at=now + timedelta(minutes=2) if number % 2 else None,
        )


def test_list_displays_user_thread_address_and_duration(client: Client):
    reveals(2)

    page = client.get(reverse("reveals")).content.decode()

    assert page.count("192.0.2.7") == page.count(">maya<div") == 2
    assert page.index(thread_url("thread", "thread_1")) < page.index("hidden at 00:02:00 UTC")
    assert page.index("hidden at 00:02:00 UTC") < page.index(thread_url("thread", "thread_0"))
    assert "expired at 00:10:00 UTC" in page
    assert page.count("2026-01-01 00:00:00 UTC") == 2


def test_list_is_paginated(client: Client):
    reveals(101)
    pages, address = [], reverse("reveals")
    for _ in range(3):
        context = client.get(address).context
        pages.append([row.thread_id for row in context["reveals"]])
        address = f"{reverse('reveals')}?before={context['older']}"

    assert [len(page) for page in pages] == [50, 50, 1]
    assert [id_ for page in pages for id_ in page] == [
        f"thread_{number}" for number in reversed(range(101))
    ]


@pytest.mark.parametrize("count", [1, 3])
def test_list_needs_a_constant_number_of_queries(
    client: Client, django_assert_num_queries, count: int
):
    reveals(count)
    client.get(reverse("reveals"))

    with django_assert_num_queries(5):
        client.get(reverse("reveals"))


@pytest.mark.parametrize(
    ("query", "message"),
    [("", "No one has"), ("?before=1", "No older entries"), ("?before=x", "No one has")],
)
def test_empty_list_has_a_message(client: Client, query: str, message: str):
    assert message in client.get(reverse("reveals") + query).content.decode()


def test_list_contains_only_reveals_of_this_store(client: Client):
    reveals(1)
    Reveal.objects.update(store="/elsewhere/tasks.db")

    assert client.get(reverse("reveals")).context["reveals"] == []


@only_sqlite
def test_check_without_a_reveal_needs_no_query(store, client: Client, django_assert_num_queries):
    checkpoint(task())
    address = f"{reverse('checkpoint')}?checkpoint={TaskCheckpoint.objects.get().pk}"

    with django_assert_num_queries(4):  # session, user, user permissions, group permissions
        client.get(address)
