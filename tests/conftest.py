"""Fixtures shared by all tests: the store on two databases, a clock, clients and a server."""

import gc
import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.cache import caches
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import Client
from django.test.utils import CaptureQueriesContext
from hypothesis import settings as hypothesis_settings

from gloamy_site import middleware, request_body, routers
from tasks.index import following
from tasks.store import transactions
from tasks.views import limits
from tests.support import postgres
from tests.support.factories import skip
from tests.support.server import Server

ALIASES = {"sqlite": "tasks", "postgresql": "postgresql"}

hypothesis_settings.register_profile("gloamy", deadline=None, database=None)
hypothesis_settings.load_profile("gloamy")

# Programs that tests start would otherwise compile the project again each time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

missing_postgres = cache(postgres.unavailable_reason)


def pytest_xdist_auto_num_workers() -> int:
    """Use one worker more than there are cores, because many tests wait for other processes."""
    return len(os.sched_getaffinity(0)) + 1


def pytest_collection_finish() -> None:
    """Spare the garbage collector the objects that exist as long as the process: it is faster."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 20, 20)


def wants_postgres(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)
    return callspec is not None and callspec.params.get("store") == "postgresql"


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Start PostgreSQL if a selected test needs it; otherwise, remove it from the settings."""
    if missing_postgres() or not any(map(wants_postgres, request.session.items)):
        del connections.settings["postgresql"]
        yield
        return
    with postgres.running_postgres(tmp_path_factory.mktemp("postgres")) as server:
        connections.settings["postgresql"].update(server)
        yield


@pytest.fixture(params=list(ALIASES))
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> BaseDatabaseWrapper:
    """The store's database connection. Tests that use this fixture run on both databases."""
    if request.param == "postgresql" and (reason := missing_postgres()):
        skip(reason)
    monkeypatch.setattr(routers, "STORE", ALIASES[request.param])
    return connections[routers.STORE]


@pytest.fixture
def store_file(store: BaseDatabaseWrapper) -> Path:
    """The path of the store's SQLite file, for tests that open it as another program would."""
    return Path(store.settings_dict["NAME"])


@pytest.fixture(autouse=True)
def request_slots(monkeypatch: pytest.MonkeyPatch) -> limits.RequestSlots:
    """Fresh request slots for each test, because users in different tests have the same ids."""
    slots = limits.RequestSlots()
    monkeypatch.setattr(limits, "_slots", slots)
    return slots


@pytest.fixture(autouse=True)
def site_slots() -> None:
    """Free all slots for forms and sign-ins, because all tests share one IP address."""
    for slots in (request_body._strangers, request_body._known, middleware._pending_sign_ins):
        slots._held.clear()


@pytest.fixture(autouse=True)
def no_shared_pages() -> None:
    """Forget the pages and rows of other tests, whose stores can have the same change token."""
    for shared in caches.all():
        shared.clear()


@pytest.fixture(autouse=True)
def no_background(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the index's thread from going on in the next test, which may have another store."""
    monkeypatch.setattr(following, "_in_background", lambda work: None)


class Clock:
    """A clock that advances by one second per call: 2026-01-01T00:00:01, :02, …"""

    def __init__(self) -> None:
        self.seconds = 0

    def __call__(self) -> str:
        self.seconds += 1
        return self.at(self.seconds)

    @staticmethod
    def at(seconds: int) -> str:
        return f"2026-01-01T00:00:{seconds:02}+00:00"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock used by the store's verbs: the first write is at `at(1)`, the second at `at(2)`."""
    clock = Clock()
    monkeypatch.setattr(transactions, "now_rfc3339", clock)
    return clock


def _client(*permissions: str, is_staff: bool = False) -> Client:
    user = get_user_model().objects.create_user("someone", is_staff=is_staff)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def stranger(db: None) -> Client:
    """A client signed in as a user without any permissions."""
    return _client()


@pytest.fixture
def viewer(db: None) -> Client:
    return _client("view_taskrecord", "view_taskcheckpoint")


@pytest.fixture
def staff_viewer(db: None) -> Client:
    return _client("view_taskrecord", "view_taskcheckpoint", is_staff=True)


@pytest.fixture
def operator(db: None) -> Client:
    return _client("view_taskrecord", "view_taskcheckpoint", "clear_thread")


@pytest.fixture
def store_queries() -> Callable[[], CaptureQueriesContext]:
    """`with store_queries() as queries:` captures the statements sent to the store."""
    return lambda: CaptureQueriesContext(connections[routers.STORE])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A `manage.py serve` process on a free port. Tests start it, and the fixture stops it."""
    with Server.on_free_port(tmp_path) as server:
        yield server
