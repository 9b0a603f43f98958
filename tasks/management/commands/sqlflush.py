from django.core.management.commands import sqlflush

from tasks.management.base import NeverOnStore


class Command(NeverOnStore, sqlflush.Command):
    """Django's `sqlflush`, which would spoil the agent's store."""
