"""Django's pages for users and groups, which answer any `_to_field` in a URL without failing."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangosGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangosUserAdmin
from django.contrib.auth.models import Group, User
from django.http import HttpRequest

if TYPE_CHECKING:
    AdminBase = admin.ModelAdmin[Any]
else:
    AdminBase = object

admin.site.unregister([User, Group])


class ByIdOnly(AdminBase):
    """Look up objects by their primary key alone: Django's own check fails for some names."""

    def to_field_allowed(self, request: HttpRequest, to_field: str) -> bool:
        return to_field == "id"

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        return super().get_object(request, object_id)


@admin.register(User)
class UserAdmin(ByIdOnly, DjangosUserAdmin):  # type: ignore[type-arg]
    pass


@admin.register(Group)
class GroupAdmin(ByIdOnly, DjangosGroupAdmin):
    pass
