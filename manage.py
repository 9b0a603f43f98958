#!/usr/bin/env python
"""Django's command line for the task browser."""

import argparse
import os
import sys
from pathlib import Path


def environment_from(arguments: list[str]) -> dict[str, str]:
    """What `serve` says of the workspace: it has to be known before the settings are read."""
    if arguments[:1] != ["serve"]:
        return {}
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--workspace")
    parser.add_argument("--demo", action="store_true")
    options, _ = parser.parse_known_args(arguments[1:])
    if options.demo:
        folder = Path(options.workspace or Path(__file__).resolve().parent / "demo")
        folder.mkdir(parents=True, exist_ok=True)
        return {"GLOAMY_WORKSPACE": str(folder), "TASKS_DATABASE_URL": ""}
    if options.workspace:
        return {"GLOAMY_WORKSPACE": options.workspace, "TASKS_DATABASE_URL": ""}
    return {}


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gloamy_site.settings")
    os.environ.update(environment_from(sys.argv[1:]))
    try:
        from django.conf import settings
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line
    except ImportError as error:
        sys.exit(f"{error}. Install what it needs: pip install -r requirements.txt")
    try:
        bool(settings.DATABASES)  # reads the settings
    except ImproperlyConfigured as error:
        sys.exit(str(error))
    try:
        execute_from_command_line(sys.argv)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
