"""The Django project. Programs that use the store without the site call `connect` first."""

import os
from pathlib import Path

import django
from django import conf
from django.core.exceptions import ImproperlyConfigured


def connect(workspace: str | Path | None = None, *, database_url: str | None = None) -> None:
    """Set up Django so that a standalone program, such as an agent, can import from `tasks`.

    Call `connect` once, before importing from `tasks`. It opens the store at the database URL or in
    the workspace folder and creates missing tables. The folder must exist, except for the default,
    `~/.gloamy/workspace`, which is created. The site's database is not opened.

    Raises ImproperlyConfigured for an invalid workspace or URL, and
    tasks.store.workspace.WorkspaceError if there is no usable store.
    """
    if conf.settings.configured:
        raise RuntimeError(
            "Django is already set up; call this before using anything else of Django."
        )
    if workspace is not None and not Path(workspace).expanduser().is_dir():
        raise ImproperlyConfigured(f"There is no workspace folder {workspace}.")
    if workspace is not None:
        os.environ["GLOAMY_WORKSPACE"] = str(workspace)
    if workspace is not None or database_url is not None:
        os.environ["TASKS_DATABASE_URL"] = database_url or ""
    os.environ["DJANGO_SETTINGS_MODULE"] = "gloamy_site.settings"
    try:
        django.setup()
    except ImproperlyConfigured as error:
        raise error.with_traceback(None) from None  # which is of no use to an agent's author

    from tasks.store.workspace import open_store  # noqa: PLC0415 - needs Django to be set up

    open_store()
