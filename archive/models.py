"""Records of who cleared threads and who viewed secrets, and the archive of cleared threads.

Their tables are in the site's database, not the agent's. A clearing is recorded before any thread
is deleted, and its results are added afterwards. The record outlives the archived threads.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Self

from django.conf import settings
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone


class Source(models.TextChoices):
    THREAD_PAGE = "thread page", "the thread's page"
    LIST = "list", "the list"
    PAGE = "cleared page", "the Cleared page"
    ADMIN = "admin", "the admin"
    COMMAND = "command", "the command line"
    CODE = "code", "Python code"


class Stage(models.TextChoices):
    DRAFT = "draft", "not confirmed"
    RUNNING = "running", "in progress"
    DONE = "done", "done"
    CANCELLED = "cancelled", "cancelled"
    FAILED = "failed", "interrupted"


class Fate(models.TextChoices):
    PLANNED = "planned", "waiting"
    STARTED = "started", "being cleared"  # the thread may or may not have been deleted yet
    CLEARED = "cleared", "cleared"
    KEPT = "kept", "kept"
    RESTORED = "restored", "restored"


WAS_CLEARED = (Fate.CLEARED, Fate.RESTORED)


class ClearingQuerySet(models.QuerySet["Clearing"]):
    def newest_first(self) -> Self:
        return self.order_by("-pk")

    def confirmed(self) -> Self:
        return self.exclude(stage=Stage.DRAFT)

    def unclaimed(self) -> Self:
        """Return the clearings that no process is currently working on."""
        return self.filter(Q(busy_until=None) | Q(busy_until__lt=timezone.now()))


class Clearing(models.Model):
    """A request to clear one or more threads: who made it, what it covered and how it went."""

    store = models.TextField()  # identifies the store; see `workspace.identity`
    stage = models.CharField(max_length=20, choices=Stage, default=Stage.DRAFT)
    is_erasing = models.BooleanField(default=False)  # delete the threads without archiving them
    with_running = models.BooleanField(default=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    user_name = models.TextField(blank=True)  # kept even if the account is deleted
    source = models.CharField(max_length=30, choices=Source)
    address = models.TextField(blank=True)  # client's IP address, or the host a command ran on
    reason = models.TextField(blank=True)
    filter = models.TextField(blank=True)  # query string or options that selected the threads
    error = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True)
    busy_until = models.DateTimeField(null=True)  # when the current process's lease expires
    planned = models.PositiveBigIntegerField(default=0)  # threads
    cleared = models.PositiveBigIntegerField(default=0)
    kept = models.PositiveBigIntegerField(default=0)
    tasks = models.PositiveBigIntegerField(default=0)  # deleted rows
    checkpoints = models.PositiveBigIntegerField(default=0)
    size = models.PositiveBigIntegerField(default=0)  # bytes of text deleted

    objects = ClearingQuerySet.as_manager()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        verb = "Erased" if self.is_erasing else "Cleared"
        threads = f"{self.planned:,} thread{'' if self.planned == 1 else 's'}"
        part = "" if self.cleared == self.planned else f"{self.cleared:,} of "
        return f"{verb} {part}{threads}"

    @property
    def processed(self) -> int:
        return self.cleared + self.kept

    @property
    def remaining(self) -> int:
        return self.planned - self.processed

    @property
    def archived_until(self) -> datetime:
        """The earliest time at which this clearing's threads may be deleted from the archive."""
        return self.created_at + settings.ARCHIVE_RETENTION

    @property
    def can_continue(self) -> bool:
        return self.stage in (Stage.RUNNING, Stage.FAILED)


class ClearedThreadQuerySet(models.QuerySet["ClearedThread"]):
    def for_threads(self, thread_ids: Sequence[str]) -> Self:
        return self.filter(key__in=map(digest, thread_ids))

    def restorable(self) -> Self:
        return self.filter(fate=Fate.CLEARED, archive__isnull=False)

    def annotate_has_archive(self) -> Self:
        archive = ThreadArchive.objects.filter(thread=OuterRef("pk"))
        return self.annotate(has_archive=Exists(archive))


class ClearedThread(models.Model):
    """A thread in a clearing, described as it was on confirmation or, once deleted, on deletion."""

    clearing = models.ForeignKey(Clearing, on_delete=models.CASCADE, related_name="threads")
    key = models.CharField(max_length=32)  # digest of the thread id, which may be too long to index
    stored_id = models.BinaryField()  # UTF-8 thread id; binary because it may contain NUL
    title = models.TextField(blank=True)
    status = models.TextField(blank=True)
    was_running = models.BooleanField(default=False)
    fingerprint = models.CharField(max_length=32)
    active = models.TextField(blank=True)  # latest `updated_at` of the thread's tasks, as stored
    tasks = models.PositiveBigIntegerField(default=0)
    checkpoints = models.PositiveBigIntegerField(default=0)
    size = models.PositiveBigIntegerField(null=True)  # bytes; None until measured
    fate = models.CharField(max_length=20, choices=Fate, default=Fate.PLANNED)
    why = models.TextField(blank=True)  # why the thread was kept or could not be restored
    marks = models.BinaryField(default=bytes)  # digests of its tasks; see `ThreadRows.marks`
    cleared_at = models.DateTimeField(null=True)
    restored_at = models.DateTimeField(null=True)

    objects = ClearedThreadQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        indexes = (
            models.Index(fields=("clearing", "fate", "id"), name="idx_cleared_thread_fate"),
            models.Index(fields=("key",), name="idx_cleared_thread_key"),
        )

    def __str__(self) -> str:
        return self.thread_id

    @property
    def thread_id(self) -> str:
        return bytes(self.stored_id).decode()


class ThreadArchive(models.Model):
    """A cleared thread's packed rows, in a separate table to keep ClearedThread cheap to update."""

    thread = models.OneToOneField(ClearedThread, on_delete=models.CASCADE, related_name="archive")
    data = models.BinaryField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.thread)


class Reveal(models.Model):
    """Records that a user revealed a thread's secrets. It is saved before any secret is shown."""

    store = models.TextField()  # identifies the store; see `workspace.identity`
    stored_id = models.BinaryField()  # UTF-8 thread id, as in ClearedThread
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    user_name = models.TextField(blank=True)  # kept even if the account is deleted
    address = models.TextField(blank=True)
    at = models.DateTimeField(default=timezone.now)
    until = models.DateTimeField()  # when secrets are hidden, unless the user hides them earlier
    hidden_at = models.DateTimeField(null=True)  # set if the user hid them early or signed out
    exports = models.PositiveIntegerField(default=0)  # number of exports with secrets visible

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        # PostgreSQL cannot store NUL characters in text
        return f"Secrets of {self.thread_id}".replace("\0", "\ufffd")

    @property
    def is_over(self) -> bool:
        return self.until <= timezone.now()

    @property
    def thread_id(self) -> str:
        return bytes(self.stored_id).decode()


def digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


class LastClearing(NamedTuple):
    clearing_id: int
    cleared_at: datetime


def cleared_ids(store: str, most: int) -> list[str]:
    """Return the ids of the threads that were cleared last, some of which may be restored."""
    threads = ClearedThread.objects.filter(clearing__store=store, fate__in=WAS_CLEARED)
    ids = threads.order_by("-pk").values_list("stored_id", flat=True)[:most]
    return [bytes(id_).decode() for id_ in ids]


def last_clearings(thread_ids: Sequence[str], store: str) -> dict[str, LastClearing]:
    """Return the latest clearing of each thread that has not been restored since it was cleared."""
    threads = ClearedThread.objects.for_threads(thread_ids).filter(
        clearing__store=store, fate__in=WAS_CLEARED
    )
    cleared: dict[str, LastClearing] = {}
    restored: dict[str, datetime] = {}
    fields = ("key", "clearing", "cleared_at", "restored_at")
    for thread in threads.order_by("cleared_at").only(*fields):
        if thread.cleared_at:
            cleared[thread.key] = LastClearing(thread.clearing_id, thread.cleared_at)
        if thread.restored_at:
            latest = restored.get(thread.key, thread.restored_at)
            restored[thread.key] = max(thread.restored_at, latest)
    return {
        id_: cleared[key]
        for id_ in thread_ids
        if (key := digest(id_)) in cleared
        and (key not in restored or restored[key] < cleared[key].cleared_at)
    }
