"""Admin change lists that stay fast with a million rows by reading one window at a time.

A window is a run of consecutive rows in index order. Only the rows in the window are counted and
checked against conditions that no index covers. The list links to the next window, if any.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ALL_VAR, ERROR_FLAG, ORDER_VAR, PAGE_VAR, SEARCH_VAR
from django.contrib.admin.views.main import ChangeList as DjangosChangeList
from django.core.exceptions import BadRequest
from django.core.paginator import InvalidPage
from django.db.models import Model, QuerySet
from django.http import HttpRequest

WINDOW, WIDE_WINDOW = 10_000, 50_000  # rows; searches and unindexed filters use the wide window
MAX_QUERY_LENGTH = 200  # characters
# Query parameters: the cursor that the window starts after; whether `q` may match part of an id.
AFTER, CONTAINING = "after", "containing"
OWN_PARAMETERS = {AFTER, CONTAINING, PAGE_VAR, ORDER_VAR, SEARCH_VAR, ALL_VAR, ERROR_FLAG}


class Cursor(NamedTuple):
    """A row's position in a sorted list: its value in the sort column, and its id to break ties."""

    value: Any
    id: Any


def invalid_cursor() -> BadRequest:
    return BadRequest(f"“{AFTER}” in the address is not right.")


class ChangeList(DjangosChangeList):
    """A change list that shows one window of rows. `further` is the next window's query string."""

    model_admin: Any
    filter_specs: Any

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> Any:
        self.filter_specs, self.has_filters, *_, self.has_active_filters = self.get_filters(request)
        self.clear_all_filters_qs = self.get_query_string(
            remove=[spec.parameter_name for spec in self.filter_specs]
        )
        self.further, self.is_exact = "", False
        if len(self.query) > MAX_QUERY_LENGTH:
            raise BadRequest(f"A search is {MAX_QUERY_LENGTH} characters at most.")
        rows = self._indexed_rows(request)
        if self.query and CONTAINING not in self.params:
            exact = rows.filter(self.model_admin.exact_match(self.query))
            if exact.order_by()[:1]:
                self.is_exact = True
                return self._apply_unindexed(request, exact)
        rows = self._window(rows)
        if self.query:
            rows = rows.filter(self.model_admin.partial_match(self.query))
        return self._apply_unindexed(request, rows)

    def _indexed_rows(self, request: HttpRequest) -> Any:
        """Return the sorted rows, after applying the filters that an index covers."""
        rows = self.root_queryset.order_by(*self.get_ordering(request, self.root_queryset))
        for spec in self.filter_specs:
            if spec.is_indexed:
                rows = spec.queryset(request, rows)
        return rows

    def _apply_unindexed(self, request: HttpRequest, rows: Any) -> Any:
        for spec in self.filter_specs:
            if not spec.is_indexed:
                rows = spec.queryset(request, rows)
        return rows

    def _window(self, rows: Any) -> Any:
        descending = self.is_descending
        if AFTER in self.params:
            cursor = self.model_admin.parse_cursor(self.params[AFTER])
            rows = self.model_admin.compare(rows, cursor, "lt" if descending else "gt")
        last = rows.values_list(*self.model_admin.order)[self.window - 1 : self.window]
        for values in last:
            cursor = Cursor(values[0], values[-1])
            self.further = self.get_query_string({AFTER: self.model_admin.format_cursor(cursor)})
            return self.model_admin.compare(rows, cursor, "gte" if descending else "lte")
        return rows

    @property
    def is_descending(self) -> bool:
        """Whether the newest rows come first, as they do by default."""
        order = self.params.get(ORDER_VAR, "")
        column = str(self.list_display.index(self.model_admin.order_column))
        if order not in ("", column, f"-{column}"):
            raise BadRequest(f"“{ORDER_VAR}” in the address is not right: no such order.")
        return bool(order != column)

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
            raise BadRequest(f"There is no page {self.page_num} of this list.") from None

    @property
    def newest(self) -> str:
        """The query string of the first window, or "" if that window is already shown."""
        return self.get_query_string() if AFTER in self.params else ""

    @property
    def containing(self) -> str:
        """The query string that widens the search to all ids that contain the search text."""
        return self.get_query_string({CONTAINING: 1})

    @property
    def has_conditions(self) -> bool:
        """Whether a search or an unindexed filter may hide some of the window's rows."""
        return bool(self.query) or any(
            spec.value() for spec in self.filter_specs if not spec.is_indexed
        )

    @property
    def window(self) -> int:
        return WIDE_WINDOW if self.has_conditions else WINDOW

    def url_for_result(self, result: Model) -> str:
        url: str = self.model_admin.row_url(result)
        return url
