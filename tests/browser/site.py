"""The site that the browser tests visit: one running server and its two databases."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.backends.db import SessionStore
from django.db import connections
from pytest_django.plugin import DjangoDbBlocker

from tests.support.server import Server

# Every page shows the workspace's name, so the name contains an attack payload, too.
WORKSPACE_NAME = "ws'\"><img src=x onerror=pwned(1)>\u202e"

Snapshot = dict[Path, sqlite3.Connection]


class Site:
    """A running server. The tests fill and read its databases from their own process."""

    def __init__(self, server: Server, blocker: DjangoDbBlocker) -> None:
        self.origin = f"http://127.0.0.1:{server.port}"
        self.workspace = server.workspace
        self.heartbeat = server.workspace.parent / "daemon_state.json"
        self._files = {"tasks": server.store_file, "default": server.folder / "site.sqlite3"}
        self._blocker = blocker
        with self.databases():
            administrator = User.objects.get()
            viewer = User.objects.create_user("viewer")
            viewer.groups.add(Group.objects.get(name="Viewers"))
            self.sessions = {"operator": _session(administrator), "viewer": _session(viewer)}
        self.new = self.snapshot()

    @contextmanager
    def databases(self) -> Iterator[None]:
        """Make Django's models, and therefore the store's verbs, use the server's databases."""
        own = {alias: connections[alias] for alias in self._files}
        for alias, file in self._files.items():
            connections[alias] = type(own[alias])(own[alias].settings_dict | {"NAME": file}, alias)
        ContentType.objects.clear_cache()
        try:
            with self._blocker.unblock():
                yield
        finally:
            for alias, connection in own.items():
                connections[alias].close()
                connections[alias] = connection
            ContentType.objects.clear_cache()

    def execute(self, statement: str, rows: Iterable[Any] = ((),)) -> None:
        """Run SQL on the store once per row, in one transaction, bypassing the store's verbs."""
        with closing(sqlite3.connect(self._files["tasks"])) as connection, connection:
            connection.executemany(statement, rows)

    def query(self, statement: str, database: str = "tasks") -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self._files[database])) as connection:
            return connection.execute(statement).fetchall()

    def snapshot(self) -> Snapshot:
        """Copy both databases into memory."""
        copies = {file: sqlite3.connect(":memory:") for file in self._files.values()}
        for file, copy in copies.items():
            with closing(sqlite3.connect(file)) as connection:
                connection.backup(copy)
        return copies

    def restore(self, snapshot: Snapshot) -> None:
        """Reset both databases to a snapshot, and delete the heartbeat file."""
        for file, copy in snapshot.items():
            with closing(sqlite3.connect(file)) as connection:
                copy.backup(connection)
        self.heartbeat.unlink(missing_ok=True)


def _session(user: User) -> str:
    """Create a signed-in session for the user, and return the session key."""
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    return str(session.session_key)
