"""Admin change lists that stay fast with a million rows.

Tasks are found by the index of the store. Checkpoints are not in it: they are read one window at a
time. A window is a run of consecutive rows in the order of their ids. Only the rows in the window
are counted and checked against conditions. The list links to the next window, if any.
"""

from collections.abc import Iterable
from typing import Any, Literal

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ALL_VAR, ERROR_FLAG, ORDER_VAR, PAGE_VAR, SEARCH_VAR
from django.contrib.admin.views.main import ChangeList as DjangosChangeList
from django.core.exceptions import BadRequest
from django.core.paginator import InvalidPage
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from tasks.admin.records import of_entries
from tasks.index import following
from tasks.index.conditions import Condition, select
from tasks.transcript.search import Term

WINDOW, WIDE_WINDOW = 10_000, 50_000  # rows; searches and filters use the wide window
MAX_QUERY_LENGTH = 200  # characters
# Query parameters: the cursor that the window starts after; whether `q` may match part of an id.
AFTER, CONTAINING = "after", "containing"
OWN_PARAMETERS = {AFTER, CONTAINING, PAGE_VAR, ORDER_VAR, SEARCH_VAR, ALL_VAR, ERROR_FLAG}


def invalid_cursor() -> BadRequest:
    return BadRequest(f"Invalid “{AFTER}” in the URL.")


class ChangeList(DjangosChangeList):
    """A change list whose filters and orders are checked. Subclasses define `_select`."""

    model_admin: Any
    filter_specs: Any
    further = newest = ""  # the query strings of the next window and of the first

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> Any:
        self.filter_specs, self.has_filters, *_, self.has_active_filters = self.get_filters(request)
        self.clear_all_filters_qs = self.get_query_string(
            remove=[spec.parameter_name for spec in self.filter_specs]
        )
        self.is_exact = False
        if len(self.query) > MAX_QUERY_LENGTH:
            raise BadRequest(f"Searches are limited to {MAX_QUERY_LENGTH} characters.")
        return self._select(request)

    def _select(self, request: HttpRequest) -> Any:
        raise NotImplementedError

    def _exactly(self, rows: Any) -> Any:
        """Return the rows with exactly the id that is searched for, or None."""
        if not self.query or CONTAINING in self.params:
            return None
        exact = rows.filter(self.model_admin.exact_match(self.query))
        self.is_exact = bool(exact.order_by()[:1])
        return exact if self.is_exact else None

    @property
    def is_descending(self) -> bool:
        """Whether the newest rows come first, as they do by default."""
        order = self.params.get(ORDER_VAR, "")
        column = str(self.list_display.index(self.model_admin.order_column))
        if order not in ("", column, f"-{column}"):
            raise BadRequest(f"Invalid “{ORDER_VAR}” in the URL: no such order.")
        return bool(order != column)

    def get_ordering_field_columns(self) -> dict[int, Literal["desc", "asc"]]:
        """Return the sorted column and its direction, which are also marked if they are default."""
        column = self.list_display.index(self.model_admin.order_column)
        return {column: "desc" if self.is_descending else "asc"}

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        sign = "-" if self.is_descending else ""
        return [f"{sign}{column}" for column in self.model_admin.order]

    def get_query_string(
        self, new_params: dict[str, Any] | None = None, remove: Iterable[str] | None = None
    ) -> str:
        """Return the query string with some parameters changed, going back to the first window.

        Changing the page keeps the current window, and changing `AFTER` selects another window.
        """
        params = new_params or {}
        dropped = [] if AFTER in params or PAGE_VAR in params else [AFTER]
        return super().get_query_string(params, [*(remove or []), *dropped])

    def get_results(self, request: HttpRequest) -> None:
        try:
            super().get_results(request)
            if self.page_num != 1 and not self.multi_page:
                self.paginator.validate_number(self.page_num)
        except (IncorrectLookupParameters, InvalidPage):
            raise BadRequest(f"This list has no page {self.page_num}.") from None

    @property
    def containing(self) -> str:
        """The query string that widens the search to all ids that contain the search text."""
        return self.get_query_string({CONTAINING: 1})

    @property
    def has_conditions(self) -> bool:
        """Whether a search or a filter may hide some rows."""
        return bool(self.query) or any(spec.value() for spec in self.filter_specs)

    def url_for_result(self, result: Model) -> str:
        url: str = self.model_admin.row_url(result)
        return url


class TaskChangeList(ChangeList):
    """The tasks that the index finds. Their values are read from the store."""

    def _select(self, request: HttpRequest) -> Any:
        if AFTER in self.params:
            raise invalid_cursor()
        self.index = following.catch_up()
        conditions = [spec.condition() for spec in self.filter_specs if spec.value()]
        rows = select(conditions, "updated_at", earlier=True)
        exact = self._exactly(rows)
        if exact is None and self.query:
            conditions.append(Condition.ids(Term(self.query)))
            rows = select(conditions, "updated_at", earlier=True)
        return (rows if exact is None else exact).in_order(
            "updated_at", descending=self.is_descending
        )

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = of_entries(list(self.result_list))


class WindowedChangeList(ChangeList):
    """A change list that shows one window of rows. `further` is the next window's query string."""

    def _select(self, request: HttpRequest) -> Any:
        rows = self.root_queryset.order_by(*self.get_ordering(request, self.root_queryset))
        exact = self._exactly(rows)
        if exact is None:
            rows = self._window(rows)
            if self.query:
                rows = rows.filter(self.model_admin.partial_match(self.query))
        else:
            rows = exact
        for spec in self.filter_specs:
            rows = spec.queryset(request, rows)
        return rows

    def _window(self, rows: Any) -> Any:
        descending = self.is_descending
        if AFTER in self.params:
            after = self.model_admin.parse_cursor(self.params[AFTER])
            rows = rows.filter(**{"id__lt" if descending else "id__gt": after})
            self.newest = self.get_query_string()
        for last in rows.values_list("id", flat=True)[self.window - 1 : self.window]:
            self.further = self.get_query_string({AFTER: last})
            return rows.filter(**{"id__gte" if descending else "id__lte": last})
        return rows

    @property
    def window(self) -> int:
        return WIDE_WINDOW if self.has_conditions else WINDOW
