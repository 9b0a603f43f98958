"""The store's two tables, which the gloamy daemon also creates and writes to.

The daemon owns the schema: columns, types, defaults, keys and the cascade must match the daemon's
exactly, so change both together. Reading is always safe. To write, use the verbs in
`tasks.service`, or the ORM for single columns (`update()`, `save(update_fields=…)`). Saving all
columns of a loaded row would overwrite anything that a live agent has written since then.
"""

from typing import Any, Self, TypeVar

from django.db import connections, models
from django.db.models import F, Max, OuterRef, Q, Subquery, Value
from django.db.models.functions import Left, Length, StrIndex, Substr

from masking import MARGIN
from tasks import large_values
from tasks.engines import engine, storable
from tasks.fields import DecodedJson, Rfc3339Field, now
from tasks.large_values import BoundedQuerySet
from tasks.messages import decode_history, decode_items, encode_history, encode_items

M = TypeVar("M", bound=models.Model)

PREFIX_LENGTH = 16_384  # characters of each history that a list page reads
RESUMABLE_PREFIX_LENGTH = 1_000_000  # characters that a thread page searches for a user turn
END_LENGTH = 65_536  # bytes of the end of a history, where the latest request is looked for
NOTE_LENGTH = 1_000  # characters of each note or error that a list page reads
ITEMS_PREFIX_LENGTH = 300  # characters of a checkpoint's items, enough for the first tool's name
DISPLAY_LENGTH = 20_000  # maximum characters of a value shown on a page; a link leads to the rest
USER_TURN = '"role":"user"'  # every history that has a user turn contains this text
HISTORY_COLUMNS = ("execution_history_json", "resumable_history_json")
STORED_TEXTS = (  # the text columns that have no length limit
    *HISTORY_COLUMNS,
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
        """Parse a stored status. An unknown status counts as running, as it does in the daemon."""
        return _STATUSES.get(stored, cls.RUNNING)

    @property
    def is_terminal(self) -> bool:
        return self is not TaskStatus.RUNNING


_STATUSES = {status.value: status for status in TaskStatus}


class OrderedQuerySet(BoundedQuerySet[M]):
    """A queryset of rows that have a `task_id`, sorted by a column and then by that id."""

    def newest_first(self) -> Self:
        return self.in_order("updated_at")

    def in_order(self, column: str, *, descending: bool = True) -> Self:
        sign = "-" if descending else ""
        return self.order_by(f"{sign}{column}", f"{sign}task_id")

    def compare(self, column: str, value: str | int, task_id: str, lookup: str) -> Self:
        """Return the rows that compare with the given one as `lookup` says: lt, lte, gt or gte.

        Rows are compared by the column and then by id, as `in_order` sorts them. Pass times in
        stored form.
        """
        strict, stored = lookup[:2], _stored(value)
        return self.filter(
            Q(**{f"{column}__{strict}": stored}) | Q(**{f"task_id__{lookup}": task_id}),
            **{
                f"{column}__{strict}e": stored
            },  # redundant, but lets the database seek in the index
        )


class TaskRecordQuerySet(OrderedQuerySet["TaskRecord"]):
    def for_thread(self, thread_id: str) -> Self:
        """Return a thread's tasks, latest first."""
        stored = storable(thread_id, connections[self.db])
        return self.filter(thread_id=stored).order_by("-updated_at", "-task_id")

    def latest_per_thread(self) -> Self:
        """Return the latest task of each thread, the one that is displayed and resumed."""
        # compare only ids, since columns stored after a history are slow to reach on SQLite
        latest = TaskRecord.objects.filter(thread_id=OuterRef("thread_id")).newest_first()
        is_latest = Q(task_id=Subquery(latest.values("task_id")[:1]))
        return self.filter(is_latest | Q(task_id__isnull=True))  # SQLite allows NULL keys

    def unresumable(self) -> Self:
        """Return the rows whose resumable history has no user turn near its start.

        These tasks cannot be resumed, since everything before the first user turn is dropped. The
        store writes that turn first, so a search near the start is enough here; the thread page
        searches further. On SQLite, the search runs immediately, so use this only on a few rows.
        """
        column = "resumable_history_json"
        if engine(connections[self.db]).has_blob_handles:
            return large_values.without_text(self, column, USER_TURN, PREFIX_LENGTH)
        start = Left(column, PREFIX_LENGTH)
        return self.alias(user_turn=StrIndex(start, Value(USER_TURN))).filter(user_turn=0)

    def without_histories(self) -> Self:
        """Defer the large columns, each of which may hold many megabytes."""
        return self.defer("execution_history_json", "resumable_history_json", "final_response")

    def versions(self) -> models.QuerySet["TaskRecord"]:
        """Select what changes with every write, adding the id of each task's `last_checkpoint`.

        None of it is stored after the histories: on SQLite, the thread's index has `updated_at`.
        """
        steps = TaskCheckpoint.objects.filter(task_id=OuterRef("task_id")).values("task_id")
        last = Subquery(steps.annotate(last=Max("id")).values("last"))
        return self.only("task_id", "updated_at", "status").annotate(last_checkpoint=last)

    def for_list(self) -> Self:
        """Read only the beginnings of long text columns, and the end of the history."""
        return self.without_histories().with_beginnings(**_STARTS).with_ends(history=_END)

    def for_page(self) -> Self:
        """Like `for_list()`, but with the longer beginnings that a thread page's header needs."""
        return self.for_list().with_beginnings(
            **_STARTS
            | {
                "resumable": ("resumable_history_json", RESUMABLE_PREFIX_LENGTH),
                "note": ("latest_checkpoint_note", DISPLAY_LENGTH + MARGIN),
                "error": ("last_error", DISPLAY_LENGTH + MARGIN),
                "response": ("final_response", DISPLAY_LENGTH + MARGIN),
            }
        )

    def with_stored_texts(self) -> Self:
        """Read the beginning and the length of each text column that has no length limit."""
        most = DISPLAY_LENGTH + MARGIN
        return self.with_beginnings(**{column: (column, most) for column in STORED_TEXTS})


_STARTS = {
    "history": ("execution_history_json", PREFIX_LENGTH),
    "resumable": ("resumable_history_json", PREFIX_LENGTH),
    "note": ("latest_checkpoint_note", NOTE_LENGTH + MARGIN),
    "error": ("last_error", NOTE_LENGTH + MARGIN),
}
_END = ("execution_history_json", END_LENGTH)


def _stored(value: str | int) -> Value:
    """Wrap a value for comparison with a raw column, since stored times may be invalid."""
    field = models.BigIntegerField() if isinstance(value, int) else models.TextField()
    return Value(value, output_field=field)


class TaskRecord(models.Model):
    """A task. In practice, a thread has one task, which every message of the thread updates."""

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
            # the only one of ours, by which the site finds the tasks that have changed
            models.Index(
                F("updated_at").desc(), F("task_id").desc(), name="idx_task_records_updated"
            ),
        )

    def __str__(self) -> str:
        return str(self.task_id or "(empty ID)")


FAILED_OUTPUT = ',"success":false,"output":'  # precedes the output of a failed call
NEXT_TOOL = '"},{"tool_name":"'  # precedes the name of each tool but the first


class TaskCheckpointQuerySet(models.QuerySet["TaskCheckpoint"]):
    def for_thread(self, thread_id: str) -> Self:
        return self.filter(task__thread_id=thread_id)

    def in_recorded_order(self) -> Self:
        return self.order_by("id")

    def in_step_order(self) -> Self:
        """Return the checkpoints in the order in which the store returns them to the agent."""
        return self.order_by("step_index", "id")

    def with_items_start(self, length: int) -> models.QuerySet["TaskCheckpoint"]:
        """Read only the first `length` characters of the items, as `items_start`."""
        start = Left("items_json", length)
        return self.defer("items_json").annotate(items_start=start)

    def outline_rows(self) -> models.QuerySet["TaskCheckpoint", Any]:
        """Select what `steps.build_outlines` needs, without reading the items in full.

        Quotes inside JSON strings are escaped, so tool output cannot be mistaken for a failed call.
        """
        return self.in_recorded_order().values_list(
            "id",
            "step_index",
            "created_at",
            Left("items_json", ITEMS_PREFIX_LENGTH),
            Length("items_json"),
            # 0 if the text is not there; LIKE would ignore case on SQLite
            StrIndex("items_json", Value(FAILED_OUTPUT)),
            StrIndex("items_json", Value(NEXT_TOOL)),
        )

    def failed_outputs(self, length: int) -> models.QuerySet["TaskCheckpoint", Any]:
        """Select the start, as JSON, of the output of the first failed call of each step."""
        at = StrIndex("items_json", Value(FAILED_OUTPUT)) + Value(len(FAILED_OUTPUT))
        return self.values_list("id", Substr("items_json", at, length))


class TaskCheckpoint(models.Model):
    """One step of a task: the tool calls that ran, and a note for resuming after the step."""

    id = models.BigAutoField(primary_key=True)
    task = models.ForeignKey(
        TaskRecord,
        on_delete=models.DO_NOTHING,  # the database itself cascades deletes
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
