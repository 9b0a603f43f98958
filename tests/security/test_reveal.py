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
from tests.support.factories import checkpoint, only_sqlite, snapshot, task, update
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
def lifted(monkeypatch: pytest.MonkeyPatch) -> Callable[[Client, str], bool]:
    """A function that requests a page and returns whether the page shows secrets unmasked."""
    lifts: list[bool] = []
    monkeypatch.setattr(request_masking, "lift", lambda: lifts.append(True))

    def ask(client: Client, address: str) -> bool:
        lifts.clear()
        response = client.get(address)
        assert response.status_code == 200, address
        return bool(lifts)

    return ask


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """A function that moves the clock forward by the given interval and then stops the clock."""

    def ahead(by: timedelta) -> None:
        now = timezone.now() + by
        monkeypatch.setattr(timezone, "now", lambda: now)

    return ahead


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def ask(client: Client, do: str = "show", thread_id: str = ID, **form: str) -> Any:
    return client.post(thread_url("secrets", thread_id), {"do": do, **form})


def views_of(thread_id: str = ID) -> dict[str, str]:
    """Return the URLs of all views that show the thread's data, keyed by a name for each view."""
    step = TaskCheckpoint.objects.filter(task__thread_id=thread_id).latest("pk").pk
    tabs = ("transcript", "checkpoints", "resume", "raw")
    texts = ("execution_history_json", "resumable_history_json", "last_error")
    return {
        **{tab: thread_url("thread", thread_id, show=tab) for tab in tabs},
        "piece": thread_url("thread", thread_id, piece="later", message=1),
        "live": thread_url("thread-live", thread_id),
        "message": thread_url("message", thread_id, message=1),
        "message's text": thread_url("message", thread_id, text="last_error"),
        **{text: thread_url("raw", thread_id, text=text) for text in texts},
        "checkpoint": f"{reverse('checkpoint')}?checkpoint={step}",
        **{name: thread_url("export", thread_id, format=name) for name in FORMATS},
    }


def lifting(client: Client, lifted: Callable[[Client, str], bool], **addresses: str) -> set[str]:
    """Return the names of the given views whose responses leave secrets unmasked."""
    return {name for name, address in addresses.items() if lifted(client, address)}


def stored(thread_id: str = ID) -> None:
    names = {"task_id": thread_id, "thread_id": thread_id}
    service.record_checkpoint(update(**names))
    service.save_snapshot(snapshot(**names, status=TaskStatus.FAILED, last_error="it broke"))


def test_nothing_is_lifted_until_it_is_asked_for(store, client: Client, lifted):
    stored()

    assert lifting(client, lifted, **views_of()) == set()


def test_every_view_of_the_thread_is_lifted_and_no_other_page(store, client: Client, lifted):
    stored()
    stored("other")
    User.objects.update(is_superuser=True, is_staff=True)
    ask(client)

    assert lifting(client, lifted, **views_of()) == set(views_of())
    assert lifting(client, lifted, **views_of("other")) == set()
    others = ["/", "/?q=hello", "/cleared/", "/secrets/", thread_url("clear", ID)]
    others += ["/admin/", "/admin/tasks/taskrecord/", "/admin/tasks/taskcheckpoint/"]
    assert lifting(client, lifted, **{address: address for address in others}) == set()


def test_hiding_hides(client: Client, lifted):
    stored()
    ask(client)
    ask(client, "hide")

    assert not lifted(client, THREAD)
    row = Reveal.objects.get()
    assert row.hidden_at is not None
    assert row.at <= row.hidden_at < row.until


def test_hiding_what_is_not_shown_changes_nothing(client: Client, lifted):
    stored()
    stored("other")
    ask(client)
    ask(client, "hide", "other")

    assert lifted(client, THREAD)
    assert Reveal.objects.get().hidden_at is None


def test_time_runs_out(client: Client, lifted, pass_time):
    stored()
    ask(client)
    pass_time(timedelta(minutes=9, seconds=50))
    assert lifted(client, THREAD)

    pass_time(timedelta(seconds=11))

    assert lifting(client, lifted, **views_of()) == set()
    ask(client, "hide")
    assert Reveal.objects.get().hidden_at is None  # the reveal had already expired


def test_one_thread_is_shown_at_a_time(client: Client, lifted):
    stored()
    stored("other")
    ask(client)
    ask(client, thread_id="other")

    assert not lifted(client, THREAD)
    assert lifted(client, thread_url("thread", "other"))
    first, second = Reveal.objects.order_by("pk")
    assert (first.hidden_at, second.hidden_at) == (second.at, None)


def test_other_session_of_the_same_person_sees_none(client: Client, person: User, lifted):
    stored()
    ask(client)

    assert not lifted(signed_in(person), THREAD)


def test_other_store_s_thread_of_that_id_stays_masked(client: Client, lifted, monkeypatch):
    stored()
    ask(client)
    monkeypatch.setattr(workspace, "identity", lambda: "/elsewhere/tasks.db")

    assert not lifted(client, THREAD)


def test_permission_is_asked_again(client: Client, person: User, lifted):
    stored()
    ask(client)
    person.user_permissions.remove(Permission.objects.get(codename="reveal_secrets"))

    assert not lifted(client, THREAD)
    assert ask(client, "hide").status_code == 403


def test_signing_out_ends_it(client: Client, person: User, lifted):
    stored()
    ask(client)
    client.post(reverse("sign-out"))
    assert Reveal.objects.get().hidden_at is not None
    client.force_login(person)

    assert not lifted(client, THREAD)


def test_clearing_alone_is_no_permission(operator: Client):
    stored()

    assert ask(operator).status_code == 403
    assert operator.get(reverse("reveals")).status_code == 403
    assert not Reveal.objects.exists()


def test_looking_is_asked_for_besides(person: User):
    stored()
    person.user_permissions.set(Permission.objects.filter(codename="reveal_secrets"))

    assert ask(signed_in(person)).status_code == 403


def test_what_was_shown_is_on_record(store, client: Client, person: User):
    stored()
    ask(client)

    row = Reveal.objects.get()
    assert (row.thread_id, row.store, row.user) == (ID, workspace.identity(), person)
    assert (row.user_name, row.address) == ("maya", "127.0.0.1")
    assert row.until - row.at == timedelta(minutes=10)
    entry = LogEntry.objects.get()
    assert (entry.user, entry.object_id) == (person, str(row.pk))
    assert str(entry) == "Added “Secrets of telegram_42”."


def test_record_outlives_the_account(client: Client, person: User):
    stored()
    ask(client)
    person.delete()

    row = Reveal.objects.get()
    assert (row.user, row.user_name) == (None, "maya")


@pytest.mark.parametrize("model", [Reveal, LogEntry])
def test_nothing_is_shown_that_cannot_be_written_down(
    client: Client, lifted, monkeypatch: pytest.MonkeyPatch, model
):
    stored()

    def fail(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("database or disk is full")

    monkeypatch.setattr(model, "save", fail)
    monkeypatch.setattr(model.objects, "create", fail, raising=False)

    assert ask(client).status_code == 503
    assert not lifted(client, THREAD)
    assert not Reveal.objects.exists()


def test_what_is_hidden_stays_hidden_where_that_cannot_be_written(
    client: Client, lifted, monkeypatch: pytest.MonkeyPatch
):
    stored()
    ask(client)

    def fail(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("database is locked")

    monkeypatch.setattr(reveal, "_record_end", fail)

    assert ask(client, "hide").status_code == 302
    assert not lifted(client, THREAD)
    assert Reveal.objects.get().hidden_at is None


@pytest.mark.parametrize("thread_id", ODD_IDS)
def test_thread_of_any_id_is_shown_hidden_and_listed(store, client: Client, lifted, thread_id: str):
    service.record_checkpoint(update(task_id=thread_id, thread_id=thread_id))
    address = thread_url("thread", thread_id)

    done = ask(client, thread_id=thread_id, back=address)
    assert done["Location"].startswith("/thread/?")
    assert (
        client.get(done["Location"]).context["page"].record.thread_id
        == Reveal.objects.get().thread_id
    )
    assert lifted(client, address)
    assert thread_url("thread", Reveal.objects.get().thread_id).replace("&", "&amp;") in (
        client.get(reverse("reveals")).content.decode()
    )
    assert HtmlAudit(client.get(address).content.decode()).problems == []
    ask(client, "hide", thread_id)
    assert not lifted(client, address)


def test_entry_in_the_log_holds_no_nul():
    row = Reveal(stored_id=b"a\0b")

    assert str(row) == "Secrets of a\ufffdb"


@pytest.mark.parametrize(
    ("do", "thread_id", "status"),
    [("", ID, 400), ("reveal", ID, 400), ("show", "gone", 404), ("hide", "gone", 404)],
)
def test_what_makes_no_sense_is_refused(client: Client, do: str, thread_id: str, status: int):
    stored()

    assert ask(client, do, thread_id).status_code == status
    assert not Reveal.objects.exists()


def test_address_must_name_a_thread(client: Client):
    assert client.post(reverse("secrets"), {"do": "show"}).status_code == 400


def test_get_shows_nothing(client: Client, lifted):
    stored()

    assert client.get(thread_url("secrets", ID), {"do": "show"}).status_code == 405
    assert not lifted(client, THREAD)


def test_form_needs_its_token(person: User):
    stored()
    client = Client(enforce_csrf_checks=True)
    client.force_login(person)

    assert ask(client).status_code == 403
    assert not Reveal.objects.exists()


GOOD = [
    f"{THREAD}&show=checkpoints",
    f"{THREAD}&show=resume&list=status%3Dfailed",
    f"{THREAD}&find=a%26b%0Ac&hit=2",
]


@pytest.mark.parametrize("back", GOOD)
def test_way_back_leads_to_the_same_tab(client: Client, back: str):
    stored()

    assert ask(client, back=back)["Location"] == back
    assert ask(client, "hide", back=back)["Location"] == back


BAD = [
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


@pytest.mark.parametrize("back", BAD)
def test_way_back_leads_nowhere_else(client: Client, back: str):
    stored()

    assert ask(client, back=back)["Location"] == THREAD


def test_way_back_holds_no_line_end(client: Client):
    stored()

    there = ask(client, back=f"{THREAD}&list=\r\nSet-Cookie: x=y")["Location"]

    assert there == f"{THREAD}&list=Set-Cookie%3A+x%3Dy"


def form_in(client: Client, address: str, do: str) -> bool:
    return f'name="do" value="{do}"' in client.get(address).content.decode()


def test_page_offers_to_show_and_then_to_hide(client: Client):
    stored()
    for address in (THREAD, thread_url("thread-live", ID)):
        assert (form_in(client, address, "show"), form_in(client, address, "hide")) == (True, False)
    ask(client)

    for address in (THREAD, thread_url("thread-live", ID)):
        assert (form_in(client, address, "show"), form_in(client, address, "hide")) == (False, True)


def test_page_tells_until_when(client: Client):
    stored()
    ask(client)

    page = client.get(THREAD).content.decode()

    until = f"{Reveal.objects.get().until:%Y-%m-%d %H:%M:%S} UTC"
    assert page.count(f'title="{until}" data-clock') == 1


def test_those_who_may_not_are_told_that_it_is_masked(viewer: Client):
    stored()

    page = viewer.get(THREAD).content.decode()

    assert "Keys, passwords and tokens are masked." in page
    assert thread_url("secrets", ID) not in page
    assert 'href="/secrets/"' not in page


def test_way_back_of_the_page_is_its_own_address(client: Client):
    stored()
    address = f"{THREAD}&show=checkpoints&find=hello"

    assert client.get(address).context["page"].return_url == address
    live = client.get(thread_url("thread-live", ID, show="resume", message=1))
    assert live.context["page"].return_url == f"{THREAD}&show=resume"


def test_what_is_left_open_is_loaded_again_when_time_is_over(client: Client, pass_time):
    stored()
    addresses = {name: at for name, at in views_of().items() if name not in FORMATS}

    def seconds() -> set[str | None]:
        return {client.get(address).headers.get("Refresh") for address in addresses.values()}

    assert seconds() == {None}
    pass_time(timedelta())
    ask(client)
    assert seconds() == {"601"}
    pass_time(timedelta(seconds=599.5))
    assert seconds() == {"1"}
    pass_time(timedelta(seconds=1))
    assert seconds() == {None}


def test_exported_file_loads_nothing(client: Client):
    stored()
    ask(client)

    for name in FORMATS:
        assert "Refresh" not in client.get(thread_url("export", ID, format=name)).headers


def test_exports_with_secrets_are_counted(client: Client):
    stored()
    client.get(thread_url("export", ID, format="json"))
    ask(client)
    client.get(thread_url("export", ID, format="json"))
    client.head(thread_url("export", ID, format="json"))
    client.get(thread_url("export", ID, format="md"))

    assert Reveal.objects.get().exports == 2
    assert "2 exports" in client.get(reverse("reveals")).content.decode()


def test_live_page_changes_with_what_is_shown(client: Client, pass_time):
    stored()
    address = thread_url("thread-live", ID)

    def tag() -> str:
        etag: str = client.get(address)["ETag"]
        assert client.get(address, headers={"If-None-Match": etag}).status_code == 304
        return etag

    masked = tag()
    ask(client)
    shown = tag()
    ask(client, "hide")
    hidden = tag()
    ask(client)
    pass_time(timedelta(minutes=11))

    assert shown != masked
    assert [hidden, tag()] == [masked, masked]


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


def test_list_tells_who_saw_what_from_where_and_how_long(client: Client):
    reveals(2)

    page = client.get(reverse("reveals")).content.decode()

    assert page.count("192.0.2.7") == page.count(">maya<div") == 2
    assert page.index(thread_url("thread", "thread_1")) < page.index("hidden 00:02:00 UTC")
    assert page.index("hidden 00:02:00 UTC") < page.index(thread_url("thread", "thread_0"))
    assert "over at 00:10:00 UTC" in page
    assert page.count("2026-01-01 00:00:00 UTC") == 2


def test_list_has_pages(client: Client):
    reveals(101)
    seen, address = [], reverse("reveals")
    for _ in range(3):
        context = client.get(address).context
        seen.append([row.thread_id for row in context["reveals"]])
        address = f"{reverse('reveals')}?before={context['older']}"

    assert [len(page) for page in seen] == [50, 50, 1]
    assert [id_ for page in seen for id_ in page] == [
        f"thread_{number}" for number in reversed(range(101))
    ]


@pytest.mark.parametrize("count", [1, 3])
def test_list_asks_as_much_whatever_is_in_it(client: Client, django_assert_num_queries, count: int):
    reveals(count)
    client.get(reverse("reveals"))

    with django_assert_num_queries(5):
        client.get(reverse("reveals"))


@pytest.mark.parametrize(
    ("query", "said"),
    [("", "Nobody saw secrets yet"), ("?before=1", "Nothing older"), ("?before=x", "Nobody saw")],
)
def test_empty_list_says_so(client: Client, query: str, said: str):
    assert said in client.get(reverse("reveals") + query).content.decode()


def test_list_is_of_this_store_alone(client: Client):
    reveals(1)
    Reveal.objects.update(store="/elsewhere/tasks.db")

    assert client.get(reverse("reveals")).context["reveals"] == []


@only_sqlite
def test_asking_costs_no_query_where_nothing_is_shown(
    store, client: Client, django_assert_num_queries
):
    checkpoint(task())
    address = f"{reverse('checkpoint')}?checkpoint={TaskCheckpoint.objects.get().pk}"

    with django_assert_num_queries(4):  # session, user, user permissions, group permissions
        client.get(address)
