"""The Django project, and `connect` for programs that use the store without the site."""

import os
from pathlib import Path

import django
from django import conf


def connect(workspace: str | Path | None = None, *, database_url: str | None = None) -> None:
    """Set up Django so that a standalone program, such as an agent, can import from `tasks`.

    Call it once, before importing from `tasks`. The store is at the database URL or in the
    workspace, which must exist; only the default, `~/.gloamy/workspace`, is created. A new store
    gets its tables. The site's own database is not opened.

    Raises ImproperlyConfigured for an invalid workspace or URL, and
    tasks.store.workspace.WorkspaceError if there is no usable store.
    """
    if conf.settings.configured:
        raise RuntimeError("Django is set up already; this comes before anything else of it.")
    if workspace is not None:
        os.environ["GLOAMY_WORKSPACE"] = str(workspace)
    if workspace is not None or database_url is not None:
        os.environ["TASKS_DATABASE_URL"] = database_url or ""
    os.environ["DJANGO_SETTINGS_MODULE"] = "gloamy_site.settings"
    django.setup()

    from tasks.store.workspace import (  # noqa: PLC0415 - imports the models
        forbid_creating_store,
        open_store,
    )

    open_store()
    forbid_creating_store()
