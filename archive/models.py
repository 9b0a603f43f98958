"""What was cleared, by whom, and the cleared threads themselves for as long as they are kept.

And who saw the secrets of which thread. All of it is in the site's own database. A clearing is
written down before anything is deleted, and what came of it afterwards; it stays when the archive
of its threads is emptied.
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
    PAGE = "cleared page", "the page of what was cleared"
    ADMIN = "admin", "the admin"
    COMMAND = "command", "the command line"
    CODE = "code", "a program"


class Stage(models.TextChoices):
    """How far a clearing is."""

    DRAFT = "draft", "not confirmed"
    RUNNING = "running", "under way"
    DONE = "done", "done"
    CANCELLED = "cancelled", "cancelled"
    FAILED = "failed", "broken off"


class Fate(models.TextChoices):
    """What became of one thread of a clearing."""

    PLANNED = "planned", "waiting"
    STARTED = "started", "being cleared"  # the intent: it may be deleted or not
    CLEARED = "cleared", "cleared"
    KEPT = "kept", "kept"
    RESTORED = "restored", "restored"


WAS_CLEARED = (Fate.CLEARED, Fate.RESTORED)


class ClearingQuerySet(models.QuerySet["Clearing"]):
    def newest_first(self) -> Self:
        return self.order_by("-pk")

    def confirmed(self) -> Self:
        return self.exclude(stage=Stage.DRAFT)

    def free(self) -> Self:
        """Those that no process works on at the moment."""
        return self.filter(Q(busy_until=None) | Q(busy_until__lt=timezone.now()))


class Clearing(models.Model):
    """One act of clearing: what somebody meant to clear, and what came of it."""

    store = models.TextField()  # where the threads were
    stage = models.CharField(max_length=20, choices=Stage, default=Stage.DRAFT)
    is_erasing = models.BooleanField(default=False)  # without an archive
    with_running = models.BooleanField(default=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    user_name = models.TextField(blank=True)  # which stays when the account is gone
    source = models.CharField(max_length=30, choices=Source)
    address = models.TextField(blank=True)  # the network's, or the host that a command ran on
    reason = models.TextField(blank=True)
    filter = models.TextField(blank=True)  # what was asked for, as the list's address has it
    error = models.TextField(blank=True)  # why it was broken off
    created_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True)
    busy_until = models.DateTimeField(null=True)  # the process that works on it has it until then
    planned = models.PositiveBigIntegerField(default=0)  # threads
    cleared = models.PositiveBigIntegerField(default=0)
    kept = models.PositiveBigIntegerField(default=0)
    tasks = models.PositiveBigIntegerField(default=0)  # deleted rows, and the bytes of their texts
    checkpoints = models.PositiveBigIntegerField(default=0)
    size = models.PositiveBigIntegerField(default=0)

    objects = ClearingQuerySet.as_manager()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        verb = "Erased" if self.is_erasing else "Cleared"
        threads = f"{self.planned:,} thread{'' if self.planned == 1 else 's'}"
        return (
            f"{verb} {threads if self.left + self.kept == 0 else f'{self.cleared:,} of {threads}'}"
        )

    @property
    def left(self) -> int:
        return self.planned - self.done

    @property
    def done(self) -> int:
        return self.cleared + self.kept

    @property
    def archived_until(self) -> datetime | None:
        """When the first of its threads leave the archive."""
        return self.created_at + settings.ARCHIVE_RETENTION if self.created_at else None

    @property
    def may_go_on(self) -> bool:
        return self.stage in (Stage.RUNNING, Stage.FAILED)


class ClearedThreadQuerySet(models.QuerySet["ClearedThread"]):
    def of(self, thread_ids: Sequence[str]) -> Self:
        return self.filter(key__in=map(key_of, thread_ids))

    def with_archive(self) -> Self:
        """Those that can be restored."""
        return self.filter(fate=Fate.CLEARED, archive__isnull=False)

    def marked_if_archived(self) -> Self:
        kept = ThreadArchive.objects.filter(thread=OuterRef("pk"))
        return self.annotate(has_archive=Exists(kept))


class ClearedThread(models.Model):
    """One thread of a clearing, with what was known of it when it was confirmed or deleted."""

    clearing = models.ForeignKey(Clearing, on_delete=models.CASCADE, related_name="threads")
    key = models.CharField(max_length=32)  # an id may be too long for an index
    stored_id = models.BinaryField()  # it may hold what a database's texts cannot
    title = models.TextField(blank=True)
    status = models.TextField(blank=True)
    was_running = models.BooleanField(default=False)
    fingerprint = models.CharField(max_length=32)
    active = models.TextField(blank=True)  # its latest `updated_at`, as stored
    tasks = models.PositiveBigIntegerField(default=0)
    checkpoints = models.PositiveBigIntegerField(default=0)
    size = models.PositiveBigIntegerField(null=True)  # bytes; known when it is read
    fate = models.CharField(max_length=20, choices=Fate, default=Fate.PLANNED)
    why = models.TextField(blank=True)  # it was kept
    marks = models.BinaryField(default=bytes)  # of its rows: whether they are still there
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
    """The rows of a cleared thread, packed; apart, so that its fate is a small write."""

    thread = models.OneToOneField(ClearedThread, on_delete=models.CASCADE, related_name="archive")
    data = models.BinaryField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.thread)


class Reveal(models.Model):
    """That somebody saw a thread with its secrets; written before any is shown."""

    store = models.TextField()  # where the thread was
    stored_id = models.BinaryField()  # as a cleared thread has it
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    user_name = models.TextField(blank=True)  # which stays when the account is gone
    address = models.TextField(blank=True)
    at = models.DateTimeField(default=timezone.now)
    until = models.DateTimeField()  # the latest that they were shown
    hidden_at = models.DateTimeField(null=True)  # by hand or by signing out, before that
    exports = models.PositiveIntegerField(default=0)  # files that were taken meanwhile

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"Secrets of {self.thread_id}".replace("\0", "\ufffd")  # no text holds a NUL

    @property
    def is_over(self) -> bool:
        return self.until <= timezone.now()

    @property
    def thread_id(self) -> str:
        return bytes(self.stored_id).decode()


def key_of(thread_id: str) -> str:
    return hashlib.blake2b(thread_id.encode(), digest_size=16).hexdigest()


class CameBack(NamedTuple):
    """That a thread which is there was cleared: by which act, and when."""

    clearing_id: int
    cleared_at: datetime


def cleared_before(thread_ids: Sequence[str], store: str) -> dict[str, CameBack]:
    """Of threads that are there, those that were cleared and not restored since; one query."""
    of_store = ClearedThread.objects.of(thread_ids).filter(clearing__store=store)
    rows = of_store.filter(fate__in=WAS_CLEARED).order_by("cleared_at")
    cleared: dict[str, CameBack] = {}
    restored: dict[str, datetime] = {}
    for row in rows.only("key", "clearing", "cleared_at", "restored_at"):
        if row.cleared_at:
            cleared[row.key] = CameBack(row.clearing_id, row.cleared_at)
        if row.restored_at:
            restored[row.key] = max(row.restored_at, restored.get(row.key, row.restored_at))
    return {
        id_: cleared[key]
        for id_ in thread_ids
        if (key := key_of(id_)) in cleared
        and (key not in restored or restored[key] < cleared[key].cleared_at)
    }
