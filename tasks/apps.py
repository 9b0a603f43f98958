from django.apps import AppConfig
from django.contrib.auth.signals import user_logged_out
from django.db.backends.signals import connection_created

from tasks.fields import support_datetime_functions


class TasksConfig(AppConfig):
    name = "tasks"
    verbose_name = "Task store"

    def ready(self) -> None:
        from tasks.secrets.reveal import end_at_sign_out  # noqa: PLC0415 - needs the loaded models
        from tasks.store import (  # noqa: PLC0415 - needs the loaded models
            file_identity,
            untrusted,
            workspace,
        )

        support_datetime_functions()
        for receiver in (
            untrusted.harden,
            file_identity.record_file,
            workspace.prepare_server,
        ):
            connection_created.connect(receiver)
        user_logged_out.connect(end_at_sign_out)
