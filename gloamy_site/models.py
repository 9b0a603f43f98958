"""The model that counts sign-in attempts. Accounts and sessions use Django's built-in models."""

from datetime import timedelta

from django.db import models
from django.db.models import F
from django.utils import timezone


class AttemptQuerySet(models.QuerySet["Attempt"]):
    def count_one(self, key: str, window: timedelta) -> "Attempt":
        """Increment a key's count and return its Attempt. Counts restart after each time window."""
        now = timezone.now()
        self.filter(until__lte=now).delete()
        self.get_or_create(key=key, defaults={"until": now + window})
        self.filter(key=key).update(count=F("count") + 1)
        return self.filter(key=key).first() or Attempt(key=key, count=1, until=now + window)

    def take_back(self, keys: list[str]) -> int:
        return self.filter(key__in=keys, count__gt=0).update(count=F("count") - 1)


class Attempt(models.Model):
    """Counts password attempts for one key. Keys are digests, so they contain no names."""

    key = models.CharField(max_length=64, primary_key=True)
    count = models.PositiveIntegerField(default=0)
    until = models.DateTimeField(db_index=True)

    objects = AttemptQuerySet.as_manager()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.count} until {self.until:%H:%M}"
