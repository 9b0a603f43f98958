from django.db import migrations, models

_COLUMNS = ("channel", "provider", "model", "status")
_NAMES = ", ".join(_COLUMNS)
_PLACES = 2**36


def _count(row, change):
    values = ", ".join(f"{row}.{column}" for column in _COLUMNS)
    return (
        f"INSERT INTO task_index_statuscount ({_NAMES}, n)"
        f" SELECT {values}, {change} WHERE {row}.is_latest"
        f" ON CONFLICT ({_NAMES}) DO UPDATE SET n = n + excluded.n;"
    )


_EQUAL = " AND ".join(f"{column} = NEW.{column}" for column in _COLUMNS)
_KIND = f"(SELECT id FROM task_index_statuscount WHERE {_EQUAL})"


def _of_task(row):
    return f"WHERE id BETWEEN {row}.id * {_PLACES} AND ({row}.id + 1) * {_PLACES} - 1"


_TIME = "updated_at = CASE WHEN NEW.is_latest THEN NEW.updated_at END"
_UPDATE = f"UPDATE task_index_failure SET {_TIME}"


def _trigger(name, event, *changes, table="indexedtask"):
    body = " ".join(changes)
    return f"CREATE TRIGGER {name} AFTER {event} ON task_index_{table} BEGIN {body} END"


# Failures have what lists filter by of their tasks. A kind is counted before it is looked up.
_TRIGGERS = [
    "DROP TRIGGER index_counts_update",
    _trigger(
        "index_counts_update",
        f"UPDATE OF {_NAMES}, is_latest",
        _count("OLD", -1),
        _count("NEW", 1),
        f"{_UPDATE}, kind = {_KIND} {_of_task('NEW')};",
    ),
    _trigger("index_failures_update", "UPDATE OF updated_at", f"{_UPDATE} {_of_task('NEW')};"),
    _trigger(
        "index_failures_delete", "DELETE", f"DELETE FROM task_index_failure {_of_task('OLD')};"
    ),
    _trigger(
        "index_shapes_delete",
        "DELETE",
        "DELETE FROM task_index_errorshape WHERE id = OLD.shape AND NOT EXISTS ("
        "SELECT 1 FROM task_index_failure WHERE shape = OLD.shape);",
        table="failure",
    ),
]


class Migration(migrations.Migration):
    dependencies = [("task_index", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="ErrorShape",
            fields=[
                ("id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("text", models.TextField()),
            ],
            options={"default_permissions": ()},
        ),
        migrations.CreateModel(
            name="Failure",
            fields=[
                ("id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("shape", models.BigIntegerField()),
                ("line", models.TextField()),
                ("tool", models.TextField()),
                ("created_at", models.TextField()),
                ("firsts", models.IntegerField(default=0)),
                ("kind", models.BigIntegerField(null=True)),
                ("updated_at", models.TextField(null=True)),
            ],
            options={
                "default_permissions": (),
                "indexes": [
                    models.Index(
                        *map(
                            models.F,
                            ("shape", "tool", "created_at", "updated_at", "firsts", "kind"),
                        ),
                        name="index_failure",
                    )
                ],
            },
        ),
        migrations.AddIndex(
            model_name="indexedtask",
            index=models.Index(
                *map(models.F, ("channel", "provider", "model", "status", "updated_at")),
                condition=models.Q(is_latest=True),
                name="index_kind",
            ),
        ),
        migrations.RunSQL(_TRIGGERS, migrations.RunSQL.noop),
    ]
