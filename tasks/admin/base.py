"""What the admin of both tables has in common."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin import ShowFacets
from django.core.exceptions import BadRequest, PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.decorators import method_decorator

from tasks.admin.changelist import OWN, ChangeList, Place
from tasks.fields import to_text
from tasks.maintenance.findings import Finding
from tasks.maintenance.store_check import Cell, cell_findings
from tasks.secrets import request_masking
from tasks.views.limits import limit_concurrency, limit_concurrency_if

if TYPE_CHECKING:
    AdminBase = admin.ModelAdmin[Any]
else:
    AdminBase = admin.ModelAdmin

KINDS = {str: "text", int: "integer", float: "real", bytes: "blob", type(None): "null"}


class ReadOnlyAdmin(AdminBase):
    """Rows are only looked at here: they are written by the agent, and cleared by thread."""

    list_per_page = 50
    list_max_show_all = 0
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    paginator = Paginator
    order: tuple[str, ...]  # of the index that gives the list's order
    order_column: str  # of `list_display`

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return ChangeList

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup in self.parameters

    @property
    def parameters(self) -> set[str]:
        """All that an address of the list may hold."""
        filters: Any = self.list_filter
        return OWN | {found.parameter_name for found in filters}

    @method_decorator(limit_concurrency_if(lambda request: bool(request.GET)))
    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if unknown := sorted(set(request.GET) - self.parameters):
            raise BadRequest(f"“{unknown[0][:100]}” in the address is nothing to filter by.")
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
        """The row as it is: no form is made of it."""
        if not self.has_view_permission(request) or request.method not in ("GET", "HEAD"):
            raise PermissionDenied
        found = self.whole(request, object_id)
        if found is None:
            gone: Any = self
            response: HttpResponse = gone._get_obj_does_not_exist_redirect(
                request, self.opts, object_id
            )
            return response
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "object_id": object_id,
            "original": found,
            **self.context_of(request, found),
        }
        return TemplateResponse(request, self.page, context)

    page: str  # the template of one row

    def whole(self, request: HttpRequest, object_id: str) -> Any:
        """The row with all that its page shows."""
        return self.get_object(request, object_id)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().history_view(request, object_id, {"object_name": object_id})

    def context_of(self, request: HttpRequest, found: Any) -> dict[str, Any]:
        raise NotImplementedError

    def exactly(self, text: str) -> Q:
        """Rows of the task or the thread with this id; an index gives them."""
        raise NotImplementedError

    def containing(self, text: str) -> Q:
        raise NotImplementedError

    def place_of(self, text: str) -> Place:
        """The place that `text_of` wrote. Raises BadRequest."""
        raise NotImplementedError

    def text_of(self, place: Place) -> str:
        raise NotImplementedError

    def beyond(self, rows: QuerySet[Any], place: Place, *, descending: bool) -> QuerySet[Any]:
        raise NotImplementedError

    def up_to(self, rows: QuerySet[Any], place: Place, *, descending: bool) -> QuerySet[Any]:
        raise NotImplementedError

    def address_of(self, found: Any) -> str:
        raise NotImplementedError


def wrong_values(found: Model, columns: tuple[str, ...]) -> list[str]:
    """What the store would not have written, of these columns of a row."""
    wrong = []
    for column in columns:
        value = getattr(found, column)
        kind = KINDS.get(type(value), "text")
        cell = Cell(kind, request_masking.mask(to_text(value)) if kind == "text" else value)
        findings = cell_findings(type(found), column, cell, Finding("", ""))
        wrong += [f"{column}: {finding.text}" for finding in findings]
    return wrong


def wrong_place(parameter: str) -> BadRequest:
    return BadRequest(f"“{parameter}” in the address is not right.")
