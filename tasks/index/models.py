"""The tables of the index, and the queries of the thread list."""

import json
from typing import TYPE_CHECKING, Any, Self

from django.db import connections, models
from django.db.models import F, Func, Lookup, Q, Sum

from tasks.models import OrderedQuerySet

TEXT_FILTERS = ("channel", "provider", "model")
MAX_TEXT = 2_000  # characters of a value (but not of an id) in the index and in URLs
LATEST = Q(is_latest=True)
PLACES = 2**36  # ids of texts and calls per task: id = the task's id * PLACES + place

if TYPE_CHECKING:
    LookupBase = Lookup[Any]
else:
    LookupBase = Lookup


@models.BigIntegerField.register_lookup
class Among(LookupBase):
    """A lookup for any of many numbers, which are passed as one parameter."""

    lookup_name = "among"
    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        column, params = self.process_lhs(compiler, connection)
        rows = "SELECT value FROM json_each(%s)"
        return f"{column} IN ({rows})", [*params, json.dumps(sorted(self.rhs))]


class Unindexed(Func):
    """An expression that keeps SQLite from using an index for a comparison with the column."""

    template = "+%(expressions)s"
    arity = 1


class IndexedTaskQuerySet(OrderedQuerySet["IndexedTask"]):
    def latest(self) -> Self:  # type: ignore[override]
        """Return the latest task of each thread."""
        return self.filter(LATEST)


class IndexedTask(models.Model):
    """What the lists filter and sort by, of one row of task_records."""

    id = models.BigAutoField(primary_key=True)
    key = models.TextField(unique=True)  # the row's rowid on SQLite, its id on PostgreSQL
    task_id = models.TextField(null=True)  # noqa: DJ001 - as in the store
    thread_id = models.TextField(null=True)  # noqa: DJ001 - as in the store
    channel = models.TextField()
    provider = models.TextField()
    model = models.TextField()
    status = models.TextField()
    created_at = models.TextField()  # times are as stored, since they may be invalid
    updated_at = models.TextField()
    checkpoint_count = models.BigIntegerField()
    can_resume = models.BooleanField()
    is_latest = models.BooleanField(default=False)
    has_texts = models.BooleanField(default=False)  # whether the other tables are up to date
    is_cut = models.BooleanField(default=False)  # whether some texts are too large to be indexed
    size = models.BigIntegerField(default=0)  # bytes of all texts in the store
    milliseconds = models.BigIntegerField(default=-1)  # of the last attempt, or -1 if unknown
    last_tool = models.TextField(default="")
    failed_calls = models.BigIntegerField(default=0)

    objects = IndexedTaskQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        indexes = (
            # the last columns let SQLite find the latest tasks without reading the others
            models.Index("thread_id", F("updated_at").desc(), name="index_thread"),
            models.Index("updated_at", "task_id", "is_latest", "key", name="index_updated"),
            models.Index("created_at", "task_id", "is_latest", name="index_created"),
            models.Index("checkpoint_count", "task_id", "is_latest", name="index_steps"),
            models.Index("size", "task_id", name="index_size", condition=LATEST),
            models.Index("milliseconds", "task_id", name="index_duration", condition=LATEST),
            *(
                models.Index(column, "updated_at", "is_latest", name=f"index_{column}")
                for column in ("status", *TEXT_FILTERS)
            ),
            models.Index(
                *("channel", "provider", "model", "status", "updated_at"),
                name="index_kind",
                condition=LATEST,
            ),
            models.Index("updated_at", name="index_stuck", condition=LATEST & Q(can_resume=False)),
            models.Index("updated_at", name="index_behind", condition=Q(has_texts=False)),
        )

    def __str__(self) -> str:
        return str(self.task_id)


class StatusCountQuerySet(models.QuerySet["StatusCount"]):
    def by_status(self, **filters: str) -> dict[str, int]:
        rows = self.filter(**filters).values_list("status").annotate(total=Sum("n"))
        return {status: total for status, total in rows if total}

    def total(self, **filters: Any) -> int:
        return self.filter(**filters).aggregate(total=Sum("n"))["total"] or 0

    def values_of(self, column: str) -> list[str]:
        """Return the column's different values, in order."""
        rows = self.filter(n__gt=0).order_by(column).values_list(column, flat=True)
        return list(rows.distinct())


class StatusCount(models.Model):
    """The number of threads with the same values. Triggers keep it equal to `IndexedTask`."""

    COLUMNS = (*TEXT_FILTERS, "status")

    channel = models.TextField()
    provider = models.TextField()
    model = models.TextField()
    status = models.TextField()
    n = models.BigIntegerField()

    objects = StatusCountQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(fields=(*TEXT_FILTERS, "status"), name="index_counted"),
        )

    def __str__(self) -> str:
        return f"{self.n} {self.status}"


class IndexedText(models.Model):
    """A text of a task, masked and readable. The table `index_trigrams` has its trigrams."""

    id = models.BigIntegerField(primary_key=True)
    role = models.TextField()  # of a message, or which other text it is
    number = models.BigIntegerField()  # the message's number, or the checkpoint's id
    digest = models.BinaryField()  # of the stored text
    body = models.BinaryField()  # compressed

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.role} {self.number}"


class IndexedCallQuerySet(models.QuerySet["IndexedCall"]):
    def tools(self) -> list[str]:
        """Return the names of all tools, each of which takes one look into an index."""
        with connections[self.db].cursor() as cursor:
            cursor.execute(_TOOLS)
            return [tool for (tool,) in cursor.fetchall()]


_TOOLS = """
    WITH RECURSIVE tools (tool) AS (
        SELECT min(tool) FROM task_index_indexedcall UNION ALL
        SELECT (SELECT min(tool) FROM task_index_indexedcall AS call WHERE call.tool > tools.tool)
        FROM tools WHERE tool IS NOT NULL)
    SELECT tool FROM tools WHERE tool IS NOT NULL"""


class IndexedCall(models.Model):
    """A tool call of a checkpoint, which has one row without a tool if it has no call."""

    id = models.BigIntegerField(primary_key=True)
    checkpoint = models.BigIntegerField()
    step_index = models.BigIntegerField()
    attempt = models.BigIntegerField()
    tool = models.TextField()
    success = models.BooleanField(null=True)
    created_at = models.TextField()
    seconds = models.FloatField(null=True)  # since the attempt's checkpoint before, if there is one
    size = models.BigIntegerField()  # characters of arguments and output
    arguments = models.BigIntegerField(default=0)  # digests, by which calls are compared
    outcome = models.BigIntegerField(default=0)
    kind = models.TextField(default="")  # of action, and what it acts on
    target = models.TextField(default="")

    objects = IndexedCallQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        indexes = (
            models.Index("tool", "success", name="index_tool"),
            models.Index("kind", "created_at", "tool", "success", name="index_action"),
        )

    def __str__(self) -> str:
        return self.tool


class ErrorShape(models.Model):
    """What similar errors have in common. A trigger deletes it with its last failure."""

    id = models.BigIntegerField(primary_key=True)
    text = models.TextField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.text


# The bits of `Failure.firsts`: of all failures, of those with the shape, the tool, or both
_FIRST_OF = {(): 1, ("shape",): 2, ("tool",): 4, ("shape", "tool"): 8}


class FailureQuerySet(models.QuerySet["Failure"]):
    def of_latest(self) -> Self:
        """Return the failures of each thread's latest task."""
        return self.filter(updated_at__isnull=False)

    @staticmethod
    def first_of(*columns: str) -> dict[str, list[int]]:
        """Return the lookup of one row per task, among failures with the same values of these.

        The columns are "shape" and "tool", in this order.
        """
        bit = _FIRST_OF[columns]
        return {"firsts__in": [firsts for firsts in range(16) if firsts & bit]}


class Failure(models.Model):
    """A tool call that failed, with its id, or a task that failed, which has no tool.

    Triggers keep `kind` and `updated_at`, which are the task's, so that counting needs no join.
    """

    id = models.BigIntegerField(primary_key=True)
    shape = models.BigIntegerField()
    line = models.TextField()  # the error as it is, with secrets masked
    tool = models.TextField()
    created_at = models.TextField()
    firsts = models.IntegerField(default=0)  # of what it is its task's first failure; see FIRST_OF
    kind = models.BigIntegerField(null=True)  # the task's `StatusCount`
    updated_at = models.TextField(null=True)  # noqa: DJ001 - if it is not its thread's latest task

    objects = FailureQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        indexes = (
            models.Index(
                *("shape", "tool", "created_at", "updated_at", "firsts", "kind"),
                name="index_failure",
            ),
        )

    def __str__(self) -> str:
        return self.line


class Finding(models.Model):
    """What a check found in a task. The ids are in the task's range, from `pk * PLACES` on."""

    id = models.BigIntegerField(primary_key=True)
    name = models.TextField()
    tool = models.TextField()
    n = models.BigIntegerField()  # calls, seconds or attempts
    checkpoint = models.BigIntegerField(null=True)  # where to look first

    class Meta:
        default_permissions = ()
        indexes = (models.Index("name", name="index_finding"),)

    def __str__(self) -> str:
        return self.name


class RemovedTask(models.Model):
    """A task that is gone, but whose texts are still in the index. A trigger records it."""

    id = models.BigIntegerField(primary_key=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.pk)


MERGED, UNMERGED, MERGING = range(3)


class IndexState(models.Model):
    """How far the index has followed the store: its only row."""

    store = models.TextField()  # which store it is; another one makes the index start anew
    version = models.IntegerField()  # the version of this program's index
    is_complete = models.BooleanField(default=False)
    is_small = models.BooleanField(default=True)
    frontier = models.TextField(default="")  # tasks last written since this time are in the index
    last_rowid = models.BigIntegerField(default=0)
    last_checkpoint = models.BigIntegerField(default=0)
    looked_at = models.DateTimeField(null=True)
    merging = models.IntegerField(default=MERGED)  # whether deleted trigrams are overwritten
    compared = models.TextField(default="")  # the store's files when all was last compared
    compare_after = models.DateTimeField(null=True)  # when all may be compared again

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.store


def text(value: Any) -> str | None:
    """Return a stored value as the index holds it. SQLite may store any type in any column."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return None if value is None else str(value)
