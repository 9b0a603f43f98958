import pytest
from django.apps import apps
from django.contrib.auth.models import Permission, User
from django.db import connections, router

from gloamy_site.routers import TaskStoreRouter
from tasks.models import TaskCheckpoint, TaskRecord
from tests.support.factories import checkpoint, task

STORE_MODELS = [TaskRecord, TaskCheckpoint]
INDEX_MODELS = list(apps.get_app_config("task_index").get_models())
OTHER_MODELS = [model for model in apps.get_models() if model not in (*STORE_MODELS, *INDEX_MODELS)]


@pytest.mark.parametrize("model", STORE_MODELS)
def test_store_models_are_only_in_the_store(model):
    assert (router.db_for_read(model), router.db_for_write(model)) == ("tasks", "tasks")
    assert not router.allow_migrate_model("default", model)
    assert router.allow_migrate_model("tasks", model)
    assert router.allow_migrate_model("another", model)


@pytest.mark.parametrize("model", INDEX_MODELS)
def test_models_of_the_index_are_only_in_the_index(model):
    assert (router.db_for_read(model), router.db_for_write(model)) == ("index", "index")
    assert router.allow_migrate_model("index", model)
    assert not router.allow_migrate_model("default", model)
    assert not router.allow_migrate_model("tasks", model)


@pytest.mark.parametrize("model", OTHER_MODELS)
def test_other_models_are_only_in_the_site_database(model):
    assert (router.db_for_read(model), router.db_for_write(model)) == ("default", "default")
    assert router.allow_migrate_model("default", model)
    assert not router.allow_migrate_model("tasks", model)
    assert not router.allow_migrate_model("index", model)


@pytest.mark.parametrize(
    ("alias", "app_label", "hints", "allowed"),
    [
        ("tasks", "tasks", {"model_name": "taskrecord"}, True),
        ("default", "tasks", {"model_name": "taskrecord"}, False),
        ("tasks", "tasks", {}, False),
        ("default", "tasks", {}, True),
        ("tasks", "auth", {}, False),
        ("default", "auth", {}, True),
        ("tasks", "other", {"model_name": "taskrecord"}, False),
    ],
)
def test_operations_run_on_the_database_of_their_models(alias, app_label, hints, allowed):
    assert TaskStoreRouter().allow_migrate(alias, app_label, **hints) is allowed


@pytest.mark.django_db(databases="__all__")
def test_rows_are_written_to_their_own_database(store):
    checkpoint(task())
    User.objects.create_user("maya")
    assert TaskRecord.objects.get()._state.db == store.alias
    assert TaskCheckpoint.objects.get().task._state.db == store.alias
    assert User.objects.get()._state.db == "default"


@pytest.mark.django_db(databases="__all__")
def test_each_database_has_only_its_own_tables(store):
    ours = {"task_records", "task_checkpoints"}
    assert set(store.introspection.table_names()) == {*ours, "django_migrations"}
    assert ours & set(connections["default"].introspection.table_names()) == set()


@pytest.mark.django_db(databases="__all__")
def test_permissions_are_view_clear_and_reveal():
    permissions = Permission.objects.filter(content_type__app_label="tasks")
    names = permissions.filter(content_type__model__in=["taskrecord", "taskcheckpoint"])
    assert sorted(names.values_list("codename", flat=True)) == [
        "clear_thread",
        "reveal_secrets",
        "view_taskcheckpoint",
        "view_taskrecord",
    ]
