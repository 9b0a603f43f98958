"""Tests of who may use each address of the site, for every method and every kind of user.

`LADDER`, `DOORS` and `ADMIN` hold the expected answers. Every address must be in one of them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from importlib import import_module
from itertools import cycle, product
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.db import connections, transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from archive.models import Clearing, Reveal, Source
from tasks import service
from tasks.addresses import id_to_path, thread_token
from tasks.clearing import lifecycle
from tasks.clearing.lifecycle import Actor
from tasks.models import TaskCheckpoint, TaskRecord
from tests.support.factories import snapshot, update

pytestmark = pytest.mark.django_db(databases="__all__")

NEVER = ("PUT", "PATCH", "DELETE")  # refused without asking the visitor to sign in first
RANKS = {"anonymous": 0, "disabled": 0, "stranger": 1, "viewer": 2, "staff": 2, "operator": 3}
RANKS |= {"superuser": 4}  # staff rank like viewers, but may also use the admin
PEOPLE = tuple(RANKS)
SIGN_IN, NO, OK, AWAY, WRONG, ABSENT = "sign in", 403, 200, 302, 405, 404
ID = "telegram_42"


@dataclass(frozen=True)
class Rule:
    """Who may use an address, and which response statuses each kind of user gets."""

    least: str  # the lowest-ranking kind of user who may use the address
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
        if answer == WRONG:  # the method is checked before the permission
            return WRONG
        return answer if RANKS[person] >= RANKS[self.least] else NO


THREAD = f"?id={ID}"
LADDER = {
    "threads": Rule("viewer"),
    "overview": Rule("viewer"),
    "actions": Rule("viewer"),
    "errors": Rule("viewer"),
    "thread": Rule("viewer", query=THREAD),
    "thread-live": Rule("viewer", query=THREAD),
    "step": Rule("viewer", safe=AWAY, query="?checkpoint={step}"),
    "raw": Rule("viewer", query=THREAD),
    "export": Rule("viewer", query=THREAD + "&format=json"),
    "message": Rule("viewer", query=THREAD + "&message=1"),
    "checkpoint": Rule("viewer", query="?checkpoint={step}"),
    "secrets": Rule("operator", WRONG, AWAY, query=THREAD, form={"do": "show"}),
    "reveals": Rule("operator"),
    "clear": Rule("operator", post=409, query=THREAD),
    "clear-selected": Rule("operator", WRONG, AWAY, form={"thread": thread_token(ID)}),
    "cleared": Rule("operator"),
    "clearing": Rule("operator"),
    "clearing-thread": Rule("operator", safe=ABSENT, query="?thread=1"),  # it is not archived
    "clearing-confirm": Rule("operator", WRONG, AWAY),
    "clearing-go-on": Rule("operator", WRONG, AWAY),
    "clearing-cancel": Rule("operator", WRONG, AWAY),
    "clearing-restore": Rule("operator", WRONG, AWAY),
}
TOKEN = "t" * 32
REST = "(?P<url>.*)$"
ADMIN_ARGUMENTS: dict[str, list[Any]] = {"admin:view_on_site": [1, 1], "admin:app_list": ["tasks"]}


@dataclass(frozen=True)
class PublicPage:
    """How a public page responds to signed-out and signed-in users. HEAD works like GET."""

    outside: dict[str, Any]
    inside: dict[str, Any]
    staff: dict[str, Any] | None = None  # set only if staff get different responses

    def expected(self, person: str, method: str) -> Any:
        answers = self.inside if RANKS[person] else self.outside
        if self.staff is not None and person in ("staff", "superuser"):
            answers = self.staff
        return answers.get("GET" if method == "HEAD" else method, WRONG)


@dataclass(frozen=True)
class AdminRule:
    """How an admin page responds to staff with view permissions, superusers, and everyone else."""

    get: Any = (OK, OK)  # for staff and for superusers
    post: Any = None  # set only if POST differs from GET
    options: Any = None
    others: Any = SIGN_IN  # the response to other signed-in users

    def expected(self, person: str, method: str) -> Any:
        if method in NEVER:
            return WRONG
        if person not in ("staff", "superuser"):
            return self.others if RANKS[person] else SIGN_IN
        answers = {"POST": self.post, "OPTIONS": self.options}.get(method) or self.get
        return answers[person == "superuser"]


ALL = dict.fromkeys(("GET", "POST", "OPTIONS"), OK)
PUBLIC_PAGES = {
    "sign-in": PublicPage(ALL, dict.fromkeys(ALL, AWAY)),
    "sign-in-link": PublicPage(
        {"GET": NO, "POST": NO}, {"GET": NO, "POST": NO}
    ),  # the URL has no token
    "sign-out": PublicPage(dict.fromkeys(ALL, SIGN_IN), {"OPTIONS": OK, "POST": SIGN_IN}),
    "favicon": PublicPage({"GET": AWAY}, {"GET": AWAY}),
    "/admin/login/": PublicPage({"GET": SIGN_IN}, {"GET": NO}, {"GET": SIGN_IN}),
}
BOTH, NOBODY, ONLY_SUPERUSER = (OK, OK), (NO, NO), (NO, OK)
NOT_POSTED = (WRONG, WRONG)
ADMIN = {
    "admin:index": AdminRule(),
    "admin:app_list": AdminRule(),
    "admin:login": PublicPage(
        {"GET": SIGN_IN}, {"GET": NO}, {"GET": SIGN_IN}
    ),  # same as /admin/login/
    "admin:logout": AdminRule(NOT_POSTED, (SIGN_IN, SIGN_IN), BOTH, others=AWAY),
    "admin:password_change": AdminRule(),
    "admin:password_change_done": AdminRule(BOTH, NOT_POSTED),
    "admin:autocomplete": AdminRule(NOBODY, NOT_POSTED, BOTH),
    "admin:jsi18n": AdminRule(BOTH, NOT_POSTED),
    "admin:view_on_site": AdminRule((ABSENT, ABSENT)),
    "/admin/" + REST: AdminRule((ABSENT, ABSENT)),
}
for _model in ("taskrecord", "taskcheckpoint"):
    ADMIN |= {
        f"admin:tasks_{_model}_changelist": AdminRule(),
        f"admin:tasks_{_model}_history": AdminRule(),
        f"admin:tasks_{_model}_change": AdminRule(BOTH, NOBODY, NOBODY),
        f"admin:tasks_{_model}_add": AdminRule(NOBODY),
        f"admin:tasks_{_model}_delete": AdminRule(NOBODY),
        f"/admin/tasks/{_model}/<path:object_id>/": AdminRule((AWAY, AWAY)),
    }
for _model in ("user", "group"):
    for _page in ("changelist", "history", "change", "add", "delete"):
        ADMIN[f"admin:auth_{_model}_{_page}"] = AdminRule(ONLY_SUPERUSER)
    ADMIN[f"/admin/auth/{_model}/<path:object_id>/"] = AdminRule((AWAY, AWAY))
ADMIN["admin:auth_user_password_change"] = AdminRule(ONLY_SUPERUSER)
RULES = {**LADDER, **PUBLIC_PAGES, **ADMIN}


def declared(name: str) -> Any:
    return RULES[name]


def addresses() -> Iterator[str]:
    """Yield the name of every URL pattern, or its path if it has no name."""
    yield from (name for name, _ in _walk(get_resolver(), "/", ""))


def _walk(resolver: URLResolver, path: str, namespace: str) -> Iterator[tuple[str, str]]:
    for pattern in resolver.url_patterns:
        route = path + str(pattern.pattern)
        if isinstance(pattern, URLPattern):
            yield (f"{namespace}{pattern.name}" if pattern.name else route), route
        else:
            inner = f"{pattern.namespace}:" if pattern.namespace else namespace
            yield from _walk(pattern, route, inner)


def client_of(name: str, codenames: tuple[str, ...]) -> Client:
    """Create a user, and return a client that is signed in as the user and enforces CSRF checks."""
    user = get_user_model().objects.create_user(
        name, is_superuser=name == "superuser", is_staff=name in ("staff", "superuser")
    )
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    if name == "disabled":
        get_user_model().objects.filter(pk=user.pk).update(is_active=False)
    return client


@pytest.fixture
def people(db: None) -> dict[str, Client]:
    viewing = ("view_taskrecord", "view_taskcheckpoint")
    operator = (*viewing, "clear_thread", "reveal_secrets")
    permissions: dict[str, tuple[str, ...]] = {
        "disabled": operator,
        "stranger": (),
        "viewer": viewing,
        "staff": viewing,
        "operator": operator,
        "superuser": (),
    }
    clients = {name: client_of(name, permissions[name]) for name in permissions}
    clients["anonymous"] = Client(enforce_csrf_checks=True)
    for client in clients.values():
        client.cookies["gloamy_csrf"] = TOKEN
    return clients


@pytest.fixture
def address_of() -> Callable[[str], str]:
    """A function that returns the full address for a URL name, with the ids of existing objects."""
    service.record_checkpoint(update())
    service.save_snapshot(snapshot())
    clearing = lifecycle.draft(lifecycle.plan([ID]), Actor(Source.COMMAND))
    lifecycle.confirm(clearing)
    step = TaskCheckpoint.objects.get().pk
    user = get_user_model().objects.create_user("subject").pk
    keys = {"taskrecord": id_to_path(ID), "taskcheckpoint": step, "user": user}
    keys["group"] = Group.objects.create(name="subject").pk

    def full(name: str) -> str:
        if name.startswith("/"):
            model = next((model for model in keys if f"/{model}/" in name), "")
            return name.replace("<path:object_id>", str(keys.get(model))).replace(REST, "nothing")
        rule = declared(name)
        arguments = [clearing.pk] if name.startswith("clearing") else ADMIN_ARGUMENTS.get(name, [])
        if name.endswith(("_change", "_delete", "_history")):
            model = name.split("_")[1] if name.count("_") > 1 else ""
            arguments = [keys[model]] if model in keys else []
        query = rule.query.format(step=step) if isinstance(rule, Rule) else ""
        return reverse(name, args=arguments) + query

    return full


def send(client: Client, method: str, address: str, form: Any, token: str = TOKEN) -> Any:
    headers = {"X-CSRFToken": token} if token else {}
    return client.generic(method, address, headers=headers, **body(method, form or {}))


def test_every_url_has_a_rule():
    assert set(addresses()) == set(RULES)


@pytest.mark.parametrize("rules", [LADDER, PUBLIC_PAGES, ADMIN], ids=["site", "public", "admin"])
def test_each_user_gets_exactly_the_declared_access(rules: dict[str, Any], people, address_of):
    assert set(people) == set(PEOPLE)
    before, never = state(), cycle(NEVER)
    for name, (person, client) in product(rules, people.items()):
        rule, address, case = rules[name], address_of(name), f"{person} at {name}"
        form = getattr(rule, "form", None)
        if RANKS[person] in (0, 3, 4):
            assert send(client, "POST", address, form, token="").status_code == 403, case
            assert state() == before, case
        with rolled_back(client):
            answers = {"GET": access(assert_leads_to_a_page(client, address))}
            for method in (next(never), "HEAD", "OPTIONS", "POST"):  # POST may end the session
                answers[method] = access(send(client, method, address, form))
            expected = {method: rule.expected(person, method) for method in answers}
            assert (case, answers) == (case, expected)
            assert person in ("operator", "superuser") or state() == before, case


@contextmanager
def rolled_back(client: Client) -> Iterator[None]:
    """Undo all changes that the block makes to either database and to the client's cookies."""
    cookies = deepcopy(client.cookies)
    with transaction.atomic("default"), transaction.atomic("tasks"):
        yield
        for alias in ("default", "tasks"):
            transaction.set_rollback(True, alias)
    client.cookies = cookies


def assert_leads_to_a_page(client: Client, address: str) -> Any:
    """Follow redirects to their end, and return the first response."""
    visited: dict[str, Any] = {}
    while address not in visited:
        visited[address] = answer = client.get(address)
        if answer.status_code != AWAY:
            answer.getvalue()  # reads a streamed file to its end, which closes the file
            return next(iter(visited.values()))
        address = answer["Location"]
    pytest.fail(f"redirects go round in a circle: {[*visited]}")


def state() -> tuple[Any, ...]:
    """Return the state of everything that a request could change."""
    users = get_user_model().objects.order_by("pk").values_list("pk", "username", "is_active")
    clearings = Clearing.objects.order_by("pk").values_list("pk", "stage")
    models = (TaskRecord, TaskCheckpoint, Group, Reveal)
    return list(users), list(clearings), *(model.objects.count() for model in models)


def body(method: str, data: Any) -> dict[str, Any]:
    if method != "POST":
        return {}
    return {"data": urlencode(data), "content_type": "application/x-www-form-urlencoded"}


def access(response: Any) -> Any:
    to_sign_in = ("/sign-in/", "/admin/login/")
    is_sign_in = response.status_code == 302 and response["Location"].startswith(to_sign_in)
    return SIGN_IN if is_sign_in else response.status_code


def test_draft_is_visible_only_to_users_who_may_clear(people, address_of):
    draft = lifecycle.draft(lifecycle.plan([ID]), Actor(Source.LIST))
    address = reverse("clearing", args=[draft.pk])

    answers = {person: access(client.get(address)) for person, client in people.items()}

    assert answers == {
        "anonymous": SIGN_IN,
        "disabled": SIGN_IN,
        "stranger": NO,
        "viewer": NO,
        "staff": NO,
        "operator": OK,
        "superuser": OK,
    }


def group_permissions() -> dict[str, list[str]]:
    return {
        group.name: sorted(group.permissions.values_list("codename", flat=True))
        for group in Group.objects.all()
    }


def test_migrations_create_two_groups_and_keep_existing_permissions():
    make_groups = import_module("archive.migrations.0002_groups").make_groups
    let_operators_see = import_module("archive.migrations.0004_reveal_secrets").let_operators_see
    Group.objects.all().delete()
    site = SimpleNamespace(connection=connections["default"])
    viewer_permissions = ["view_taskcheckpoint", "view_taskrecord"]
    for _ in range(2):
        make_groups(apps, site)
    assert group_permissions() == {
        "Viewers": viewer_permissions,
        "Operators": ["clear_thread", *viewer_permissions],
    }

    for _ in range(2):
        let_operators_see(apps, site)

    operator_permissions = ["clear_thread", "reveal_secrets", *viewer_permissions]
    assert group_permissions() == {"Viewers": viewer_permissions, "Operators": operator_permissions}


def test_migration_does_not_recreate_deleted_groups():
    Group.objects.all().delete()

    import_module("archive.migrations.0004_reveal_secrets").let_operators_see(
        apps, SimpleNamespace(connection=connections["default"])
    )

    assert group_permissions() == {}
