"""Querysets of tasks for the admin, which identifies each task by its id or row number."""

from typing import Self

from tasks.addresses import id_from_path, id_to_path, is_unaddressable, parse_number
from tasks.large_values import RowId
from tasks.models import TaskRecord, TaskRecordQuerySet


class AdminTaskQuerySet(TaskRecordQuerySet):
    def for_changelist(self) -> Self:
        """Return the tasks with only the columns that the list shows.

        SQLite stores these columns before the histories, except `updated_at`, which it reads from
        the index that the list is sorted by. A 100 MB row is thus as fast to read as any other.
        """
        return self.only(
            "task_id", "thread_id", "channel", "provider", "model", "status", "updated_at"
        )

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


def path_id(record: TaskRecord) -> str:
    """Return the URL path segment that identifies a task from `admin_tasks()`."""
    row = getattr(record, "row", None)
    use_row = row is not None and is_unaddressable(record.pk)
    return f"row-{row}" if use_row else id_to_path(record.pk)
