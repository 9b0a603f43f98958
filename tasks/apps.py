from django.apps import AppConfig


class TasksConfig(AppConfig):
    name = "tasks"
    verbose_name = "Task store"

    def ready(self) -> None:
        from tasks.fields import support_datetime_functions

        support_datetime_functions()
