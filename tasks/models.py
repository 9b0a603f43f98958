"""The store's two tables, as the gloamy daemon made them and writes them at the same time.

The daemon owns their form: columns, types, defaults, keys and the cascade are its own to the
letter, so a change here needs one there. Reading is free. For writing, `tasks.service` has the
verbs; the ORM suits a change of single columns (`update()`, `save(update_fields=…)`), while
"get, modify, save" of a whole row undoes what a live agent wrote in between.
"""

from typing import Any, Self

from django.db import connections, models
from django.db.models import F, OuterRef, Q, Subquery, Value
from django.db.models.functions import Left, Length, StrIndex
from django.db.models.lookups import GreaterThan

from masking import MARGIN
from tasks import large_values
from tasks.engines import engine, storable
from tasks.fields import DecodedJson, Rfc3339Field, now
from tasks.large_values import BoundedQuerySet
from tasks.messages import (
    decode_history,
    decode_items,
    encode_history,
    encode_items,
)

PREFIX_LENGTH = 16_384  # characters of a history that a list may look at
LOOKED_AT = 1_000_000  # characters of a resumable history that a page looks at for a user turn
NOTE_LENGTH = 1_000  # of a note or an error
USER_TURN = '"role":"user"'  # as it stands in every history that has one
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


class TaskRecordQuerySet(BoundedQuerySet["TaskRecord"]):
    def of_thread(self, thread_id: str) -> Self:
        """The tasks of a thread, the latest first."""
        stored = storable(thread_id, connections[self.db])
        return self.filter(thread_id=stored).order_by("-updated_at", "-task_id")

    def latest_of_thread(self) -> Self:
        """One task for each thread: the one that the thread shows and resumes with."""
        # of its own row it looks at the ids alone: on SQLite what follows a history is far away
        latest = TaskRecord.objects.filter(thread_id=OuterRef("thread_id")).newest_first()
        is_latest = Q(task_id=Subquery(latest.values("task_id")[:1]))
        return self.filter(is_latest | Q(task_id__isnull=True))  # which SQLite lets a key be

    def newest_first(self) -> Self:
        return self.in_order("updated_at")

    def in_order(self, column: str, *, descending: bool = True) -> Self:
        sign = "-" if descending else ""
        return self.order_by(f"{sign}{column}", f"{sign}task_id")

    def after(
        self, column: str, value: str | int, task_id: str, *, descending: bool = True
    ) -> Self:
        """Return the rows after this one in that order; a time's `value` is its stored text."""
        side = "lt" if descending else "gt"
        stored = _stored(value)
        return self.filter(
            Q(**{f"{column}__{side}": stored}) | Q(**{f"task_id__{side}": task_id}),
            **{f"{column}__{side}e": stored},  # redundant, and lets the database seek in the index
        )

    def through(
        self, column: str, value: str | int, task_id: str, *, descending: bool = True
    ) -> Self:
        """Return the rows up to and including this one in that order."""
        side = "gt" if descending else "lt"
        stored = _stored(value)
        return self.filter(
            Q(**{f"{column}__{side}": stored}) | Q(**{f"task_id__{side}e": task_id}),
            **{f"{column}__{side}e": stored},
        )

    def unresumable(self) -> Self:
        """Rows whose resumable history begins without a user turn.

        That is what leaves nothing to resume with: the first user turn is always kept, and what
        stands before it always dropped. The store writes it first, and looking at no more than
        the start of a history keeps the look bounded; the thread's own page looks further.
        On SQLite the rows are looked at here and now, so they should be few.
        """
        column = "resumable_history_json"
        if engine(connections[self.db]).has_blob_handles:
            return large_values.without_text(self, column, USER_TURN, PREFIX_LENGTH)
        start = Left(column, PREFIX_LENGTH)
        return self.alias(user_turn=StrIndex(start, Value(USER_TURN))).filter(user_turn=0)

    def without_histories(self) -> Self:
        """Rows without their large columns, which may be many megabytes each."""
        return self.defer("execution_history_json", "resumable_history_json", "final_response")

    def for_list(self) -> Self:
        """Rows with no more than the start of each text that has no bound."""
        return self.without_histories().with_beginnings(**_STARTS)

    def for_page(self) -> Self:
        """Rows as `for_list()` reads them, with what a thread's head says of the large columns."""
        return self.for_list().with_beginnings(
            **_STARTS
            | {
                "resumable": ("resumable_history_json", LOOKED_AT),
                "note": ("latest_checkpoint_note", SHOWN_LENGTH + MARGIN),
                "error": ("last_error", SHOWN_LENGTH + MARGIN),
                "response": ("final_response", SHOWN_LENGTH + MARGIN),
            }
        )

    def as_stored(self) -> Self:
        """Rows with the start of each large column, and its length."""
        most = SHOWN_LENGTH + MARGIN
        return self.with_beginnings(**{column: (column, most) for column in STORED_TEXTS})


_STARTS = {
    "history": ("execution_history_json", PREFIX_LENGTH),
    "resumable": ("resumable_history_json", PREFIX_LENGTH),
    "note": ("latest_checkpoint_note", NOTE_LENGTH + MARGIN),
    "error": ("last_error", NOTE_LENGTH + MARGIN),
}


def _contains(column: str, text: str) -> GreaterThan:
    """Whether a column holds the text, by its letters' case, on either database."""
    return GreaterThan(StrIndex(column, Value(text)), 0)


def _stored(value: str | int) -> Value:
    """A value to compare a column with, as it is: a stored time may be any text."""
    field = models.BigIntegerField() if isinstance(value, int) else models.TextField()
    return Value(value, output_field=field)


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

    execution_history = DecodedJson("execution_history_json", decode_history, encode_history)
    resumable_history = DecodedJson("resumable_history_json", decode_history, encode_history)

    objects = TaskRecordQuerySet.as_manager()

    class Meta:
        db_table = "task_records"
        default_permissions = ("view",)
        permissions = (
            ("clear_thread", "Can clear threads"),
            ("reveal_secrets", "Can see secrets of threads"),
        )
        verbose_name = "task"
        indexes = (
            models.Index(F("thread_id"), F("updated_at").desc(), name="idx_task_records_thread"),
            # ours: the list's orders and its states, without reading every row and its histories
            models.Index(
                F("updated_at").desc(), F("task_id").desc(), name="idx_task_records_updated"
            ),
            models.Index(
                F("status"),
                F("updated_at").desc(),
                F("task_id").desc(),
                name="idx_task_records_status",
            ),
            models.Index(
                F("created_at").desc(), F("task_id").desc(), name="idx_task_records_created"
            ),
            models.Index(
                F("checkpoint_count").desc(), F("task_id").desc(), name="idx_task_records_steps"
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

    def cut(self, length: int) -> models.QuerySet["TaskCheckpoint"]:
        """Rows with so many characters of their items, in the place of the whole."""
        start = Left("items_json", length)
        return self.defer("items_json").annotate(items_start=start)

    def outlined(self) -> models.QuerySet["TaskCheckpoint", Any]:
        """Select what `steps.build_outlines` needs; whole items are not read.

        Inside a JSON text quotes are escaped, so no output can look like a failed call.
        """
        return self.in_order_taken().values_list(
            "id",
            "step_index",
            "created_at",
            Left("items_json", ITEMS_PREFIX_LENGTH),
            Length("items_json"),
            _contains("items_json", ',"success":false,"output":'),
            _contains("items_json", '"},{"tool_name":"'),
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

    items = DecodedJson("items_json", decode_items, encode_items)

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
