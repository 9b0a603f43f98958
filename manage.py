#!/usr/bin/env python
"""Django's command line for the task browser."""

import argparse
import os
import sys
from pathlib import Path

DEMO_MARKER = "made-by-demo"  # a file that marks a workspace as a demo


def serve_environment(arguments: list[str]) -> dict[str, str]:
    """Convert the options of `serve` to environment variables, which the settings then read."""
    if arguments[:1] != ["serve"]:
        return {}
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--workspace")
    parser.add_argument("--demo", action="store_true")
    parser.add_argument("--host")
    options, _ = parser.parse_known_args(arguments[1:])
    return _allowed_hosts(options.host) | _workspace(options)


def _allowed_hosts(host: str | None) -> dict[str, str]:
    if not host or host in ("0.0.0.0", "::"):  # noqa: S104 - wildcard addresses are not host names
        return {}
    name = f"[{host}]" if ":" in host else host
    return {"ALLOWED_HOSTS": ",".join(filter(None, (os.environ.get("ALLOWED_HOSTS"), name)))}


def _workspace(options: argparse.Namespace) -> dict[str, str]:
    if options.demo:
        folder = Path(options.workspace or Path(__file__).resolve().parent / "demo").expanduser()
        if not folder.exists():
            _create_demo_folder(folder)
        heartbeat = str(folder / "daemon_state.json")  # beside it, there may be another agent's
        own = {"GLOAMY_WORKSPACE": str(folder), "GLOAMY_HEARTBEAT": heartbeat}
        return own | {"TASKS_DATABASE_URL": ""}
    if options.workspace:
        return {"GLOAMY_WORKSPACE": options.workspace, "TASKS_DATABASE_URL": ""}
    return {}


def _create_demo_folder(folder: Path) -> None:
    """Create a demo folder with a marker file, without which --demo refuses to use the folder."""
    try:
        folder.mkdir(parents=True)
        (folder / DEMO_MARKER).touch()
    except OSError as error:
        sys.exit(f"{folder} cannot be created: {error.strerror}.")


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gloamy_site.settings")
    os.environ.update(serve_environment(sys.argv[1:]))
    try:
        from django.conf import settings  # noqa: PLC0415 - Django may not be installed
        from django.core.exceptions import ImproperlyConfigured  # noqa: PLC0415 - needs Django
        from django.core.management import execute_from_command_line  # noqa: PLC0415 - needs Django
        from django.db import DatabaseError  # noqa: PLC0415 - needs Django
    except ImportError as error:
        sys.exit(f"{error}. Install the dependencies: pip install -r requirements.txt")
    try:
        bool(settings.DATABASES)  # loads the settings, which may be invalid
    except ImproperlyConfigured as error:
        sys.exit(str(error))
    try:
        execute_from_command_line(sys.argv)
    except KeyboardInterrupt:
        sys.exit(130)
    except DatabaseError as error:  # in a command of Django's own
        from tasks.escaping import reason  # noqa: PLC0415 - manage.py itself needs no Django

        if "--traceback" in sys.argv:
            raise
        sys.exit(f"{reason(error)}. Is the database set up? If not, run `manage.py migrate`.")


if __name__ == "__main__":
    main()
