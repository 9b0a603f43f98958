"""What is asked of the list of threads, as its address has it."""

from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.core.exceptions import BadRequest
from django.http import QueryDict

from tasks.fields import to_text
from tasks.listing.forms import STALLED, FilterForm
from tasks.models import TaskRecord

COLUMNS = {"activity": "updated_at", "age": "created_at", "steps": "checkpoint_count"}
PERIOD_LENGTHS = {
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}


@dataclass(frozen=True)
class Cursor:
    """A place in an order: what a row has in the column, as stored, and its id."""

    value: str | int
    task_id: str


@dataclass(frozen=True)
class Filters:
    """What is asked of the list; `of()` reads it from an address."""

    status: str = ""
    channel: str = ""
    provider: str = ""
    model: str = ""
    period: str = ""
    start: datetime | None = None
    end: datetime | None = None
    resume: str = ""
    q: str = ""
    where: str = ""
    sort: str = "activity"

    @classmethod
    def of(cls, query: QueryDict) -> "Filters":
        """Raises BadRequest, with the reason, where a value is none that can be asked for."""
        form = FilterForm(query)
        if problem := form.problem():
            raise BadRequest(problem)
        return cls(**form.given())

    def query(self, **changes: str) -> str:
        """The address of this list, or of one with some things changed; "" leaves one out."""
        asked = self.asked() | changes
        return urlencode({name: value for name, value in asked.items() if value})

    def asked(self) -> dict[str, str]:
        """What is not as it is by itself, as the address has it."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {
            name: value.strftime("%Y-%m-%dT%H:%M:%S") if isinstance(value, datetime) else value
            for name, value in values.items()
            if value and (name, value) != ("sort", "activity")
        }

    @property
    def column(self) -> str:
        return COLUMNS[self.sort.removeprefix("-")]

    @property
    def is_descending(self) -> bool:
        return not self.sort.startswith("-")

    @property
    def is_live(self) -> bool:
        """Whether new activity comes first, and costs little to look for."""
        return self.sort == "activity" and not self.is_heavy

    @property
    def is_heavy(self) -> bool:
        """Whether histories must be looked at, or what lies behind them on SQLite's pages."""
        is_far = self.column != "updated_at" and (self.status == STALLED or self.has_times)
        return bool(self.resume) or is_far or (bool(self.q) and self.where != "ids")

    @property
    def has_times(self) -> bool:
        return bool(self.period or self.start or self.end)

    def cursor(self, record: TaskRecord) -> Cursor:
        return cursor_of(getattr(record, self.column), record.task_id)


def cursor_of(value: Any, task_id: str) -> Cursor:
    return Cursor(value if isinstance(value, int) else to_text(value), task_id)
