from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser
from django.core.management.commands import migrate
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor

from tasks.engines import engine
from tasks.management import base
from tasks.store import workspace
from tasks.store.daemon import daemon

LARGE_STORE = 1 << 30  # bytes; indexing a gigabyte takes one to two seconds


class Command(base.Command, migrate.Command):
    help = "Bring both databases up to date: the site's own, and the agent's task store."
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

    def targets(self, options: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the options for each database to migrate; the store needs only the `tasks` app."""
        workspace.prepare(options["database"])
        if options["database"]:
            return [{"database": options["database"]}]
        workspace.check_databases()
        targets = [{"database": DEFAULT_DB_ALIAS}]
        if settings.TASKS_READ_ONLY:
            self.stderr.write("The store is read-only, and left as it is.")
        elif options["app_label"] in (None, "tasks") and _must_wait(workspace.store_connection()):
            self.stderr.write(
                "The store is large and its daemon is alive: its indexes are left for later. Stop"
                " the daemon, and run `manage.py migrate`; until then, the list is slower."
            )
        elif options["app_label"] in (None, "tasks"):
            store = workspace.store_connection().alias
            targets.append({"database": store, "app_label": "tasks"})
        return targets


def _must_wait(connection: BaseDatabaseWrapper) -> bool:
    """Return whether creating indexes could lock out a live daemon for too long."""
    if not engine(connection).is_file or daemon().state != "alive":
        return False
    file = workspace.store_file()
    if not file.exists() or file.stat().st_size < LARGE_STORE:
        return False
    with workspace.migrating(connection):
        executor = MigrationExecutor(connection)
        return bool(executor.migration_plan(executor.loader.graph.leaf_nodes("tasks")))


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
