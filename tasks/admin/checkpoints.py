"""The Django admin for checkpoints."""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse

from masking import MARGIN
from tasks.addresses import admin_task_url, parse_number, thread_url
from tasks.admin.base import ReadOnlyAdmin, invalid_values
from tasks.admin.changelist import invalid_cursor
from tasks.admin.filters import TakenFilter, TaskStatusFilter, text_filters
from tasks.admin.records import admin_tasks
from tasks.engines import storable
from tasks.models import DISPLAY_LENGTH, TaskCheckpoint
from tasks.secrets import request_masking
from tasks.store.workspace import store_connection
from tasks.templatetags.threads import absolute, display_id
from tasks.transcript.search import Term
from tasks.transcript.steps import Step, build_outlines

COLUMNS = ("id", "task_id", "step_index", "created_at")


@admin.register(TaskCheckpoint)
class TaskCheckpointAdmin(ReadOnlyAdmin):
    list_display = ("number", "task_label", "step_label", "taken")
    list_filter = (TakenFilter, TaskStatusFilter, *text_filters("task__"))
    search_fields = ("task_id",)
    search_help_text = "Task or thread ID, or part of a task ID."
    sortable_by = ("number",)
    order, order_column = ("id",), "number"
    actions = None
    row_template = "admin/tasks/checkpoint.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[TaskCheckpoint]:
        return TaskCheckpoint.objects.only(*COLUMNS)

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> TaskCheckpoint | None:
        number = parse_number(object_id)
        rows = TaskCheckpoint.objects.with_items_start(DISPLAY_LENGTH + MARGIN)
        return None if number is None else rows.filter(pk=number).first()

    def exact_match(self, text: str) -> Q:
        text = storable(text, store_connection())
        return Q(task_id=text) | Q(task_id__in=admin_tasks().for_thread(text).values("pk"))

    def partial_match(self, text: str) -> Q:
        children: Any = Term(text).in_ids().children
        _, pattern = children[0]
        return Q(task__task_id__like=pattern)

    def parse_cursor(self, text: str) -> int:
        number = parse_number(text)
        if number is None:
            raise invalid_cursor()
        return number

    def row_url(self, row: Any) -> str:
        return reverse("admin:tasks_taskcheckpoint_change", args=[row.pk])

    @admin.display(description="checkpoint", ordering="id")
    def number(self, checkpoint: TaskCheckpoint) -> str:
        return str(checkpoint.pk)

    @admin.display(description="task")
    def task_label(self, checkpoint: TaskCheckpoint) -> str:
        return request_masking.truncate(display_id(checkpoint.task_id), 300)

    @admin.display(description="step")
    def step_label(self, checkpoint: TaskCheckpoint) -> str:
        return request_masking.truncate(str(checkpoint.step_index), 100)

    @admin.display(description="recorded")
    def taken(self, checkpoint: TaskCheckpoint) -> str:
        return request_masking.truncate(absolute(checkpoint.created_at), 100)

    def row_context(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        task = admin_tasks().for_changelist().filter(pk=row.task_id).first()
        outline_rows = TaskCheckpoint.objects.filter(pk=row.pk).outline_rows()
        outlines = build_outlines(outline_rows)
        problems = invalid_values(row, (*COLUMNS, "checkpoint_note"))
        if task is None:
            problems.append("task_id: no such task")
        return {
            "title": f"Checkpoint {row.pk}",
            "checkpoint": row,
            "step": Step(outlines[0], row, None) if outlines else None,
            "record": task,
            "invalid_values": problems,
            "values": [(name, absolute(getattr(row, name))) for name in COLUMNS],
            "task_url": admin_task_url(row.task_id),
            "step_url": f"{reverse('step')}?checkpoint={row.pk}",
            "url": thread_url("thread", task.thread_id, task=task.pk) if task else "",
        }
