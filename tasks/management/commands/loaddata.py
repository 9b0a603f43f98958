from django.core.management.commands import loaddata

from tasks.management.base import NeverOnStore


class Command(NeverOnStore, loaddata.Command):
    """Django's `loaddata`, which would spoil the agent's store."""
