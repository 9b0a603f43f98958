"""The base classes of the commands: what they check before they start, and how they fail."""

from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser, SystemCheckError
from django.db import Error, connections

from tasks.escaping import one_line, reason
from tasks.store import workspace


class Command(BaseCommand):
    """A command that fails with one sentence and a non-zero status, whatever the reason.

    It checks the databases that it `requires` first, and creates none of them.
    """

    requires: tuple[Callable[[], None], ...] = (workspace.require_site, workspace.require_store)

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        report = parser.error  # its message may repeat arguments, such as the id of a thread
        parser.error = lambda message: report(one_line(message))  # type: ignore[method-assign]
        return parser

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            for require in self.requires:
                require()
            return super().execute(*args, **options)
        except SystemCheckError:  # Django's own, in several lines
            raise
        except CommandError as error:
            raise CommandError(one_line(error), returncode=error.returncode) from error
        except workspace.WorkspaceError as error:
            raise CommandError(one_line(error)) from error
        except Error as error:
            raise CommandError(f"Interrupted: {reason(error)}.") from error


class NeverOnStore(BaseCommand):
    """A command of Django's that would empty the agent's store, or write over its rows."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        is_of_tests = "inhibit_post_migrate" in options  # Django's test runner flushes databases
        if connections[options["database"]] is workspace.store_connection() and not is_of_tests:
            raise CommandError(
                "This command would change the agent's threads, and they could not be restored."
                " Use clear_threads, restore_threads, export_threads or import_threads."
            )
        return super().execute(*args, **options)
