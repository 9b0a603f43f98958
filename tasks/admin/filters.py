"""The filters of the admin's lists: never by id, and none that reads more than it shows."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.contrib.admin import SimpleListFilter
from django.core.exceptions import BadRequest
from django.db.models import Q, TextField, Value
from django.db.models.functions import Concat, Left
from django.http import HttpRequest
from django.utils import timezone

from tasks.fields import to_value
from tasks.listing.filters import PERIOD_LENGTHS
from tasks.listing.forms import PERIODS
from tasks.models import TaskRecord, TaskStatus

LONGEST_VALUE = 300  # characters
CHOICES_FROM, CHOICES_SHOWN = 1_000, 12  # of the newest tasks, whose values are offered
OLDER = "older"
NAMES = ("channel", "provider", "model")


class Filter(SimpleListFilter):
    """`is_indexed` says whether an index gives the rows in the list's order."""

    is_indexed = False

    def value(self) -> str | None:
        return super().value() or None

    def has_output(self) -> bool:
        return True

    def choices(self, changelist: Any) -> Iterator[Any]:
        """All that is offered, and what was asked for."""
        offered, asked = list(self.lookup_choices), self.value()
        if asked and asked not in dict(offered):
            offered.insert(0, (asked, asked))
        yield {
            "selected": not asked,
            "query_string": changelist.get_query_string(remove=[self.parameter_name]),
            "display": "All",
        }
        for value, label in offered:
            yield {
                "selected": asked == value,
                "query_string": changelist.get_query_string({self.parameter_name: value}),
                "display": label,
            }

    def refuse(self) -> BadRequest:
        return BadRequest(f"“{self.parameter_name}” in the address is not right.")


class Choice(Filter):
    """One of a fixed number of values."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        if self.value() and self.value() not in dict(self.lookup_choices):
            raise self.refuse()


class StatusFilter(Choice):
    title, parameter_name, is_indexed = "status", "status", True

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(status.value, str(status.label)) for status in TaskStatus]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(status=self.value()) if self.value() else queryset


class TaskStatusFilter(StatusFilter):
    """Of a checkpoint's task; the index of states would have all of them looked through."""

    title, is_indexed = "status of the task", False

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if not self.value():
            return queryset
        itself = Concat("task__status", Value(""), output_field=TextField())
        return queryset.alias(its_status=itself).filter(its_status=self.value())


class ActiveFilter(Choice):
    title, parameter_name, is_indexed = "last active", "active", True
    column = "updated_at"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [*PERIODS.items(), (OLDER, "more than 30 days ago")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        asked = self.value()
        if not asked:
            return queryset
        is_older = asked == OLDER
        length = timedelta(days=30) if is_older else PERIOD_LENGTHS[asked]
        cut = to_value(timezone.now() - length)
        return queryset.filter(Q(**{f"{self.column}__{'lt' if is_older else 'gte'}": cut}))


class TakenFilter(ActiveFilter):
    title, parameter_name, is_indexed = "taken", "taken", False
    column = "created_at"


class TextFilter(Filter):
    """Any value; those of the newest tasks are offered."""

    template = "admin/tasks/text_filter.html"
    lookup = ""

    def __init__(self, request: HttpRequest, params: dict[str, Any], *args: Any) -> None:
        super().__init__(request, params, *args)
        self.others = [
            (name, value)
            for name, values in request.GET.lists()
            if name not in (self.parameter_name, "p", "e", "after")
            for value in values
        ]
        asked = self.value() or ""
        if len(asked) > LONGEST_VALUE or "\0" in asked:
            raise self.refuse()

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        column = _newest(request)[NAMES.index(str(self.parameter_name))]
        found = {str(value): 0 for value in column if len(str(value)) <= LONGEST_VALUE}
        return [(value, value) for value in sorted(list(found)[:CHOICES_SHOWN]) if value]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if not self.value():
            return queryset
        return queryset.filter(**{self.lookup or str(self.parameter_name): self.value()})


def _newest(request: Any) -> list[tuple[Any, ...]]:
    """The channels, providers and models of the newest tasks; asked for once for a page.

    No more is read than tells whether a value is too long to be offered.
    """
    if not hasattr(request, "newest_names"):
        starts = (Left(name, LONGEST_VALUE + 1) for name in NAMES)
        rows = TaskRecord.objects.newest_first().values_list(*starts)[:CHOICES_FROM]
        request.newest_names = list(zip(*rows, strict=True)) or [(), (), ()]
    names: list[tuple[Any, ...]] = request.newest_names
    return names


class ChannelFilter(TextFilter):
    title = parameter_name = "channel"


class ProviderFilter(TextFilter):
    title = parameter_name = "provider"


class ModelFilter(TextFilter):
    title = parameter_name = "model"


class TaskChannelFilter(ChannelFilter):
    lookup = "task__channel"


class TaskProviderFilter(ProviderFilter):
    lookup = "task__provider"


class TaskModelFilter(ModelFilter):
    lookup = "task__model"
