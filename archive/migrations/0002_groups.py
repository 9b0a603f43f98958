"""Create two groups: Viewers, who may view threads, and Operators, who may also clear them."""

from django.db import migrations

VIEW = {
    "taskrecord": {"view_taskrecord": "Can view task"},
    "taskcheckpoint": {"view_taskcheckpoint": "Can view checkpoint"},
}
CLEAR = {"taskrecord": {"clear_thread": "Can clear threads"}}
GROUPS = {"Viewers": [VIEW], "Operators": [VIEW, CLEAR]}


def make_groups(apps, schema_editor):
    alias = schema_editor.connection.alias
    for name, rights in GROUPS.items():
        group, _ = apps.get_model("auth", "Group").objects.using(alias).get_or_create(name=name)
        for of_models in rights:
            for model, named in of_models.items():
                group.permissions.add(*permissions_of(apps, alias, model, named))


def permissions_of(apps, alias, model, named):
    """Get or create the model's permissions, as Django only creates them after all migrations."""
    types = apps.get_model("contenttypes", "ContentType").objects.using(alias)
    permissions = apps.get_model("auth", "Permission").objects.using(alias)
    content_type, _ = types.get_or_create(app_label="tasks", model=model)
    return [
        permissions.get_or_create(
            codename=codename, content_type=content_type, defaults={"name": name}
        )[0]
        for codename, name in named.items()
    ]


class Migration(migrations.Migration):
    dependencies = [
        ("archive", "0001_initial"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [migrations.RunPython(make_groups, migrations.RunPython.noop)]
