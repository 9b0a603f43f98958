from django.apps import AppConfig


class TasksConfig(AppConfig):
    name = "tasks"
    verbose_name = "Task store"

    def ready(self) -> None:
        from django.db.backends.signals import connection_created

        from tasks.fields import support_datetime_functions
        from tasks.sql import add_functions

        support_datetime_functions()
        connection_created.connect(add_functions)
