"""The tasks that the admin reads, each addressed by its id or by the number of its row."""

from typing import Self

from tasks.addresses import id_from_path, id_to_path, is_unaddressable, parse_number
from tasks.large_values import RowId
from tasks.models import TaskRecord, TaskRecordQuerySet


class AdminTaskQuerySet(TaskRecordQuerySet):
    def for_changelist(self) -> Self:
        """Rows with the columns of the list.

        On SQLite all of them come before the histories, except `updated_at`, which is in the index
        that gives the order: a row of 100 MB costs no more than any other.
        """
        return self.only(
            "task_id", "thread_id", "channel", "provider", "model", "status", "updated_at"
        )

    def by_path_id(self, segment: str) -> Self:
        """Return the task that a path segment of `path_id()` names, or no task."""
        number = parse_number(segment.removeprefix("row-"))
        if segment.startswith("row-") and number is not None:
            return self.filter(row=number)
        task_id = id_from_path(segment)
        return self.none() if task_id is None else self.filter(pk=task_id)


def admin_tasks() -> AdminTaskQuerySet:
    """Return all tasks, with the row numbers that address those without a usable id."""
    tasks: AdminTaskQuerySet = AdminTaskQuerySet(TaskRecord).annotate(row=RowId("task_id"))
    return tasks


def path_id(record: TaskRecord) -> str:
    """Return the path segment that addresses a row of `admin_tasks()`."""
    row = getattr(record, "row", None)
    use_row = row is not None and is_unaddressable(record.pk)
    return f"row-{row}" if use_row else id_to_path(record.pk)
