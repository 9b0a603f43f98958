"""The site: its settings, its addresses, and the way in for programs that have no site."""

import os
from pathlib import Path

import django
from django import conf


def connect(workspace: str | Path | None = None, *, database_url: str | None = None) -> None:
    """Make `tasks.service` and `tasks.models` usable in a program of its own, such as an agent.

    Call it once, before importing from `tasks`. The store is that of the workspace (a folder that
    exists; `~/.gloamy/workspace` by default, which is made), or the one at the database URL. Its
    tables are made if it is new. Nothing else is opened: accounts are the browser's matter.

    Raises ImproperlyConfigured for a workspace or a URL that cannot be used, and
    tasks.store.workspace.WorkspaceError for what is there and is no store.
    """
    if conf.settings.configured:
        raise RuntimeError("Django is set up already; this comes before anything else of it.")
    if workspace is not None:
        os.environ["GLOAMY_WORKSPACE"] = str(workspace)
    if workspace is not None or database_url is not None:
        os.environ["TASKS_DATABASE_URL"] = database_url or ""
    os.environ["DJANGO_SETTINGS_MODULE"] = "gloamy_site.settings"
    django.setup()

    from tasks.store.workspace import (  # noqa: PLC0415 - needs the models
        never_create_store,
        open_store,
    )

    open_store()
    never_create_store()
