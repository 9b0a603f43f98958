"""Filters for the admin's lists. Their choices are fixed or come from the newest tasks."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.contrib.admin import SimpleListFilter
from django.core.exceptions import BadRequest
from django.db.models import TextField, Value
from django.db.models.functions import Concat
from django.http import HttpRequest
from django.utils import timezone

from tasks.fields import to_value
from tasks.index import following
from tasks.index.conditions import Condition
from tasks.index.models import TEXT_FILTERS
from tasks.listing.filters import PERIOD_LENGTHS, filter_values
from tasks.listing.forms import PERIODS, STATES
from tasks.store.daemon import daemon

MAX_LENGTH = 300  # maximum number of characters in a filter value
MAX_CHOICES = 12  # maximum number of values that a filter offers from the newest tasks
OLDER = "older"


class ListFilter(SimpleListFilter):
    def value(self) -> str | None:
        return super().value() or None

    def has_output(self) -> bool:
        return True

    def choices(self, changelist: Any) -> Iterator[Any]:
        """Yield "All", then the current value if it is not one of the lookups, then the lookups."""
        lookups, current = list(self.lookup_choices), self.value()
        if current and current not in dict(lookups):
            lookups.insert(0, (current, current))
        yield {
            "selected": not current,
            "query_string": changelist.get_query_string(remove=[self.parameter_name]),
            "display": "All",
        }
        for value, label in lookups:
            yield {
                "selected": current == value,
                "query_string": changelist.get_query_string({self.parameter_name: value}),
                "display": label,
            }

    def invalid_value(self) -> BadRequest:
        return BadRequest(f"Invalid “{self.parameter_name}” in the URL.")


class ChoiceFilter(ListFilter):
    """A filter that only accepts a fixed set of values."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        if self.value() and self.value() not in dict(self.lookup_choices):
            raise self.invalid_value()


class StatusFilter(ChoiceFilter):
    title = parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(state), label) for state, label in STATES.items()]

    def condition(self) -> Condition:
        """Return the condition of the value, which is set, for the list of tasks."""
        return Condition.state(str(self.value()), daemon())


class TaskStatusFilter(StatusFilter):
    """Filters by task status without using its index, as that would mean reading every match."""

    title = "task status"

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if not self.value():
            return queryset
        columns = {name: f"task__{name}" for name in ("status", "updated_at")}
        unindexed = {
            f"unindexed_{name}": Concat(column, Value(""), output_field=TextField())
            for name, column in columns.items()
        }
        condition = Condition.state(str(self.value()), daemon()).build("unindexed_")
        return queryset.alias(**unindexed).filter(condition)


class ActiveFilter(ChoiceFilter):
    title, parameter_name = "last active", "active"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [*PERIODS.items(), (OLDER, "more than 30 days ago")]

    def condition(self) -> Condition:
        return Condition.times(**self.limits())

    def limits(self) -> dict[str, Any]:
        """Return the limits of the times, by lookup; the value is set."""
        is_older = self.value() == OLDER
        length = timedelta(days=30) if is_older else PERIOD_LENGTHS[str(self.value())]
        return {"lt" if is_older else "gte": to_value(timezone.now() - length)}


class TakenFilter(ActiveFilter):
    title, parameter_name = "recorded", "taken"

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        limits = self.limits() if self.value() else {}
        return queryset.filter(**{f"created_at__{lookup}": at for lookup, at in limits.items()})


class TextFilter(ListFilter):
    """A filter that accepts any text, and offers values from the newest tasks as choices."""

    template = "admin/tasks/text_filter.html"
    lookup: str

    def __init__(self, request: HttpRequest, params: dict[str, Any], *args: Any) -> None:
        super().__init__(request, params, *args)
        self.others = [
            (name, value)
            for name, values in request.GET.lists()
            if name not in (self.parameter_name, "p", "e", "after")
            for value in values
        ]
        value = self.value() or ""
        if len(value) > MAX_LENGTH or "\0" in value:
            raise self.invalid_value()

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        if not hasattr(request, "filter_values"):  # all text filters on a page share one query
            following.catch_up()
            request.filter_values = filter_values(MAX_LENGTH)
        values = request.filter_values[self.parameter_name][:MAX_CHOICES]
        return [(value, value) for value in sorted(values) if value]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if not self.value():
            return queryset
        return queryset.filter(**{self.lookup: self.value()})

    def condition(self) -> Condition:
        return Condition.equals(self.lookup, self.value())


def text_filters(prefix: str = "") -> list[type[TextFilter]]:
    """Return a filter for each of a task's short text columns, looked up with the prefix."""
    return [_text_filter(column, prefix) for column in TEXT_FILTERS]


def _text_filter(column: str, prefix: str) -> type[TextFilter]:
    class ColumnFilter(TextFilter):
        title = parameter_name = column
        lookup = prefix + column

    return ColumnFilter
