from django.apps import AppConfig


class TasksConfig(AppConfig):
    name = "tasks"
    verbose_name = "Task store"

    def ready(self) -> None:
        from django.db.backends.signals import connection_created

        from tasks.fields import support_datetime_functions
        from tasks.opened import remember
        from tasks.workspace import bound_waits

        support_datetime_functions()
        connection_created.connect(remember)
        connection_created.connect(bound_waits)
