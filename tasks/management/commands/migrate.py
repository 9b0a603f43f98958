from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.core.management.commands import migrate
from django.db import DEFAULT_DB_ALIAS

from tasks import workspace


class Command(migrate.Command):
    help = "Bring both databases up to date: the site's own, and the agent's task store."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.set_defaults(database=None)

    def get_check_kwargs(self, options: dict[str, Any]) -> dict[str, Any]:
        return super().get_check_kwargs(
            options | {"database": options["database"] or DEFAULT_DB_ALIAS}
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["database"]:
            return super().handle(*args, **options)
        try:
            workspace.prepare()
        except workspace.WorkspaceError as error:
            raise CommandError(str(error)) from error
        super().handle(*args, **options | {"database": DEFAULT_DB_ALIAS})
        if options["app_label"] in (None, "tasks"):
            store = workspace.store_connection().alias
            super().handle(*args, **options | {"database": store, "app_label": "tasks"})
