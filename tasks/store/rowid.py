"""SQLite's own number of a row, by which one is found whose id is missing or cannot be read."""

from typing import Any

from django.db.models import BigIntegerField, Func


def is_spoilt(key: Any) -> bool:
    """Whether a row cannot be found by its id: SQLite lets a key be NULL, bytes or no UTF-8."""
    return not isinstance(key, str) or "\ufffd" in key


class RowId(Func):
    """`RowId("task_id")` is the number of the row that holds this column; NULL on PostgreSQL."""

    arity = 1
    output_field = BigIntegerField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        column, params = compiler.compile(self.get_source_expressions()[0])
        return f"{column.rpartition('.')[0]}.rowid", params

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return "NULL::bigint", ()
