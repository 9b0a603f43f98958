"""The store's two tables, as the gloamy daemon made them and writes them at the same time.

The daemon owns their form: columns, types, defaults, keys and the cascade are its own to the
letter, so a change here needs one there. Reading is free. For writing, `tasks.service` has the
verbs; the ORM suits a change of single columns (`update()`, `save(update_fields=…)`), while
"get, modify, save" of a whole row undoes what a live agent wrote in between.
"""

from collections.abc import Callable
from typing import Generic, Self, TypeVar, overload

from django.db import connections, models
from django.db.models import Exists, F, OuterRef, Q, Value
from django.db.models.functions import Left, Length, StrIndex
from django.db.models.lookups import GreaterThan

from tasks.fields import Rfc3339Field, now
from tasks.messages import (
    decode_history,
    decode_items,
    encode_history,
    encode_items,
)

PREFIX_LENGTH = 16_384  # characters of a history that a list may look at
ITEMS_PREFIX_LENGTH = 300  # of a checkpoint's items, which holds the name of the first tool
SHOWN_LENGTH = 20_000  # of a column that a page shows as it is stored
STORED_TEXTS = (  # the columns that may be long
    "execution_history_json",
    "resumable_history_json",
    "latest_checkpoint_note",
    "final_response",
    "last_error",
)


class TaskStatus(models.TextChoices):
    RUNNING = "running", "running"
    COMPLETED = "completed", "completed"
    FAILED = "failed", "failed"
    CANCELLED = "cancelled", "cancelled"
    TIMED_OUT = "timed_out", "timed out"

    @classmethod
    def read(cls, stored: str) -> "TaskStatus":
        """The status of a stored text; the store reads anything it does not know as running."""
        return cls(stored) if stored in cls.values else cls.RUNNING

    @property
    def is_terminal(self) -> bool:
        return self is not TaskStatus.RUNNING


T = TypeVar("T")


class Decoded(Generic[T]):
    """A typed view of a raw JSON column: decoded when first read, and again when the raw changed.

    Raises ValueError where the column does not hold what it should. Setting it sets the raw column.
    """

    def __init__(self, column: str, decode: Callable[[str], T], encode: Callable[[T, str], str]):
        self.column, self.decode, self.encode = column, decode, encode

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, row: None, owner: type) -> Self: ...
    @overload
    def __get__(self, row: models.Model, owner: type) -> T: ...
    def __get__(self, row: models.Model | None, owner: type) -> Self | T:
        if row is None:
            return self
        raw = getattr(row, self.column)
        cached = row.__dict__.get(self.name)
        if cached is None or cached[0] is not raw:
            cached = row.__dict__[self.name] = (raw, self.decode(raw))
        value: T = cached[1]
        return value

    def __set__(self, row: models.Model, value: T) -> None:
        setattr(row, self.column, self.encode(value, self.name))


class TaskRecordQuerySet(models.QuerySet["TaskRecord"]):
    def of_thread(self, thread_id: str) -> Self:
        """The tasks of a thread, the latest first."""
        if "\0" in thread_id and connections[self.db].vendor == "postgresql":
            return self.none()  # its texts hold no NUL, and it refuses to look for one
        return self.filter(thread_id=thread_id).order_by("-updated_at", "-task_id")

    def latest_of_thread(self) -> Self:
        """One task for each thread: the one that the thread shows and resumes with."""
        later = TaskRecord.objects.filter(
            Q(updated_at__gt=OuterRef("updated_at")) | Q(task_id__gt=OuterRef("task_id")),
            thread_id=OuterRef("thread_id"),
            updated_at__gte=OuterRef("updated_at"),
        )
        return self.filter(~Exists(later))

    def newest_first(self) -> Self:
        return self.order_by("-updated_at", "-task_id")

    def before(self, updated_at: str, task_id: str) -> Self:
        """The rows that follow this one in `newest_first()` order; `updated_at` as stored."""
        stored = Value(updated_at, output_field=models.TextField())
        return self.filter(
            Q(updated_at__lt=stored) | Q(task_id__lt=task_id),
            updated_at__lte=stored,  # redundant, and what lets the database seek in the index
        )

    def without_histories(self) -> Self:
        """Rows without their large columns, which may be many megabytes each."""
        return self.defer("execution_history_json", "resumable_history_json", "final_response")

    def for_list(self) -> Self:
        """Rows without their histories but for the start of each, which holds what was asked."""
        return self.without_histories().annotate(
            resumable_start=Left("resumable_history_json", PREFIX_LENGTH),
            history_start=Left("execution_history_json", PREFIX_LENGTH),
        )

    def for_page(self) -> Self:
        """Rows as `for_list()` reads them, with what a thread's head says of the large columns."""
        return self.for_list().annotate(
            history_length=Length("execution_history_json"),
            response_start=Left("final_response", SHOWN_LENGTH),
            response_length=Length("final_response"),
            resumable_length=Length("resumable_history_json"),
            can_resume=_contains("resumable_history_json", '"role":"user"'),
        )

    def as_stored(self) -> Self:
        """Rows with the start of each large column, and its length."""
        starts = {f"{column}_start": Left(column, SHOWN_LENGTH) for column in STORED_TEXTS}
        lengths = {f"{column}_length": Length(column) for column in STORED_TEXTS}
        return self.defer(*STORED_TEXTS).annotate(**starts, **lengths)


def _contains(column: str, text: str) -> GreaterThan:
    """Whether a column holds the text, by its letters' case, on either database."""
    return GreaterThan(StrIndex(column, Value(text)), 0)


class TaskRecord(models.Model):
    """One task. In practice a thread has one task with its own id, overwritten at each message."""

    task_id = models.TextField(primary_key=True)
    thread_id = models.TextField()
    channel = models.TextField()
    provider = models.TextField()
    model = models.TextField()
    status = models.TextField(choices=TaskStatus)
    execution_history_json = models.TextField(default="[]")
    resumable_history_json = models.TextField(default="[]")
    latest_checkpoint_note = models.TextField(null=True, blank=True)
    checkpoint_count = models.BigIntegerField(default=0, db_default=0)
    final_response = models.TextField(null=True, blank=True)
    last_error = models.TextField(null=True, blank=True)
    created_at = Rfc3339Field(default=now)
    updated_at = Rfc3339Field(default=now)
    completed_at = Rfc3339Field(null=True, blank=True)

    execution_history = Decoded("execution_history_json", decode_history, encode_history)
    resumable_history = Decoded("resumable_history_json", decode_history, encode_history)

    objects = TaskRecordQuerySet.as_manager()

    class Meta:
        db_table = "task_records"
        default_permissions = ("view",)
        permissions = (("clear_thread", "Can clear threads"),)
        verbose_name = "task"
        indexes = (
            models.Index(F("thread_id"), F("updated_at").desc(), name="idx_task_records_thread"),
            # ours: the list's order, without reading every row and its histories
            models.Index(
                F("updated_at").desc(), F("task_id").desc(), name="idx_task_records_updated"
            ),
        )

    def __str__(self) -> str:
        return str(self.task_id or "(empty id)")


class TaskCheckpointQuerySet(models.QuerySet["TaskCheckpoint"]):
    def of_thread(self, thread_id: str) -> Self:
        return self.filter(task__thread_id=thread_id)

    def in_order_taken(self) -> Self:
        return self.order_by("id")

    def in_step_order(self) -> Self:
        """The order in which the store gives a task's checkpoints to the agent."""
        return self.order_by("step_index", "id")

    def outlined(self) -> Self:
        """Rows with what a picture needs of their items, made without handing these over.

        Inside a JSON text quotes are escaped, so no output can look like a failed call.
        """
        return (
            self.in_order_taken()
            .only("task", "step_index", "created_at")
            .annotate(
                items_start=Left("items_json", ITEMS_PREFIX_LENGTH),
                items_length=Length("items_json"),
                has_failure=_contains("items_json", ',"success":false,"output":'),
                has_more=_contains("items_json", '"},{"tool_name":"'),
            )
        )


class TaskCheckpoint(models.Model):
    """One step of a task: the tool calls that ran, and the note for resuming after them."""

    id = models.BigAutoField(primary_key=True)
    task = models.ForeignKey(
        TaskRecord,
        on_delete=models.DO_NOTHING,  # the cascade is the database's own
        related_name="checkpoints",
        db_index=False,
    )
    step_index = models.BigIntegerField()
    checkpoint_note = models.TextField(null=True, blank=True)
    items_json = models.TextField()
    created_at = Rfc3339Field(default=now)

    items = Decoded("items_json", decode_items, encode_items)

    objects = TaskCheckpointQuerySet.as_manager()

    class Meta:
        db_table = "task_checkpoints"
        default_permissions = ("view",)
        verbose_name = "checkpoint"
        indexes = (
            models.Index(fields=("task", "step_index"), name="idx_task_checkpoints_task_step"),
        )

    def __str__(self) -> str:
        return f"{self.task_id} step {self.step_index}"
