from django.apps import AppConfig


class IndexConfig(AppConfig):
    name = "tasks.index"
    label = "task_index"
    verbose_name = "Index of the task store"
