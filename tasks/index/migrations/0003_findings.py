from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("task_index", "0002_failures")]

    operations = [
        migrations.AddField("indexedcall", "arguments", models.BigIntegerField(default=0)),
        migrations.AddField("indexedcall", "outcome", models.BigIntegerField(default=0)),
        migrations.CreateModel(
            name="Finding",
            fields=[
                ("id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("name", models.TextField()),
                ("tool", models.TextField()),
                ("n", models.BigIntegerField()),
                ("checkpoint", models.BigIntegerField(null=True)),
            ],
            options={
                "default_permissions": (),
                "indexes": [models.Index("name", name="index_finding")],
            },
        ),
    ]
