"""Lists of the admin that cost the same with a million rows: each looks at one window of them.

A window is so many rows in the order of an index. Whatever no index answers is asked only of them,
they are all that is counted, and where there are more the list leads on to the next window.
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

WINDOW, WIDE_WINDOW = 10_000, 50_000  # rows; the latter where something is looked for in them
LONGEST_QUERY = 200  # characters
AFTER, CONTAINING = "after", "containing"  # parameters: where a window begins, and how q is meant
OWN = {AFTER, CONTAINING, PAGE_VAR, ORDER_VAR, SEARCH_VAR, ALL_VAR, ERROR_FLAG}


class Place(NamedTuple):
    """A row's place in the order: what is compared first, and its id where that may be equal."""

    value: Any
    id: Any


class ChangeList(DjangosChangeList):
    """A window of rows; `further` leads to the next one."""

    model_admin: Any
    filter_specs: Any

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> Any:
        self.filter_specs, self.has_filters, *_, self.has_active_filters = self.get_filters(request)
        self.clear_all_filters_qs = self.get_query_string(
            remove=[spec.parameter_name for spec in self.filter_specs]
        )
        self.further, self.is_exact = "", False
        if len(self.query) > LONGEST_QUERY:
            raise BadRequest(f"A search is {LONGEST_QUERY} characters at most.")
        rows = self._indexed(request)
        if self.query and CONTAINING not in self.params:
            exact = rows.filter(self.model_admin.exactly(self.query))
            if exact.order_by()[:1]:
                self.is_exact = True
                return self._conditions(request, exact)
        rows = self._window(rows)
        if self.query:
            rows = rows.filter(self.model_admin.containing(self.query))
        return self._conditions(request, rows)

    def _indexed(self, request: HttpRequest) -> Any:
        """All rows in order, as far as an index in that order gives them."""
        rows = self.root_queryset.order_by(*self.get_ordering(request, self.root_queryset))
        for spec in self.filter_specs:
            if spec.is_indexed:
                rows = spec.queryset(request, rows)
        return rows

    def _conditions(self, request: HttpRequest, rows: Any) -> Any:
        for spec in self.filter_specs:
            if not spec.is_indexed:
                rows = spec.queryset(request, rows)
        return rows

    def _window(self, rows: Any) -> Any:
        descending = self.is_descending
        if AFTER in self.params:
            place = self.model_admin.place_of(self.params[AFTER])
            rows = self.model_admin.beyond(rows, place, descending=descending)
        last = rows.values_list(*self.model_admin.order)[self.window - 1 : self.window]
        for edge in last:
            place = Place(edge[0], edge[-1])
            text = self.model_admin.text_of(place)
            self.further = self.get_query_string({AFTER: text})
            return self.model_admin.up_to(rows, place, descending=descending)
        return rows

    @property
    def is_descending(self) -> bool:
        """Whether the newest come first, unless the address asks for the other way round."""
        asked = self.params.get(ORDER_VAR, "")
        column = str(self.list_display.index(self.model_admin.order_column))
        if asked not in ("", column, f"-{column}"):
            raise BadRequest(f"“{ORDER_VAR}” in the address is not right: no such order.")
        return bool(asked != column)

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        sign = "-" if self.is_descending else ""
        return [f"{sign}{column}" for column in self.model_admin.order]

    def get_query_string(
        self, new_params: dict[str, Any] | None = None, remove: Iterable[str] | None = None
    ) -> str:
        """The address with some things changed: another list than this begins at its beginning."""
        changed = new_params or {}
        kept = AFTER in changed or PAGE_VAR in changed
        return super().get_query_string(changed, [*(remove or []), *([] if kept else [AFTER])])

    def get_results(self, request: HttpRequest) -> None:
        try:
            super().get_results(request)
            if self.page_num != 1 and not self.multi_page:
                self.paginator.validate_number(self.page_num)
        except (IncorrectLookupParameters, InvalidPage):
            raise BadRequest(f"There is no page {self.page_num} of this list.") from None

    @property
    def newest(self) -> str:
        """The address of the first window, if this is another."""
        return self.get_query_string() if AFTER in self.params else ""

    @property
    def containing(self) -> str:
        """The address of this search for ids that contain the text."""
        return self.get_query_string({CONTAINING: 1})

    @property
    def has_conditions(self) -> bool:
        """Whether not every row of the window is listed."""
        return bool(self.query) or any(
            spec.value() for spec in self.filter_specs if not spec.is_indexed
        )

    @property
    def window(self) -> int:
        return WIDE_WINDOW if self.has_conditions else WINDOW

    def url_for_result(self, result: Model) -> str:
        address: str = self.model_admin.address_of(result)
        return address
