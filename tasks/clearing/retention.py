"""What is not kept for ever: archived threads, and clearings that were never confirmed."""

from datetime import timedelta

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS
from django.db.models import QuerySet
from django.utils import timezone

from archive.models import Clearing, Fate, Stage, ThreadArchive
from tasks.store import transactions

DRAFTS_KEPT = timedelta(days=1)


def forget_drafts() -> None:
    old = timezone.now() - DRAFTS_KEPT
    Clearing.objects.filter(stage=Stage.DRAFT, created_at__lt=old).delete()


def empty_archive(
    older_than: timedelta | None = None, acts: "QuerySet[Clearing] | None" = None
) -> int:
    """Forget the rows of threads cleared longer ago; how many. What is known of them stays."""
    age = settings.ARCHIVE_RETENTION if older_than is None else older_than
    old = ThreadArchive.objects.filter(thread__cleared_at__lte=timezone.now() - age)
    old = old.filter(thread__fate=Fate.CLEARED)
    if acts is not None:
        old = old.filter(thread__clearing__in=acts)
    with transactions.secure_delete(DEFAULT_DB_ALIAS, enabled=True):
        count, _ = old.delete()
    return count
