from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("task_index", "0003_findings")]

    operations = [
        migrations.AddField("indexedcall", "kind", models.TextField(default="")),
        migrations.AddField("indexedcall", "target", models.TextField(default="")),
        migrations.AddIndex(
            "indexedcall",
            models.Index(
                *map(models.F, ("kind", "created_at", "tool", "success")), name="index_action"
            ),
        ),
    ]
