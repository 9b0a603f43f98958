"""The two tables in Django's admin: to look at, and to clear threads. Nothing is edited here."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import quote, unquote
from django.contrib.admin.views.main import ChangeList
from django.db.models import Model, QuerySet
from django.forms import CheckboxInput
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from archive.models import Source
from tasks import clearing
from tasks.clearing import Actor
from tasks.models import TaskCheckpoint, TaskRecord
from tasks.templatetags.threads import absolute, shown_id, thread_url
from tasks.transcript import Text

if TYPE_CHECKING:
    RecordAdminBase = admin.ModelAdmin[TaskRecord]
    CheckpointAdminBase = admin.ModelAdmin[TaskCheckpoint]
else:
    RecordAdminBase = CheckpointAdminBase = admin.ModelAdmin


admin.site.site_header = admin.site.site_title = "gloamy tasks"
admin.site.enable_nav_sidebar = False


def id_in_path(task_id: str | None) -> str:
    """A task's id as one segment of a path, or a form's value, that no browser changes."""
    return quote("id-" + urlsafe_b64encode(str(task_id or "").encode()).decode())


def id_from_path(segment: str) -> str | None:
    """The id of such a segment, or None if it is none."""
    try:
        task_id = urlsafe_b64decode(unquote(segment).removeprefix("id-")).decode()
    except ValueError:
        return None
    return task_id if id_in_path(task_id) == quote(unquote(segment)) else None


def stored_text(text: Any) -> str:
    """The start of a stored text, of which a page must not show a hundred megabytes."""
    cut = Text(str(text))
    more = f"\n… {cut.length} characters in all" if cut.is_cut else ""
    return format_html('<pre class="stored">{}{}</pre>', cut.shown, more)


class ReadOnly:
    """Only looking is offered: rows are written by the agent, and cleared by thread."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class TaskChangeList(ChangeList):
    def url_for_result(self, result: Model) -> str:
        return reverse("admin:tasks_taskrecord_change", args=[id_in_path(result.pk)])


@admin.register(TaskRecord)
class TaskRecordAdmin(ReadOnly, RecordAdminBase):
    list_display = ("shown", "status", "channel", "model", "checkpoint_count", "active")
    list_filter = ("status",)
    search_fields = ("task_id", "thread_id")
    ordering = ("-updated_at", "-task_id")
    list_per_page = 50
    show_full_result_count = False
    actions = ("clear_threads",)
    fields = (
        "task_id",
        "thread_id",
        ("status", "channel", "provider", "model"),
        ("checkpoint_count", "created_at", "updated_at", "completed_at"),
        "last_error",
        "latest_checkpoint_note",
        "final_response",
        "execution_history_stored",
        "resumable_history_stored",
    )
    readonly_fields = ("execution_history_stored", "resumable_history_stored")

    def get_queryset(self, request: HttpRequest) -> QuerySet[TaskRecord]:
        return TaskRecord.objects.without_histories()

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return TaskChangeList

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> TaskRecord | None:
        task_id = id_from_path(object_id)
        return None if task_id is None else self.get_queryset(request).filter(pk=task_id).first()

    def action_checkbox(self, obj: TaskRecord) -> SafeString:
        attributes = {"class": "action-select", "aria-label": f"Select {shown_id(obj.task_id)}"}
        box = CheckboxInput(attributes, check_test=lambda value: False)
        return box.render(ACTION_CHECKBOX_NAME, id_in_path(obj.task_id))

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[TaskRecord], *args: Any, **kwargs: Any
    ) -> HttpResponse | None:
        """The selected rows come as `id_in_path`: a form would change a newline in an id."""
        posted = request.POST.copy()
        given = map(id_from_path, posted.getlist(ACTION_CHECKBOX_NAME))
        posted.setlist(ACTION_CHECKBOX_NAME, [id_ for id_ in given if id_ is not None])
        request.POST = posted  # type: ignore[assignment]
        return super().response_action(request, queryset, *args, **kwargs)

    @admin.display(description="task", ordering="task_id")
    def shown(self, record: TaskRecord) -> str:
        of_thread = "" if record.thread_id == record.task_id else shown_id(record.thread_id)
        return shown_id(record.task_id) + (of_thread and f" of thread {of_thread}")

    @admin.display(description="last active", ordering="updated_at")
    def active(self, record: TaskRecord) -> str:
        return absolute(record.updated_at)

    @admin.display(description="execution history")
    def execution_history_stored(self, record: TaskRecord) -> str:
        return stored_text(record.execution_history_json)

    @admin.display(description="resumable history")
    def resumable_history_stored(self, record: TaskRecord) -> str:
        return stored_text(record.resumable_history_json)

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        context["thread_url"] = thread_url("thread", context["original"].thread_id)
        return super().render_change_form(request, context, *args, **kwargs)

    def has_clear_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("tasks.clear_thread") and not settings.TASKS_READ_ONLY

    @admin.action(description="Clear the threads of selected tasks", permissions=["clear"])
    def clear_threads(
        self, request: HttpRequest, queryset: QuerySet[TaskRecord]
    ) -> HttpResponse | None:
        """Write down which threads are meant, and ask on the page that asks for all clearing."""
        threads = sorted(set(queryset.order_by().values_list("thread_id", flat=True)), key=str)
        by = Actor(Source.ADMIN, request.user, address=request.META.get("REMOTE_ADDR", ""))
        return redirect("clearing", clearing.draft(threads, by, is_measured=True).pk)


@admin.register(TaskCheckpoint)
class TaskCheckpointAdmin(ReadOnly, CheckpointAdminBase):
    list_display = ("id", "task_id", "step_index", "created_at")
    search_fields = ("task__task_id", "task__thread_id")
    ordering = ("-id",)
    list_per_page = 50
    show_full_result_count = False
    fields = ("id", "task_link", ("step_index", "created_at"), "checkpoint_note", "items_stored")
    readonly_fields = ("task_link", "items_stored")

    def get_queryset(self, request: HttpRequest) -> QuerySet[TaskCheckpoint]:
        return TaskCheckpoint.objects.defer("items_json")

    @admin.display(description="task")
    def task_link(self, checkpoint: TaskCheckpoint) -> str:
        path = reverse("admin:tasks_taskrecord_change", args=[id_in_path(checkpoint.task_id)])
        return format_html('<a href="{}">{}</a>', path, shown_id(checkpoint.task_id))

    @admin.display(description="items")
    def items_stored(self, checkpoint: TaskCheckpoint) -> str:
        return stored_text(checkpoint.items_json)
