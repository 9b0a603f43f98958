"""Operators may see secrets as well, also where the groups were made before that was a right."""

from importlib import import_module

from django.db import migrations

NAMED = {"reveal_secrets": "Can see secrets of threads"}

groups = import_module("archive.migrations.0002_groups")


def let_operators_see(apps, schema_editor):
    alias = schema_editor.connection.alias
    permissions = groups.permissions_of(apps, alias, "taskrecord", NAMED)
    # a group that somebody has deleted stays away
    for group in apps.get_model("auth", "Group").objects.using(alias).filter(name="Operators"):
        group.permissions.add(*permissions)


class Migration(migrations.Migration):
    dependencies = [("archive", "0003_reveal")]

    operations = [migrations.RunPython(let_operators_see, migrations.RunPython.noop)]
