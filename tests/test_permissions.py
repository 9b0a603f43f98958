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
from tasks.clearing import Actor
from tasks.models import TaskCheckpoint, TaskRecord
from tasks.tokens import token_of
from tests.factories import snapshot, update

pytestmark = pytest.mark.django_db(databases="__all__")

METHODS = ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "POST")  # which may end a session
NEVER = ("PUT", "PATCH", "DELETE")  # refused before anybody is asked to sign in
RANKS = {"anonymous": 0, "disabled": 0, "stranger": 1, "viewer": 2, "staff": 2, "operator": 3}
RANKS |= {"superuser": 4}  # the staff may look, too, and use the admin
PEOPLE = tuple(RANKS)
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
        if RANKS[person] == 0 and self.least != "anonymous":
            return SIGN_IN
        answer = {"GET": self.safe, "HEAD": self.safe, "POST": self.post}.get(method, WRONG)
        if answer == WRONG:  # the method is looked at first
            return WRONG
        return answer if RANKS[person] >= RANKS[self.least] else NO


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
FORM = 200  # what a form gets that is not filled in
LADDER |= {
    "sign-in": Rule("anonymous", post=FORM),
    "sign-in-link": Rule("anonymous", post=FORM),
    "sign-out": Rule("anonymous", safe=WRONG, post=AWAY),
    "/admin/login/": Rule("anonymous", safe=AWAY),
}


@dataclass(frozen=True)
class AdminRule:
    """What one of the staff who may look gets of the admin, and the superuser; nobody else may."""

    staff: int = OK
    superuser: int = OK
    posts: tuple[int, int] | None = None  # if a form gets another answer
    options: bool = False  # whether the view knows its methods

    def expected(self, person: str, method: str) -> Any:
        if method in NEVER:
            return WRONG
        if person not in ("staff", "superuser"):
            return SIGN_IN
        answers = (self.staff, self.superuser)
        if method == "POST" and self.posts:
            answers = self.posts
        return answers[person == "superuser"]


def declared(name: str) -> Any:
    return LADDER.get(name) or ADMIN[name]


def addresses() -> Iterator[str]:
    """The name of every address, or the address itself of one without a name."""
    yield from (name for name, _ in _walk(get_resolver(), "/", ""))


def _walk(resolver: URLResolver, path: str, space: str) -> Iterator[tuple[str, str]]:
    for pattern in resolver.url_patterns:
        route = path + str(pattern.pattern)
        if isinstance(pattern, URLPattern):
            yield (f"{space}{pattern.name}" if pattern.name else route), route
        else:
            inner = f"{pattern.namespace}:" if pattern.namespace else space
            yield from _walk(pattern, route, inner)


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
