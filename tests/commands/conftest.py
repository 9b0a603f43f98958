"""Fixtures of the tests of commands."""

import pytest
from django.db.backends.base.base import BaseDatabaseWrapper


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test connect to a database that the test framework has not prepared."""
    original = BaseDatabaseWrapper.ensure_connection

    def ensure_connection(self: BaseDatabaseWrapper) -> None:
        if self.alias != "other":
            original(self)
        elif self.connection is None:
            self.connect()

    monkeypatch.setattr(BaseDatabaseWrapper, "ensure_connection", ensure_connection)
