"""The two tables in Django's admin: read-only, but for clearing threads."""

import pytest
from django.test import Client
from django.urls import reverse

from archive.models import Clearing
from tasks import service
from tasks.admin import id_in_path
from tasks.models import TaskCheckpoint, TaskRecord
from tests.confirming import confirm
from tests.factories import checkpoint, only_postgresql, task, update
from tests.test_views import ODD_IDS

pytestmark = pytest.mark.django_db(databases="__all__")

TASKS = reverse("admin:tasks_taskrecord_changelist")
CHECKPOINTS = reverse("admin:tasks_taskcheckpoint_changelist")


def clear(client: Client, *task_ids: str, **more: str):
    selected = [id_in_path(task_id) for task_id in task_ids]
    return client.post(TASKS, {"action": "clear_threads", "_selected_action": selected, **more})


@pytest.mark.parametrize("address", [TASKS, CHECKPOINTS])
def test_lists_open(admin_client: Client, address: str):
    checkpoint(task())

    response = admin_client.get(address, {"q": "telegram"})

    assert response.context["cl"].result_count == 1


@pytest.mark.parametrize("count", [1, 3])
def test_task_list_takes_the_same_queries_for_any_number(
    admin_client: Client, count: int, store_queries
):
    for number in range(count):
        task(f"thread {number}")

    with store_queries() as queries:
        admin_client.get(TASKS)

    assert len(queries) == 2  # the count and the rows
    assert not any("history_json" in query["sql"] for query in queries)


@pytest.mark.parametrize("task_id", ODD_IDS)
def test_task_of_any_id_opens_from_the_list(admin_client: Client, task_id: str):
    task(task_id)
    address = reverse("admin:tasks_taskrecord_change", args=[id_in_path(task_id)])

    assert address in admin_client.get(TASKS).content.decode()
    assert admin_client.get(address).context["original"].pk == task_id


@pytest.mark.parametrize(
    "segment", ["nonsense", "id-", "id-%FF", "id-eA", "%00", "!!!", "id_2DAA_3D_3D", "x/history"]
)
def test_unknown_task_leads_back(admin_client: Client, segment: str):
    task("there")

    assert admin_client.get(f"{TASKS}{segment}/change/").status_code == 302


def test_corrupt_rows_open(admin_client: Client):
    record = task(status="odd", execution_history_json="{", updated_at="2026-01-01T00:00:00+00:00")
    found = checkpoint(record, items_json="{")
    task_address = reverse("admin:tasks_taskrecord_change", args=[id_in_path(record.pk)])
    checkpoint_address = reverse("admin:tasks_taskcheckpoint_change", args=[found.pk])

    assert '<pre class="stored">{</pre>' in admin_client.get(task_address).content.decode()
    assert '<pre class="stored">{</pre>' in admin_client.get(checkpoint_address).content.decode()


@pytest.mark.parametrize("address", [TASKS, CHECKPOINTS])
def test_nothing_is_added(admin_client: Client, address: str):
    assert admin_client.get(f"{address}add/").status_code == 403


def test_nothing_is_changed_or_deleted_by_the_row(admin_client: Client):
    record = task()
    found = checkpoint(record)
    for address in (f"{TASKS}{id_in_path(record.pk)}/", f"{CHECKPOINTS}{found.pk}/"):
        assert admin_client.post(f"{address}change/", {"status": "failed"}).status_code == 403
        assert admin_client.post(f"{address}delete/", {"post": "yes"}).status_code == 403

    assert TaskRecord.objects.get().status == "running"
    assert TaskCheckpoint.objects.count() == 1


def test_django_s_own_delete_action_is_not_offered(admin_client: Client):
    task()

    choices = admin_client.get(TASKS).context["action_form"].fields["action"].choices

    assert [name for name, _ in choices if name] == ["clear_threads"]


def test_clearing_asks_first(admin_client: Client):
    service.record_checkpoint(update())

    asked = admin_client.get(clear(admin_client, "telegram_42")["Location"])

    assert [row.thread_id for row in asked.context["shown"].rows] == ["telegram_42"]
    assert TaskRecord.objects.count() == 1


def test_clearing_takes_the_whole_thread_and_no_other(admin_client: Client):
    for task_id, thread_id in (("a", "mine"), ("b", "mine"), ("c", "other")):
        service.record_checkpoint(update(task_id=task_id, thread_id=thread_id))

    done = confirm(admin_client, clear(admin_client, "a"), with_running="on")

    assert (done.source, done.cleared, done.user_name) == ("admin", 1, "admin")
    assert [record.task_id for record in TaskRecord.objects.all()] == ["c"]
    assert [found.task_id for found in TaskCheckpoint.objects.all()] == ["c"]


@pytest.mark.parametrize("task_id", ODD_IDS)
def test_clearing_takes_any_id_as_the_pages_have_it(admin_client: Client, task_id: str):
    for odd in (task_id, "bystander"):
        task(odd)

    listed = admin_client.get(TASKS).content.decode()
    assert f'value="{id_in_path(task_id)}"' in listed
    done = confirm(admin_client, clear(admin_client, task_id), with_running="on")

    assert [record.pk for record in TaskRecord.objects.all()] == ["bystander"]
    assert str(done) == "Cleared 1 thread"


@only_postgresql
def test_admin_works_on_postgresql(admin_client: Client, store):
    found = checkpoint(task())

    for address in (
        TASKS + "?q=telegram",
        CHECKPOINTS + "?q=telegram",
        f"{TASKS}{id_in_path('telegram_42')}/change/",
        f"{CHECKPOINTS}{found.pk}/change/",
    ):
        assert admin_client.get(address).status_code == 200
    assert admin_client.get(f"{TASKS}?status__exact=%00").status_code == 400
    assert admin_client.get(f"{TASKS}{id_in_path(chr(0))}/change/").status_code == 400
    assert clear(admin_client, "\0").status_code == 400
    confirm(admin_client, clear(admin_client, "telegram_42"), with_running="on")
    assert TaskRecord.objects.count() == 0


def test_clearing_wants_permission(staff_viewer: Client):
    task()

    clear(staff_viewer, "telegram_42")

    assert not Clearing.objects.exists()


def test_read_only_store_offers_no_clearing(admin_client: Client, settings):
    task()
    settings.TASKS_READ_ONLY = True

    clear(admin_client, "telegram_42")

    assert not Clearing.objects.exists()
