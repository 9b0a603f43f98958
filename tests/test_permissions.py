"""Who may do what: every address of the site, every method, every kind of person.

`LADDER` says it; an address that is not in it fails the test.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.db import connections
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from archive.models import Clearing, Source
from tasks import clearing, service
from tasks.admin import id_in_path
from tasks.clearing import Actor
from tasks.models import TaskCheckpoint, TaskRecord
from tasks.tokens import token_of
from tests.factories import snapshot, update

pytestmark = pytest.mark.django_db(databases="__all__")

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")
NEVER = ("PUT", "DELETE")  # refused before anybody is asked to sign in
PEOPLE = ("anonymous", "stranger", "viewer", "operator", "superuser")
SIGN_IN, NO, OK, AWAY, WRONG, ABSENT = "sign in", 403, 200, 302, 405, 404
ID = "telegram_42"


@dataclass(frozen=True)
class Rule:
    """What anybody gets who may open an address, and who that is."""

    least: str  # the first of PEOPLE who may
    safe: int = OK  # GET and HEAD
    post: int = WRONG
    query: str = ""
    form: Any = None

    def expected(self, person: str, method: str) -> Any:
        if method in NEVER:
            return WRONG
        if person == "anonymous" and self.least != "anonymous":
            return SIGN_IN
        answer = {"GET": self.safe, "HEAD": self.safe, "POST": self.post}.get(method, WRONG)
        if answer == WRONG:  # the method is looked at first
            return WRONG
        return answer if PEOPLE.index(person) >= PEOPLE.index(self.least) else NO


THREAD = f"?id={ID}"
LADDER = {
    "threads": Rule("viewer"),
    "thread": Rule("viewer", query=THREAD),
    "thread-live": Rule("viewer", query=THREAD),
    "step": Rule("viewer", safe=AWAY, query="?checkpoint={step}"),
    "raw": Rule("viewer", query=THREAD),
    "export": Rule("viewer", query=THREAD + "&format=json"),
    "message": Rule("viewer", query=THREAD + "&message=1"),
    "checkpoint": Rule("viewer", query="?checkpoint={step}"),
    "clear": Rule("operator", post=409, query=THREAD),
    "clear-selected": Rule("operator", WRONG, AWAY, form={"thread": token_of(ID)}),
    "cleared": Rule("viewer"),
    "clearing": Rule("viewer"),
    "clearing-confirm": Rule("operator", WRONG, AWAY),
    "clearing-go-on": Rule("operator", WRONG, AWAY),
    "clearing-cancel": Rule("operator", WRONG, AWAY),
    "clearing-restore": Rule("operator", WRONG, AWAY),
}
# Signing in and out are for all, and Django's own; their tests are in test_accounts.
FOR_ALL = {"sign-in", "sign-in-link", "sign-out"}


def addresses() -> Iterator[str]:
    """The name of every address that is not the admin's."""
    for pattern in _patterns(get_resolver()):
        yield str(pattern.name or pattern.pattern)


def _patterns(resolver: URLResolver) -> Iterator[URLPattern]:
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLPattern):
            yield pattern
        elif pattern.app_name != "admin":
            yield from _patterns(pattern)


@pytest.fixture
def people(db: None) -> dict[str, Client]:
    rights = {
        "stranger": (),
        "viewer": ("view_taskrecord", "view_taskcheckpoint"),
        "operator": ("view_taskrecord", "view_taskcheckpoint", "clear_thread"),
        "superuser": (),
    }
    clients = {"anonymous": Client()}
    for name, codenames in rights.items():
        user = get_user_model().objects.create_user(name, is_superuser=name == "superuser")
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        clients[name] = Client()
        clients[name].force_login(user)
    return clients


@pytest.fixture
def place() -> Callable[[str, Rule], str]:
    """The full address of a name, with something there to see."""
    service.record_checkpoint(update())
    service.save_snapshot(snapshot())
    act = clearing.draft([ID], Actor(Source.COMMAND))
    clearing.confirm(act)
    step = TaskCheckpoint.objects.get().pk

    def full(name: str, rule: Rule) -> str:
        arguments = [act.pk] if name.startswith("clearing") else []
        return reverse(name, args=arguments) + rule.query.format(step=step)

    return full


def test_every_address_is_declared():
    assert {name for name in addresses() if name != "admin/login/"} == set(LADDER) | FOR_ALL


@pytest.mark.parametrize("person", PEOPLE)
@pytest.mark.parametrize("name", LADDER)
def test_person_gets_what_is_declared(name: str, person: str, people, place):
    rule, client = LADDER[name], people[person]
    for method in METHODS:
        data = (rule.form or {}) if method == "POST" else None
        response = client.generic(method, place(name, rule), **body(method, data))
        assert got(response) == rule.expected(person, method), method


@pytest.mark.parametrize("name", LADDER)
def test_those_who_may_not_change_nothing(name: str, people, place):
    rule = LADDER[name]
    before = Clearing.objects.count()
    for person in ("anonymous", "stranger", "viewer"):
        people[person].post(place(name, rule), rule.form or {})

    assert (TaskRecord.objects.count(), Clearing.objects.count()) == (1, before)
    assert Clearing.objects.latest("pk").stage == "running"


ADMIN = {
    "index": [],
    "tasks_taskrecord_changelist": [],
    "tasks_taskrecord_change": [id_in_path(ID)],
    "tasks_taskrecord_history": [id_in_path(ID)],
    "tasks_taskcheckpoint_changelist": [],
    "auth_user_changelist": [],
    "auth_group_changelist": [],
}


@pytest.mark.parametrize("person", PEOPLE)
@pytest.mark.parametrize("name", ADMIN)
def test_admin_is_for_staff(name: str, person: str, people, place):
    """None of these but the superuser is staff, and he only if he is made so."""
    for method in ("GET", "POST"):
        response = people[person].generic(method, reverse(f"admin:{name}", args=ADMIN[name]))
        assert response.status_code == 302, method


def body(method: str, data: Any) -> dict[str, Any]:
    if method != "POST":
        return {}
    return {"data": urlencode(data), "content_type": "application/x-www-form-urlencoded"}


def got(response: Any) -> Any:
    is_sign_in = response.status_code == 302 and response["Location"].startswith("/sign-in/")
    return SIGN_IN if is_sign_in else response.status_code


def test_a_draft_is_seen_by_those_who_may_clear(people, place):
    draft = clearing.draft([ID], Actor(Source.LIST))
    address = reverse("clearing", args=[draft.pk])

    answers = {person: got(client.get(address)) for person, client in people.items()}

    assert answers == {
        "anonymous": SIGN_IN,
        "stranger": NO,
        "viewer": ABSENT,
        "operator": OK,
        "superuser": OK,
    }


def test_migration_makes_two_groups_and_leaves_what_is_there():
    make_groups = import_module("archive.migrations.0002_groups").make_groups
    Group.objects.all().delete()
    for _ in range(2):
        make_groups(apps, SimpleNamespace(connection=connections["default"]))

    rights = {
        group.name: sorted(group.permissions.values_list("codename", flat=True))
        for group in Group.objects.all()
    }
    viewing = ["view_taskcheckpoint", "view_taskrecord"]
    assert rights == {"Viewers": viewing, "Operators": ["clear_thread", *viewing]}
