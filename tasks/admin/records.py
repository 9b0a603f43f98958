"""Querysets of tasks for the admin, which identifies each task by its id or row number."""

from typing import Self

from django.db import connections

from tasks.addresses import id_from_path, id_to_path, is_unaddressable, parse_number
from tasks.engines import engine
from tasks.fields import parse_stored
from tasks.index.models import IndexedTask
from tasks.large_values import RowId
from tasks.models import TaskRecord, TaskRecordQuerySet


class AdminTaskQuerySet(TaskRecordQuerySet):
    def for_changelist(self) -> Self:
        """Return the tasks with only the columns that the list shows, apart from `updated_at`.

        SQLite stores these columns before the histories. A 100 MB row is thus as fast to read as
        any other.
        """
        return self.only("task_id", "thread_id", "channel", "provider", "model", "status")

    def by_path_id(self, segment: str) -> Self:
        """Select the task identified by a path segment from `path_id()`, if the task exists."""
        number = parse_number(segment.removeprefix("row-"))
        if segment.startswith("row-") and number is not None:
            return self.filter(row=number)
        task_id = id_from_path(segment)
        return self.none() if task_id is None else self.filter(pk=task_id)


def admin_tasks() -> AdminTaskQuerySet:
    """Return all tasks, with row numbers to address those that have no usable id."""
    tasks: AdminTaskQuerySet = AdminTaskQuerySet(TaskRecord).annotate(row=RowId("task_id"))
    return tasks


def of_entries(entries: list[IndexedTask]) -> list[TaskRecord]:
    """Return the tasks of the index's entries, without those that are gone."""
    keys = [entry.key for entry in entries]
    is_file = engine(connections[TaskRecord.objects.db]).has_blob_handles
    tasks = admin_tasks().for_changelist()
    tasks = tasks.filter(row__in=map(int, keys)) if is_file else tasks.filter(pk__in=keys)
    by_key = {str(task.row) if is_file else task.pk: task for task in tasks}  # type: ignore[attr-defined]
    for entry in entries:
        if entry.key in by_key:
            by_key[entry.key].updated_at = parse_stored(entry.updated_at)  # stored after histories
    return [by_key[key] for key in keys if key in by_key]


def path_id(record: TaskRecord) -> str:
    """Return the URL path segment that identifies a task from `admin_tasks()`."""
    row = getattr(record, "row", None)
    use_row = row is not None and is_unaddressable(record.pk)
    return f"row-{row}" if use_row else id_to_path(record.pk)
