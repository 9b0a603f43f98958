"""Recorded more indexes for the thread list, which are no longer created: 0003 removes them."""

from django.db import migrations, models


def _descending(*names):
    return [models.OrderBy(models.F(name), descending=True) for name in names]


class Migration(migrations.Migration):
    dependencies = [("tasks", "0001_initial")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AddIndex(
                    "taskrecord",
                    models.Index(
                        models.F("status"),
                        *_descending("updated_at", "task_id"),
                        name="idx_task_records_status",
                    ),
                ),
                migrations.AddIndex(
                    "taskrecord",
                    models.Index(
                        *_descending("created_at", "task_id"), name="idx_task_records_created"
                    ),
                ),
                migrations.AddIndex(
                    "taskrecord",
                    models.Index(
                        *_descending("checkpoint_count", "task_id"), name="idx_task_records_steps"
                    ),
                ),
            ],
        ),
    ]
