from types import SimpleNamespace

import pytest
from django.core.exceptions import ImproperlyConfigured

from tasks.engines import engine


def test_unknown_database_is_refused():
    connection = SimpleNamespace(vendor="mysql", display_name="MySQL")
    with pytest.raises(ImproperlyConfigured) as caught:
        engine(connection)
    assert str(caught.value) == "The store is on SQLite or PostgreSQL, not on MySQL."
