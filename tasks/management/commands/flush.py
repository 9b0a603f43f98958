from django.core.management.commands import flush

from tasks.management.base import NeverOnStore


class Command(NeverOnStore, flush.Command):
    """Django's `flush`, which would spoil the agent's store."""
