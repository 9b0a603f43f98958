"""Let Operators see secrets too, even if the group was created before that permission existed."""

from importlib import import_module

from django.db import migrations

NAMED = {"reveal_secrets": "Can see secrets of threads"}

groups = import_module("archive.migrations.0002_groups")


def let_operators_see(apps, schema_editor):
    alias = schema_editor.connection.alias
    permissions = groups.permissions_of(apps, alias, "taskrecord", NAMED)
    # do not recreate a group that somebody has deleted
    for group in apps.get_model("auth", "Group").objects.using(alias).filter(name="Operators"):
        group.permissions.add(*permissions)


class Migration(migrations.Migration):
    dependencies = [("archive", "0003_reveal")]

    operations = [migrations.RunPython(let_operators_see, migrations.RunPython.noop)]
