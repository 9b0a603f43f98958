"""Routes models to databases. Only this module and the settings name the databases."""

from typing import Any

from django.db import DEFAULT_DB_ALIAS

STORE = "tasks"
INDEX, INDEX_APP = "index", "task_index"
STORE_MODELS = {"taskrecord", "taskcheckpoint"}


class TaskStoreRouter:
    """Put the store's two tables in the agent's database, and the index of them in its own.

    Everything else is in the site's database.
    """

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        if model._meta.app_label == INDEX_APP:
            return INDEX
        return STORE if self._is_store(model._meta.app_label, model._meta.model_name) else None

    db_for_write = db_for_read

    def allow_migrate(
        self, db: str, app_label: str, model_name: str | None = None, **hints: Any
    ) -> bool:
        if db == INDEX or app_label == INDEX_APP:
            return db == INDEX and app_label == INDEX_APP
        return self._is_store(app_label, model_name) == (db != DEFAULT_DB_ALIAS)

    def _is_store(self, app_label: str, model_name: str | None) -> bool:
        return app_label == "tasks" and model_name in STORE_MODELS
