"""The tasks as the admin reads them, each named by its id or by the number of its row."""

from typing import Self

from tasks.addresses import id_from_path, id_to_path, is_unaddressable
from tasks.large_values import RowId
from tasks.models import TaskRecord, TaskRecordQuerySet


class AdminRecords(TaskRecordQuerySet):
    """Tasks with the number of their row, which names those that have no usable id."""

    @classmethod
    def all_tasks(cls) -> Self:
        return cls(TaskRecord).annotate(row=RowId("task_id"))

    def heads(self) -> Self:
        """Rows with what the list shows.

        On SQLite none of it lies behind the histories but `updated_at`, which comes from the index
        that gives the order: a row of 100 MB costs no more than any other.
        """
        shown = ("task_id", "thread_id", "channel", "provider", "model", "status", "updated_at")
        return self.only(*shown)

    def named(self, segment: str) -> Self:
        """The task that a segment of a path names, or none."""
        number = segment.removeprefix("row-")
        if segment != number and number.isascii() and number.isdecimal() and len(number) < 19:
            return self.filter(row=int(number))
        task_id = id_from_path(segment)
        return self.none() if task_id is None else self.filter(pk=task_id)


def name_of(record: TaskRecord) -> str:
    """The segment that names a row of `AdminRecords`."""
    row = getattr(record, "row", None)
    return (
        f"row-{row}" if row is not None and is_unaddressable(record.pk) else id_to_path(record.pk)
    )
