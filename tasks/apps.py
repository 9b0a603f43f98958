from django.apps import AppConfig


class TasksConfig(AppConfig):
    name = "tasks"
    verbose_name = "Task store"

    def ready(self) -> None:
        from django.contrib.auth.signals import user_logged_out
        from django.db.backends.signals import connection_created

        from tasks.fields import support_datetime_functions
        from tasks.reveal import end_at_sign_out
        from tasks.store.hostile import harden
        from tasks.store.opened import remember
        from tasks.store.sql import add_functions
        from tasks.store.workspace import bound_waits

        support_datetime_functions()
        for receiver in (harden, remember, bound_waits, add_functions):
            connection_created.connect(receiver)
        user_logged_out.connect(end_at_sign_out)
