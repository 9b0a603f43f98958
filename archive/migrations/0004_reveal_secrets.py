"""Give the Operators group, if it exists, the permission to reveal secrets."""

from importlib import import_module

from django.db import migrations

NAMED = {"reveal_secrets": "Can see secrets of threads"}

groups = import_module("archive.migrations.0002_groups")


def let_operators_see(apps, schema_editor):
    alias = schema_editor.connection.alias
    permissions = groups.permissions_of(apps, alias, "taskrecord", NAMED)
    # do not recreate the group if an administrator has deleted it
    for group in apps.get_model("auth", "Group").objects.using(alias).filter(name="Operators"):
        group.permissions.add(*permissions)


class Migration(migrations.Migration):
    dependencies = [("archive", "0003_reveal")]

    operations = [migrations.RunPython(let_operators_see, migrations.RunPython.noop)]
