"""Keeps only one index of ours. `tasks.store.own_index` makes it, and drops the others."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("tasks", "0002_list_indexes")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RemoveIndex("taskrecord", f"idx_task_records_{name}")
                for name in ("status", "created", "steps")
            ],
        ),
    ]
