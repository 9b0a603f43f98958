"""The Django admin for tasks."""

from collections.abc import Callable
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
from tasks.admin.base import ReadOnlyAdmin, invalid_values
from tasks.admin.changelist import TaskChangeList
from tasks.admin.filters import ActiveFilter, StatusFilter, text_filters
from tasks.admin.records import admin_tasks, path_id
from tasks.clearing import lifecycle
from tasks.engines import storable
from tasks.index import entries
from tasks.index.models import TEXT_FILTERS
from tasks.large_values import is_unusable_key
from tasks.models import TaskCheckpoint, TaskRecord
from tasks.secrets import request_masking
from tasks.store.daemon import daemon
from tasks.store.workspace import store_connection
from tasks.templatetags.threads import absolute, display_id
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
    "raw": "Raw",
}
STEPS_PER_PAGE = 50


def _short_text(column: str) -> Callable[[TaskRecord], str]:
    @admin.display(description=column)
    def short_text(record: TaskRecord) -> str:
        return request_masking.truncate(str(getattr(record, column)), 100)

    return short_text


@admin.register(TaskRecord)
class TaskRecordAdmin(ReadOnlyAdmin):
    list_display = ("label", "state", *map(_short_text, TEXT_FILTERS), "active")
    list_filter = (StatusFilter, ActiveFilter, *text_filters())
    search_fields = ("task_id", "thread_id")
    search_help_text = "Task or thread ID, or part of one."
    sortable_by = ("active",)
    order, order_column = ("updated_at", "task_id"), "active"
    actions = ("clear_threads",)
    change_list = TaskChangeList
    row_template = "admin/tasks/task.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[TaskRecord]:
        return admin_tasks().for_changelist()

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> TaskRecord | None:
        return admin_tasks().by_path_id(object_id).for_changelist().first()

    def get_row(self, request: HttpRequest, object_id: str) -> TaskRecord | None:
        rows = admin_tasks().by_path_id(object_id).for_page()
        row = rows.first()
        if row is not None and is_unusable_key(row.pk):
            row = rows.defer(None).first()  # load all columns now: the id cannot be looked up later
        return row

    def exact_match(self, text: str) -> Q:
        text = storable(text, store_connection())
        return Q(thread_id=text) | Q(key__in=entries.keys(entries.with_id(text)))

    def row_url(self, row: Any) -> str:
        return reverse("admin:tasks_taskrecord_change", args=[path_id(row)])

    @admin.display(description="task")
    def label(self, record: TaskRecord) -> str:
        label = "(no ID)"
        if record.pk is not None:
            label = request_masking.truncate(display_id(record.task_id), 300)
        if record.thread_id == record.task_id:
            return label
        return f"{label} in thread {request_masking.truncate(display_id(record.thread_id), 200)}"

    @admin.display(description="status")
    def state(self, record: TaskRecord) -> str:
        context = {"status": str(record.status), "is_stalled": daemon().is_stalled(record)}
        return render_to_string("tasks/_status.html", context)

    @admin.display(description="last active", ordering="updated_at")
    def active(self, record: TaskRecord) -> str:
        return request_masking.truncate(absolute(record.updated_at), 100)

    def row_context(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        task_id = None if is_unaddressable(row.pk) else row.pk
        page = ThreadPage(request, row, thread_url("thread", row.thread_id, task=task_id))
        checkpoints = TaskCheckpoint.objects.filter(task_id=row.pk)
        count = checkpoints.count()
        return {
            "title": f"Task {request_masking.truncate(display_id(row.task_id), 200)}",
            "page": page,
            "tabs": TAB_LABELS,
            "values": short_values(row),
            "step_count": count,
            "invalid_values": [*invalid_values(row, SHORT_COLUMNS), *_unreadable(page, count)],
            "thread_url": thread_url("thread", row.thread_id),
            "can_clear": may_clear(request),
            "task_name": path_id(row),
            **self._tab_context(page, checkpoints),
        }

    def _tab_context(self, page: ThreadPage, checkpoints: Any) -> dict[str, Any]:
        """Return the template context for the tabs that differ from those on the thread page."""
        if page.tab_name == "checkpoints":
            return _checkpoints_context(page, checkpoints)
        if page.tab_name == "raw":
            rows = admin_tasks().by_path_id(path_id(page.record)).with_stored_texts()
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
        """Decode the selected ids, which were encoded because browsers alter newlines in forms.

        The action applies to exactly the selected rows, even if the list has changed since.
        """
        posted = request.POST.copy()
        ids = map(id_from_path, posted.getlist(ACTION_CHECKBOX_NAME))
        posted.setlist(ACTION_CHECKBOX_NAME, [id_ for id_ in ids if id_ is not None])
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
        """Draft a clearing of the selected tasks' threads, and redirect to the confirmation."""
        threads = sorted(set(queryset.order_by().values_list("thread_id", flat=True)), key=str)
        if not threads:
            self.message_user(request, "Nothing was cleared: the tasks no longer exist.", "warning")
            return None
        planned = lifecycle.plan(threads, measure=True)
        clearing = lifecycle.draft(planned, actor(request, Source.ADMIN))
        return redirect("clearing", clearing.pk)


def _unreadable(page: ThreadPage, checkpoint_count: int) -> list[str]:
    """Describe problems with the checkpoint count and with the histories that the page reads."""
    thread, record = page.thread, cast(Any, page.record)
    problems = []
    if thread.length <= MAX_OUTLINED_HISTORY or page.tab_name == "transcript":
        problems += [f"execution_history_json: {thread.problem}"] if thread.problem else []
    if thread.resumable_length <= MAX_OUTLINED_HISTORY or page.tab_name == "resume":
        problem = thread.resume_problem
        problems += [f"resumable_history_json: {problem}"] if problem else []
    count = record.checkpoint_count
    if isinstance(count, int) and count != checkpoint_count:
        problems += [f"checkpoint_count: is {count}, but {checkpoint_count} are stored"]
    return problems


def _checkpoints_context(page: ThreadPage, checkpoints: Any) -> dict[str, Any]:
    """Return the context for a page of checkpoints, and load only those on the page in full."""
    pairs = checkpoints.values_list("id", "step_index")
    pairs = sorted((pair for pair in pairs if isinstance(pair[0], int)), key=lambda pair: pair[0])
    attempts = number_attempts(pairs)
    page_obj = Paginator(pairs, STEPS_PER_PAGE).get_page(page.request.GET.get("p"))
    rows = checkpoints.filter(id__in=[id_ for id_, _ in page_obj.object_list])
    steps = build_outlines(rows.outline_rows())
    return {"page_obj": page_obj, "steps": [(step, attempts[step.id]) for step in steps]}
