"""Adds indexes for the thread list's other sort orders and its status filter."""

from django.db import migrations, models

INDEXES = """
CREATE INDEX IF NOT EXISTS idx_task_records_status
    ON task_records(status, updated_at DESC, task_id DESC);
CREATE INDEX IF NOT EXISTS idx_task_records_created
    ON task_records(created_at DESC, task_id DESC);
CREATE INDEX IF NOT EXISTS idx_task_records_steps
    ON task_records(checkpoint_count DESC, task_id DESC);
"""


def create_indexes(apps, schema_editor):
    for statement in INDEXES.split(";"):
        if statement.strip():
            schema_editor.execute(statement)


def drop_indexes(apps, schema_editor):
    for name in ("status", "created", "steps"):
        schema_editor.execute(f"DROP INDEX IF EXISTS idx_task_records_{name}")


def _descending(*names):
    return [models.OrderBy(models.F(name), descending=True) for name in names]


class Migration(migrations.Migration):
    atomic = False  # commits after each index, since agents wait only 5 seconds for the lock

    dependencies = [("tasks", "0001_initial")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunPython(
                    create_indexes, drop_indexes, hints={"model_name": "taskrecord"}
                ),
            ],
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
