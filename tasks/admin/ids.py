"""What a task is called in the admin's addresses and forms: its id may hold anything."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any, Self

from django.contrib.admin.utils import quote, unquote
from django.urls import reverse

from tasks.models import TaskRecord, TaskRecordQuerySet
from tasks.store.rowid import RowId, is_spoilt

LONGEST = 20_000  # characters of an id in an address of the admin's


def is_nameless(task_id: Any) -> bool:
    """Whether a row cannot be found by its id, or the id is too long for a path."""
    return is_spoilt(task_id) or len(task_id) > LONGEST


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
    return f"row-{row}" if row is not None and is_nameless(record.pk) else id_in_path(record.pk)


def task_address(task_id: Any) -> str:
    """The admin's page of the task with this id; "" where that is too long."""
    if len(str(task_id)) > LONGEST:
        return ""
    return reverse("admin:tasks_taskrecord_change", args=[id_in_path(task_id)])
