"""The tasks in the admin."""

from typing import Any, cast

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.forms import CheckboxInput
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.safestring import SafeString

from archive.models import Source
from tasks.addresses import id_from_path, id_to_path, is_unaddressable, thread_url
from tasks.admin.base import ReadOnlyAdmin, wrong_place, wrong_values
from tasks.admin.changelist import AFTER, Place
from tasks.admin.filters import (
    ActiveFilter,
    ChannelFilter,
    ModelFilter,
    ProviderFilter,
    StatusFilter,
)
from tasks.admin.records import AdminRecords, name_of
from tasks.clearing import lifecycle
from tasks.engines import storable
from tasks.fields import to_text
from tasks.large_values import is_unusable_key
from tasks.listing.filters import MAX_CURSOR_TEXT
from tasks.models import TaskCheckpoint, TaskRecord
from tasks.secrets import request_masking
from tasks.store.workspace import store_connection
from tasks.templatetags.threads import absolute, display_id
from tasks.transcript.search import Term
from tasks.transcript.steps import build_outlines, number_attempts
from tasks.views.clear import actor
from tasks.views.common import may_clear
from tasks.views.thread_page import ThreadPage
from tasks.views.thread_tabs import (
    MAX_OUTLINED_HISTORY,
    SHORT_COLUMNS,
    short_values,
    stored_texts,
)

TAB_LABELS = {
    "transcript": "Transcript",
    "checkpoints": "Checkpoints",
    "resume": "Resume",
    "raw": "As stored",
}
STEPS_PER_PAGE = 50


@admin.register(TaskRecord)
class TaskRecordAdmin(ReadOnlyAdmin):
    list_display = ("shown", "state", "channel_short", "provider_short", "model_short", "active")
    list_filter = (StatusFilter, ActiveFilter, ChannelFilter, ProviderFilter, ModelFilter)
    search_fields = ("task_id", "thread_id")
    search_help_text = "The id of a task or a thread, or a part of one."
    sortable_by = ("active",)
    order, order_column = ("updated_at", "task_id"), "active"
    actions = ("clear_threads",)
    page = "admin/tasks/task.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[TaskRecord]:
        return AdminRecords.all_tasks().heads()

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> TaskRecord | None:
        return AdminRecords.all_tasks().named(object_id).heads().first()

    def whole(self, request: HttpRequest, object_id: str) -> TaskRecord | None:
        rows = AdminRecords.all_tasks().named(object_id).for_page()
        found = rows.first()
        if found is not None and is_unusable_key(found.pk):
            found = rows.defer(None).first()  # nothing can be read of it later
        return found

    def exactly(self, text: str) -> Q:
        text = storable(text, store_connection())
        return Q(task_id=text) | Q(thread_id=text)

    def containing(self, text: str) -> Q:
        return Term(text).in_ids()

    def place_of(self, text: str) -> Place:
        value, _, name = text.rpartition(" ")
        task_id = id_from_path(name)
        if task_id is None or "\0" in text:
            raise wrong_place(AFTER)
        return Place(value, task_id)

    def text_of(self, place: Place) -> str:
        # cut as the list cuts its own cursors
        value, task_id = (
            to_text(place.value)[:MAX_CURSOR_TEXT],
            str(place.id or "")[:MAX_CURSOR_TEXT],
        )
        return f"{value} {id_to_path(task_id)}"

    def beyond(self, rows: Any, place: Place, *, descending: bool) -> QuerySet[Any]:
        found: QuerySet[Any] = rows.after(
            "updated_at", place.value, place.id, descending=descending
        )
        return found

    def up_to(self, rows: Any, place: Place, *, descending: bool) -> QuerySet[Any]:
        value = to_text(place.value)
        found: QuerySet[Any] = rows.through(
            "updated_at", value, place.id or "", descending=descending
        )
        return found

    def address_of(self, found: Any) -> str:
        return reverse("admin:tasks_taskrecord_change", args=[name_of(found)])

    @admin.display(description="task")
    def shown(self, record: TaskRecord) -> str:
        own = (
            "(no id)"
            if record.pk is None
            else request_masking.truncate(display_id(record.task_id), 300)
        )
        if record.thread_id == record.task_id:
            return own
        return f"{own} of thread {request_masking.truncate(display_id(record.thread_id), 200)}"

    @admin.display(description="status")
    def state(self, record: TaskRecord) -> str:
        return render_to_string("admin/tasks/status.html", {"status": str(record.status)})

    @admin.display(description="channel")
    def channel_short(self, record: TaskRecord) -> str:
        return request_masking.truncate(str(record.channel), 100)

    @admin.display(description="provider")
    def provider_short(self, record: TaskRecord) -> str:
        return request_masking.truncate(str(record.provider), 100)

    @admin.display(description="model")
    def model_short(self, record: TaskRecord) -> str:
        return request_masking.truncate(str(record.model), 100)

    @admin.display(description="last active", ordering="updated_at")
    def active(self, record: TaskRecord) -> str:
        return request_masking.truncate(absolute(record.updated_at), 100)

    def context_of(self, request: HttpRequest, found: Any) -> dict[str, Any]:
        task_id = None if is_unaddressable(found.pk) else found.pk
        page = ThreadPage(request, found, thread_url("thread", found.thread_id, task=task_id))
        checkpoints = TaskCheckpoint.objects.filter(task_id=found.pk)
        count = checkpoints.count()
        return {
            "title": f"Task {request_masking.truncate(display_id(found.task_id), 200)}",
            "page": page,
            "tabs": TAB_LABELS,
            "values": short_values(found),
            "step_count": count,
            "wrong": [*wrong_values(found, SHORT_COLUMNS), *_unreadable(page, count)],
            "thread_url": thread_url("thread", found.thread_id),
            "can_clear": may_clear(request),
            "task_name": name_of(found),
            **self._tab_context(page, checkpoints),
        }

    def _tab_context(self, page: ThreadPage, checkpoints: Any) -> dict[str, Any]:
        """Return what the tabs show that differ from those of the thread's page."""
        if page.tab_name == "checkpoints":
            return _checkpoints_context(page, checkpoints)
        if page.tab_name == "raw":
            rows = AdminRecords.all_tasks().named(name_of(page.record)).with_stored_texts()
            return {"texts": stored_texts(rows.get())}
        return {}

    def action_checkbox(self, obj: TaskRecord) -> SafeString:
        if is_unaddressable(obj.pk):
            return SafeString()
        label = f"Select {request_masking.truncate(display_id(obj.task_id), 200)}"
        attributes = {"class": "action-select", "aria-label": label}
        box = CheckboxInput(attributes, check_test=lambda value: False)
        return box.render(ACTION_CHECKBOX_NAME, id_to_path(obj.task_id))

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[TaskRecord], *args: Any, **kwargs: Any
    ) -> HttpResponse | None:
        """The selected rows come as `id_to_path`: a form would change a newline in an id.

        All of them are meant, and nothing else, whatever the list shows by now.
        """
        posted = request.POST.copy()
        given = map(id_from_path, posted.getlist(ACTION_CHECKBOX_NAME))
        posted.setlist(ACTION_CHECKBOX_NAME, [id_ for id_ in given if id_ is not None])
        posted["select_across"] = "0"
        request.POST = posted  # type: ignore[assignment]
        rows = self.get_queryset(request)
        return super().response_action(request, rows, *args, **kwargs)

    def has_clear_permission(self, request: HttpRequest) -> bool:
        return may_clear(request)

    @admin.action(description="Clear selected threads", permissions=["clear"])
    def clear_threads(
        self, request: HttpRequest, queryset: QuerySet[TaskRecord]
    ) -> HttpResponse | None:
        """Write down which threads are meant, and ask on the page that asks for all clearing."""
        threads = sorted(set(queryset.order_by().values_list("thread_id", flat=True)), key=str)
        if not threads:
            self.message_user(request, "Those tasks are gone. Nothing was cleared.", "warning")
            return None
        planned = lifecycle.plan(threads, measure=True)
        clearing = lifecycle.draft(planned, actor(request, Source.ADMIN))
        return redirect("clearing", clearing.pk)


def _unreadable(page: ThreadPage, checkpoint_count: int) -> list[str]:
    """Return what is wrong with the large columns that this page reads or that are short."""
    thread, record = page.thread, cast(Any, page.record)
    wrong = []
    if thread.length <= MAX_OUTLINED_HISTORY or page.tab_name == "transcript":
        wrong += [f"execution_history_json: {thread.problem}"] if thread.problem else []
    if thread.resumable_length <= MAX_OUTLINED_HISTORY or page.tab_name == "resume":
        problem = thread.resume_problem
        wrong += [f"resumable_history_json: {problem}"] if problem else []
    count = record.checkpoint_count
    if isinstance(count, int) and count != checkpoint_count:
        wrong += [f"checkpoint_count: is {count}, and {checkpoint_count} are stored"]
    return wrong


def _checkpoints_context(page: ThreadPage, checkpoints: Any) -> dict[str, Any]:
    """Return one page of the task's checkpoints; only those on it are read."""
    pairs = checkpoints.values_list("id", "step_index")
    pairs = sorted((pair for pair in pairs if isinstance(pair[0], int)), key=lambda pair: pair[0])
    attempts = number_attempts(pairs)
    page_obj = Paginator(pairs, STEPS_PER_PAGE).get_page(page.request.GET.get("p"))
    rows = checkpoints.filter(id__in=[id_ for id_, _ in page_obj.object_list])
    steps = build_outlines(rows.outline_rows(), page.record)
    return {"page_obj": page_obj, "steps": [(step, attempts[step.id]) for step in steps]}
