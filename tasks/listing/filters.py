"""The filters and sort order of the thread list, parsed from a query string."""

from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Self
from urllib.parse import urlencode

from django.core.exceptions import BadRequest
from django.http import QueryDict

from tasks.fields import to_text
from tasks.index.models import MAX_TEXT, TEXT_FILTERS, ErrorShape, IndexedTask, StatusCount
from tasks.listing.forms import (
    ANY,
    CHECKS,
    PERIODS,
    RETURNED,
    SEARCH_SCOPES,
    STATES,
    FilterForm,
)
from tasks.models import TaskRecord
from tasks.templatetags.threads import absolute

SORT_COLUMNS = {
    "activity": "updated_at",
    "age": "created_at",
    "steps": "checkpoint_count",
    "size": "size",
    "duration": "milliseconds",
}
_NUMBERS = ("steps", "size", "duration")
PERIOD_LENGTHS = {
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}


@dataclass(frozen=True)
class Cursor:
    """A position for keyset paging: a row's stored value in the sort column, and the row's id."""

    value: str | int
    task_id: str

    @classmethod
    def of_row(cls, value: Any, task_id: str) -> Self:
        return cls(value if isinstance(value, int) else to_text(value), task_id)

    @classmethod
    def parse(cls, query: QueryDict, name: str) -> Self | None:
        """Parse the cursor that `params()` wrote, if any. Raise BadRequest if it is invalid."""
        if name not in query:
            return None
        value, task_id = str(query[name]), str(query.get("task", ""))
        if query.get("sort", "").removeprefix("-") not in _NUMBERS:
            return cls(value, task_id)
        digits = value.removeprefix("-")
        if not (digits.isascii() and digits.isdecimal() and len(digits) <= 18):
            raise BadRequest(f"Invalid “{name}” in the URL: it must be a whole number.")
        return cls(int(value), task_id)

    def params(self, name: str) -> dict[str, str]:
        """Return this cursor as query parameters.

        Long values are truncated, so rows with the same truncated value may be skipped or repeated.
        """
        texts = {name: str(self.value), "task": str(self.task_id)}
        return {name: text[:MAX_TEXT] for name, text in texts.items()}


@dataclass(frozen=True)
class Filters:
    status: str = ""
    channel: str = ""
    provider: str = ""
    model: str = ""
    tool: str = ""  # that a task called; if there is an error, the tool that failed with it
    error: str = ""  # the number of a shape, or ANY
    check: str = ""  # that found something, or ANY
    period: str = ""
    start: datetime | None = None
    end: datetime | None = None
    resume: str = ""
    returned: str = ""
    zone: str = ""  # the time zone of dates in `q`
    q: str = ""
    where: str = ""
    sort: str = "activity"

    @classmethod
    def parse(cls, query: QueryDict) -> Self:
        """Parse a query string. Raise BadRequest, with the reason, if a value is invalid."""
        form = FilterForm(query)
        for name, errors in form.errors.items():
            raise BadRequest(f"Invalid “{name}” in the URL: {errors[0]}")
        values = {name: value for name, value in form.cleaned_data.items() if value}
        if not _has_dates(values.get("q", "")):
            values.pop("zone", None)
        return cls(**values)

    def query_string(self, **changes: str) -> str:
        """Return the list's query string with some parameters changed; "" removes a parameter."""
        params = self.params() | changes
        if not params.get("q"):
            params.pop("zone", None)
        return urlencode({name: value for name, value in params.items() if value})

    def params(self) -> dict[str, str]:
        """Return the query parameters that differ from their defaults."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {
            name: _in_url(value) if isinstance(value, datetime) else value
            for name, value in values.items()
            if value and (name, value) != ("sort", "activity")
        }

    def labels(self) -> dict[str, tuple[str, str]]:
        """Return a label, which may be "", and a text for each active filter, by its parameter."""
        params = self.params()
        zone = f" ({self.zone or 'UTC'})" if _has_dates(self.q) else ""
        labels = {
            "status": ("", STATES.get(self.status, "")),
            "tool": ("tool", self.tool),
            "error": ("error", self.error_text),
            "check": ("", CHECKS.get(self.check, "any finding")),
            "period": ("", PERIODS.get(self.period, "")),
            "start": ("from", absolute(self.start)),
            "end": ("until", absolute(self.end)),
            "resume": ("", "cannot resume"),
            "returned": ("", RETURNED),
            "q": (SEARCH_SCOPES[self.where] if self.where else "", f"“{self.q}”{zone}"),
            **{name: (name, params.get(name, "")) for name in TEXT_FILTERS},
        }
        return {name: label for name, label in labels.items() if name in params}

    @cached_property
    def error_text(self) -> str:
        """The shape of the error that the filter is for, or "any"."""
        if not self.error or self.error == ANY:
            return self.error
        shape = ErrorShape.objects.filter(pk=self.error).first()
        return shape.text if shape else "that no thread has"

    @property
    def sort_column(self) -> str:
        return SORT_COLUMNS[self.sort.removeprefix("-")]

    @property
    def is_descending(self) -> bool:
        return not self.sort.startswith("-")

    @property
    def is_live(self) -> bool:
        """Whether the list shows new activity first and is cheap to poll."""
        return self.sort == "activity" and not self.is_heavy

    @property
    def is_heavy(self) -> bool:
        """Whether the query reads histories."""
        return bool(self.q) and self.where != "ids"

    def cursor(self, record: TaskRecord) -> Cursor:
        """Return the record's position in the list."""
        column = self.sort_column
        if (value := getattr(record, column, None)) is None:  # it is only in the index
            rows = IndexedTask.objects.filter(task_id=record.task_id)
            value = rows.values_list(column, flat=True).first() or 0
        return Cursor.of_row(value, record.task_id)


def _in_url(moment: datetime) -> str:
    return f"{moment.replace(tzinfo=None).isoformat()}Z"


def _has_dates(q: str) -> bool:
    return "after:" in q or "before:" in q


def filter_values(max_length: int) -> dict[str, list[str]]:
    """Return the channels, providers and models that some thread has, in order.

    They are those in the index, which a `ThreadList` brings up to date. Values longer than
    `max_length` characters are omitted.
    """
    return {
        name: [value for value in StatusCount.objects.values_of(name) if len(value) <= max_length]
        for name in TEXT_FILTERS
    }
