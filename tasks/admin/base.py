"""The base class and helpers for the task and checkpoint admins."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin import ShowFacets
from django.core.exceptions import BadRequest, ObjectDoesNotExist, PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.decorators import method_decorator

from tasks.admin.changelist import OWN_PARAMETERS, ChangeList, WindowedChangeList
from tasks.fields import to_text
from tasks.maintenance.findings import Finding
from tasks.maintenance.store_check import Cell, cell_findings
from tasks.secrets import request_masking
from tasks.views.limits import limit_concurrency, limit_concurrency_if

if TYPE_CHECKING:
    AdminBase = admin.ModelAdmin[Any]
else:
    AdminBase = admin.ModelAdmin

SQL_TYPES = {str: "text", int: "integer", float: "real", bytes: "blob", type(None): "null"}


class ReadOnlyAdmin(AdminBase):
    """A read-only admin, since only the agent writes rows and only entire threads can be deleted.

    Subclasses must also define the methods that their change list calls, such as `exact_match()`
    for searches and `row_url()`.
    """

    list_per_page = 50
    list_max_show_all = 0
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    paginator = Paginator
    order: tuple[str, ...]  # the columns that the list is sorted by
    order_column: str  # the `list_display` column whose header sorts by `order`
    row_template: str
    change_list: type[ChangeList] = WindowedChangeList

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return self.change_list

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup in self.parameters

    @property
    def parameters(self) -> set[str]:
        """The query parameters that the change list accepts."""
        filters: Any = self.list_filter
        return OWN_PARAMETERS | {list_filter.parameter_name for list_filter in filters}

    @method_decorator(limit_concurrency_if(lambda request: bool(request.GET)))
    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if unknown := sorted(set(request.GET) - self.parameters):
            raise BadRequest(f"Invalid filter “{unknown[0][:100]}” in the URL.")
        title = str(self.opts.verbose_name_plural).capitalize()
        return super().changelist_view(request, {"title": title, **(extra_context or {})})

    @method_decorator(limit_concurrency)
    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show a page with the row's stored values instead of an edit form."""
        if not self.has_view_permission(request) or request.method not in ("GET", "HEAD"):
            raise PermissionDenied
        row = self.get_row(request, object_id)
        if row is None:
            untyped: Any = self
            response: HttpResponse = untyped._get_obj_does_not_exist_redirect(
                request, self.opts, object_id
            )
            return response
        try:
            row_context = self.row_context(request, row)
        except ObjectDoesNotExist:
            name = self.opts.verbose_name
            raise Http404(f"There is no such {name}. It may have been cleared.") from None
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "object_id": object_id,
            "original": row,
            **row_context,
        }
        return TemplateResponse(request, self.row_template, context)

    def get_row(self, request: HttpRequest, object_id: str) -> Any:
        """Return a row with the columns that its page shows, or None if the row does not exist."""
        return self.get_object(request, object_id)

    def row_context(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        raise NotImplementedError

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().history_view(request, object_id, {"object_name": object_id})


def invalid_values(row: Model, columns: tuple[str, ...]) -> list[str]:
    """Describe each value in the given columns that the agent would never write."""
    problems = []
    for column in columns:
        value = getattr(row, column)
        sql_type = SQL_TYPES.get(type(value), "text")
        cell_value = request_masking.mask(to_text(value)) if sql_type == "text" else value
        findings = cell_findings(type(row), column, Cell(sql_type, cell_value), Finding("", ""))
        problems += [f"{column}: {finding.text}" for finding in findings]
    return problems
