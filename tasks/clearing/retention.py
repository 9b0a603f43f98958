"""Delete archived threads and unconfirmed clearings that have been kept long enough."""

from datetime import timedelta

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS
from django.db.models import QuerySet
from django.utils import timezone

from archive.models import Clearing, Fate, Stage, ThreadArchive
from tasks.store import transactions

DRAFT_AGE = timedelta(days=1)


def delete_old_drafts() -> None:
    before = timezone.now() - DRAFT_AGE
    Clearing.objects.filter(stage=Stage.DRAFT, created_at__lt=before).delete()


def empty_archive(
    older_than: timedelta | None = None, clearings: "QuerySet[Clearing] | None" = None
) -> int:
    """Delete expired archives but keep their records. Return how many archives were deleted."""
    age = settings.ARCHIVE_RETENTION if older_than is None else older_than
    old = ThreadArchive.objects.filter(
        thread__cleared_at__lte=timezone.now() - age, thread__fate=Fate.CLEARED
    )
    if clearings is not None:
        old = old.filter(thread__clearing__in=clearings)
    with transactions.secure_delete(DEFAULT_DB_ALIAS, enabled=True):
        count, _ = old.delete()
    return count
