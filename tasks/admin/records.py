"""The tasks as the admin reads them, each addressed by its id or its row number."""

from typing import Self

from tasks.addresses import id_from_path, id_to_path, is_unaddressable, parse_number
from tasks.large_values import RowId
from tasks.models import TaskRecord, TaskRecordQuerySet


class AdminTaskQuerySet(TaskRecordQuerySet):
    def for_changelist(self) -> Self:
        """Return the rows with only the columns that the list shows.

        SQLite stores these columns before the histories, except `updated_at`, which comes from the
        index that the list is ordered by; so a row of 100 MB costs no more than any other.
        """
        return self.only(
            "task_id", "thread_id", "channel", "provider", "model", "status", "updated_at"
        )

    def by_path_id(self, segment: str) -> Self:
        """Filter for the task named by a path segment from `path_id()`, if it exists."""
        number = parse_number(segment.removeprefix("row-"))
        if segment.startswith("row-") and number is not None:
            return self.filter(row=number)
        task_id = id_from_path(segment)
        return self.none() if task_id is None else self.filter(pk=task_id)


def admin_tasks() -> AdminTaskQuerySet:
    """Return all tasks, with row numbers for addressing those without a usable id."""
    tasks: AdminTaskQuerySet = AdminTaskQuerySet(TaskRecord).annotate(row=RowId("task_id"))
    return tasks


def path_id(record: TaskRecord) -> str:
    """Return the path segment that addresses a row of `admin_tasks()`."""
    row = getattr(record, "row", None)
    use_row = row is not None and is_unaddressable(record.pk)
    return f"row-{row}" if use_row else id_to_path(record.pk)
