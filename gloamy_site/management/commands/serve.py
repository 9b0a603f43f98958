import errno
import multiprocessing
import os
import socket
import sys
import threading
import time
from contextlib import nullcontext, suppress
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS, Error, connections
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import MPServer

from gloamy_site.connections import HEADER_TIMEOUT, most_connections
from gloamy_site.sign_in.links import administrator, sign_in_link
from gloamy_site.worker import load_application
from manage import DEMO_MARKER
from tasks.demo import SimulatedAgent, fill
from tasks.management import base
from tasks.store import workspace
from tasks.views.limits import SERVER_THREADS

LOCAL_HOSTS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - used to connect, not to listen

MAX_HEADER_SIZE = 128 * 1024  # bytes in all headers, including a URL of up to 64 KB


class Command(base.Command):
    help = "Set everything up, print a sign-in link, and run the site."
    requires = ()
    requires_system_checks = ()

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        # Forbid abbreviated options, because manage.py also parses options and would miss them.
        return super().create_parser(prog_name, subcommand, allow_abbrev=False, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        # manage.py also parses some of these options, because the settings depend on them.
        parser.add_argument("--workspace", help="the agent's folder (~/.gloamy/workspace)")
        parser.add_argument("--demo", action="store_true", help="show sample threads instead")
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
        parser.add_argument("--port", type=int, default=8765, help="port to listen on (8765)")
        parser.add_argument(
            "--no-link", action="store_true", help="print no sign-in link, if output is logged"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        host, port = options["host"], options["port"]
        try:
            _check_options(options)
            _check_address(host, port)
            self.stdout.write(_set_up(), ending="")
        except (workspace.WorkspaceError, CommandError) as error:  # migrate raises CommandError
            self.stderr.write(str(error))
            raise SystemExit(1) from None
        if options["demo"]:
            fill()
        self.announce(self.welcome(host, port, with_link=not options["no_link"]), host, port)
        with SimulatedAgent() if options["demo"] else nullcontext():
            _server(host, port).serve(target_loader=partial(load_application, port=port))
        _merge_site_wal()
        self.stdout.write("Stopped.")

    def announce(self, welcome: str, host: str, port: int) -> None:
        """Print the welcome message once the server accepts connections, so that the link works."""
        connections.close_all()

        def wait() -> None:
            while not _is_listening(host, port):
                time.sleep(0.05)
            self.stdout.write(welcome)

        threading.Thread(target=wait, daemon=True).start()

    def welcome(self, host: str, port: int, *, with_link: bool) -> str:
        user = administrator()
        address = settings.SITE_URL or f"http://{_url_host(host)}:{port}"
        manage = f"{_relative_path(sys.executable)} {_relative_path(sys.argv[0])}"
        read_only = "The store is read-only: clearing is off.\n" if settings.TASKS_READ_ONLY else ""
        warning = workspace.warning()
        link = (
            f"Sign in once with this link, within {settings.SESAME_MAX_AGE // 60} minutes:\n\n"
            f"    {sign_in_link(user, address)}\n\n"
            if with_link
            else f"To sign in: {manage} sign_in_link --server {address}\n"
        )
        return (
            f"gloamy tasks shows {workspace.location()} at {address}\n\n"
            f"{link}"
            f"To sign in with a password: {manage} changepassword {user.get_username()}\n"
            f"{read_only}{warning}Press Ctrl-C to stop."
        )


def _merge_site_wal() -> None:
    """Close the site's database as its last user, so that SQLite moves its WAL into the file."""
    site = connections[DEFAULT_DB_ALIAS]
    with suppress(Error):
        site.ensure_connection()
    site.close()


def _relative_path(path: str) -> str:
    """Make a path relative if it is inside the working directory; return others unchanged."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative


def _url_host(host: str) -> str:
    """Return the host to use in URLs that a browser on this machine can open."""
    host = LOCAL_HOSTS.get(host, host)
    return f"[{host}]" if ":" in host else host


def _is_listening(host: str, port: int) -> bool:
    try:
        with socket.create_connection((LOCAL_HOSTS.get(host, host), port), timeout=1):
            return True
    except OSError:
        return False


def _check_options(options: dict[str, Any]) -> None:
    """Raise WorkspaceError if the command's options conflict with the settings."""
    folder = options["workspace"]
    if folder and Path(folder).expanduser().resolve() != settings.WORKSPACE.resolve():
        raise workspace.WorkspaceError(f"Cannot open {folder}: run `manage.py serve` directly.")
    if settings.IS_HTTPS and not settings.TRUSTED_PROXY:
        raise workspace.WorkspaceError(
            "SITE_URL uses https, which requires a proxy: set TRUSTED_PROXY to its address, such as"
            " 127.0.0.1."
        )
    if options["demo"] and not (settings.WORKSPACE / DEMO_MARKER).exists():
        raise workspace.WorkspaceError(
            f"{settings.WORKSPACE} is not a demo: --demo needs a folder that does not exist yet."
        )


def _set_up() -> str:
    """Check and migrate both databases, and return the warnings as text.

    Raises WorkspaceError if the store is unusable. If it is read-only, `welcome` says so instead.
    """
    workspace.prepare()
    workspace.check_databases()
    warnings = StringIO()
    call_command("migrate", verbosity=0, interactive=False, stderr=warnings)
    call_command("clearsessions")
    workspace.check_store()
    return "" if settings.TASKS_READ_ONLY else warnings.getvalue()


def _check_address(host: str, port: int) -> None:
    """Raise WorkspaceError unless the server can listen on this host and port."""
    if not host:
        raise workspace.WorkspaceError("--host must be an address.")
    if not 0 < port < 65_536:
        raise workspace.WorkspaceError(f"{port} is not a port; choose one from 1 to 65535.")
    try:
        [(family, kind, *_, address), *_] = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        hint = " Choose another with --port." if error.errno == errno.EADDRINUSE else ""
        raise workspace.WorkspaceError(
            f"Cannot listen on {host} port {port}: {error.strerror}.{hint}"
        ) from error


def _server(host: str, port: int) -> MPServer:
    # A forked worker could inherit a lock that the demo agent's thread is holding.
    multiprocessing.set_start_method("spawn")
    server = MPServer(
        "gloamy_site.wsgi:application",
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        backpressure=most_connections(),
        http1_settings=HTTP1Settings(
            header_read_timeout=HEADER_TIMEOUT * 1_000, max_buffer_size=MAX_HEADER_SIZE
        ),
        blocking_threads=SERVER_THREADS,
        log_level=LogLevels.error,
        respawn_failed_workers=True,
        workers_kill_timeout=5,  # seconds that requests have to finish after Ctrl-C
        working_dir=Path(settings.BASE_DIR),
    )
    # Stop the server on SIGHUP, sent when a terminal closes. By default, granian would reload.
    server.signal_handler_reload = server.signal_handler_interrupt  # type: ignore[method-assign]
    return server
