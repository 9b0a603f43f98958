import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser
from django.db import DEFAULT_DB_ALIAS, connections
from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels

from tasks import workspace
from tasks.accounts import administrator, sign_in_link

if TYPE_CHECKING:
    from tasks.demo import SimulatedAgent

LOCAL_HOSTS = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - for a link, not to listen on


class Command(BaseCommand):
    help = "Set everything up, print a sign-in link, and run the task browser."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        # manage.py has read these two already: they decide the settings.
        parser.add_argument("--workspace", help="folder of the agent (~/.gloamy/workspace)")
        parser.add_argument("--demo", action="store_true", help="open made-up threads instead")
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
        parser.add_argument("--port", type=int, default=8765, help="port to listen on (8765)")

    def handle(self, *args: Any, **options: Any) -> None:
        host, port = options["host"], options["port"]
        try:
            check_address(host, port)
            set_up()
        except workspace.WorkspaceError as error:
            self.stderr.write(str(error))
            raise SystemExit(1) from None
        agent = self.start_demo() if options["demo"] else None
        self.welcome(host, port)
        connections.close_all()
        try:
            server(host, port).serve()
        finally:
            if agent:
                agent.stop()
        self.stdout.write("Stopped.")

    def start_demo(self) -> "SimulatedAgent":
        from tasks import demo

        demo.fill()
        agent = demo.SimulatedAgent()
        agent.start()
        return agent

    def welcome(self, host: str, port: int) -> None:
        user = administrator()
        name = LOCAL_HOSTS.get(host, f"[{host}]" if ":" in host else host)
        address = f"http://{name}:{port}"
        self.stdout.write(
            f"gloamy tasks shows {workspace.location()} at {address}\n\n"
            f"Sign in once with this link, within {settings.SESAME_MAX_AGE // 60} minutes:\n\n"
            f"    {sign_in_link(user, address)}\n\n"
            f"To sign in with a password: python manage.py changepassword {user.get_username()}\n"
        )
        if settings.TASKS_READ_ONLY:
            self.stdout.write("The store is read-only: clearing is off.\n")
        self.stdout.write("Ctrl-C stops the server.")


def set_up() -> None:
    """Bring both databases up to date. Raises WorkspaceError where the store cannot be used."""
    workspace.prepare()
    workspace.check_file()
    alias = DEFAULT_DB_ALIAS if settings.TASKS_READ_ONLY else None
    call_command("migrate", database=alias, verbosity=0, interactive=False)
    workspace.check_store()


def check_address(host: str, port: int) -> None:
    """Raise WorkspaceError unless a server can listen there."""
    try:
        family, kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise workspace.WorkspaceError(
            f"Cannot listen on {host} port {port}: {reason}. Choose another with --port."
        ) from error


def server(host: str, port: int) -> Granian:
    return Granian(
        "gloamy_site.wsgi:application",
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        blocking_threads=4,
        log_level=LogLevels.warning,
        working_dir=Path(settings.BASE_DIR),
    )
