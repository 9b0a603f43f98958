from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser
from django.core.management.commands import migrate
from django.db import DEFAULT_DB_ALIAS, connections, router

from tasks.management import base
from tasks.models import TaskRecord
from tasks.store import own_index, workspace

LATER = (
    "The store's index was not created, because another program has the store open and would be"
    " blocked. Stop the agents and run `manage.py migrate`. Until then, lists of a large store load"
    " more slowly while agents write."
)


class Command(base.Command, migrate.Command):
    help = "Migrate both databases: the site's own and the agent's task store."
    requires = ()

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.set_defaults(database=None)

    def get_check_kwargs(self, options: dict[str, Any]) -> Any:
        return super().get_check_kwargs(
            options | {"database": options["database"] or DEFAULT_DB_ALIAS}
        )

    def handle(self, *args: Any, **options: Any) -> None:
        for target in self.targets(options):
            alias = target["database"]
            with workspace.migrating(connections[alias]), _ignore_orphans(alias):
                super().handle(*args, **options | target)
                is_dry_run = options["plan"] or options["check_unapplied"]
                if not is_dry_run and _has_store(alias) and not own_index.settle(alias):
                    self.stderr.write(LATER)

    def targets(self, options: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the options for each database to migrate; the store needs only the `tasks` app."""
        workspace.prepare(options["database"])
        if options["database"]:
            return [{"database": options["database"]}]
        workspace.check_databases()
        targets = [{"database": DEFAULT_DB_ALIAS}]
        if settings.TASKS_READ_ONLY:
            self.stderr.write("The store is read-only and was not migrated.")
        elif options["app_label"] in (None, "tasks"):
            store = workspace.store_connection().alias
            targets.append({"database": store, "app_label": "tasks"})
        return targets


def _has_store(alias: str) -> bool:
    """Return whether the database has the store's tables, as after a migration of `tasks`."""
    if not router.allow_migrate_model(alias, TaskRecord):
        return False
    return TaskRecord._meta.db_table in connections[alias].introspection.table_names()


@contextmanager
def _ignore_orphans(alias: str) -> Iterator[None]:
    """Let migrations succeed despite checkpoints whose task was deleted by hand.

    Otherwise, Django's foreign key check would make every migration of the SQLite file fail.
    """
    connection = connections[alias]
    connection.check_constraints = lambda table_names=None: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        del connection.check_constraints
