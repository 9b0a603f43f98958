"""The checkpoints in the admin."""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse

from tasks.addresses import admin_task_url, thread_url
from tasks.admin.base import ReadOnlyAdmin, wrong_place, wrong_values
from tasks.admin.changelist import AFTER, Place
from tasks.admin.filters import (
    TakenFilter,
    TaskChannelFilter,
    TaskModelFilter,
    TaskProviderFilter,
    TaskStatusFilter,
)
from tasks.admin.records import AdminRecords
from tasks.engines import storable
from tasks.models import TaskCheckpoint
from tasks.secrets import request_masking
from tasks.store.workspace import store_connection
from tasks.templatetags.threads import absolute, display_id
from tasks.transcript.search import Term
from tasks.transcript.steps import Step, build_outlines

SHORT = ("id", "task_id", "step_index", "created_at")


@admin.register(TaskCheckpoint)
class TaskCheckpointAdmin(ReadOnlyAdmin):
    list_display = ("number", "task_shown", "step_shown", "taken")
    list_filter = (
        TakenFilter,
        TaskStatusFilter,
        TaskChannelFilter,
        TaskProviderFilter,
        TaskModelFilter,
    )
    search_fields = ("task_id",)
    search_help_text = "The id of a task or a thread, or a part of a task's."
    sortable_by = ("number",)
    order, order_column = ("id",), "number"
    actions = None
    page = "admin/tasks/checkpoint.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[TaskCheckpoint]:
        return TaskCheckpoint.objects.only(*SHORT)

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> TaskCheckpoint | None:
        is_number = object_id.isascii() and object_id.isdecimal() and len(object_id) < 19
        return TaskCheckpoint.objects.filter(pk=object_id).first() if is_number else None

    def exactly(self, text: str) -> Q:
        text = storable(text, store_connection())
        return Q(task_id=text) | Q(
            task_id__in=AdminRecords.all_tasks().for_thread(text).values("pk")
        )

    def containing(self, text: str) -> Q:
        children: Any = Term(text).in_ids().children
        _, pattern = children[0]
        return Q(task__task_id__like=pattern)

    def place_of(self, text: str) -> Place:
        if not (text.isascii() and text.isdecimal() and len(text) < 19):
            raise wrong_place(AFTER)
        return Place(int(text), int(text))

    def text_of(self, place: Place) -> str:
        return str(place.id)

    def beyond(self, rows: QuerySet[Any], place: Place, *, descending: bool) -> QuerySet[Any]:
        return rows.filter(**{f"id__{'lt' if descending else 'gt'}": place.id})

    def up_to(self, rows: QuerySet[Any], place: Place, *, descending: bool) -> QuerySet[Any]:
        return rows.filter(**{f"id__{'gte' if descending else 'lte'}": place.id})

    def address_of(self, found: Any) -> str:
        return reverse("admin:tasks_taskcheckpoint_change", args=[found.pk])

    @admin.display(description="checkpoint", ordering="id")
    def number(self, checkpoint: TaskCheckpoint) -> str:
        return str(checkpoint.pk)

    @admin.display(description="task")
    def task_shown(self, checkpoint: TaskCheckpoint) -> str:
        return request_masking.truncate(display_id(checkpoint.task_id), 300)

    @admin.display(description="step")
    def step_shown(self, checkpoint: TaskCheckpoint) -> str:
        return request_masking.truncate(str(checkpoint.step_index), 100)

    @admin.display(description="taken")
    def taken(self, checkpoint: TaskCheckpoint) -> str:
        return request_masking.truncate(absolute(checkpoint.created_at), 100)

    def context_of(self, request: HttpRequest, found: Any) -> dict[str, Any]:
        task = AdminRecords.all_tasks().heads().filter(pk=found.task_id).first()
        row = TaskCheckpoint.objects.filter(pk=found.pk)
        outline = build_outlines(
            row.outline_rows(), task or found
        )  # of a task it asks when it began
        wrong = wrong_values(found, (*SHORT, "checkpoint_note"))
        if task is None:
            wrong.append("task_id: there is no such task")
        return {
            "title": f"Checkpoint {found.pk}",
            "checkpoint": found,
            "step": Step(outline[0], found, None) if outline else None,
            "record": task,
            "wrong": wrong,
            "values": [(name, absolute(getattr(found, name))) for name in SHORT],
            "task_url": admin_task_url(found.task_id),
            "step_url": f"{reverse('step')}?checkpoint={found.pk}",
            "url": thread_url("thread", task.thread_id, task=task.pk) if task else "",
        }
