"""Tests of who may open the site's pages, what they show, and how they answer odd requests."""

import html
import re

import pytest
from django.contrib.auth import get_user_model
from django.db import OperationalError, connections
from django.test import Client
from django.urls import reverse

from tasks import service
from tasks.addresses import thread_url
from tasks.models import TaskCheckpoint, TaskRecord
from tests.support.clearing_forms import clear_thread, form_of
from tests.support.factories import (
    history,
    item,
    only_postgresql,
    snapshot,
    task,
    update,
)
from tests.support.odd_rows import ODD_IDS

pytestmark = pytest.mark.django_db(databases="__all__")

PAGES = ["threads", "thread", "message", "clear"]


def address(name: str, thread_id: str = "telegram_42") -> str:
    return reverse(name) if name == "threads" else thread_url(name, thread_id)


@pytest.mark.parametrize("name", PAGES)
def test_page_requires_sign_in(client: Client, name: str):
    response = client.get(address(name))

    assert response.status_code == 302
    assert response["Location"].startswith("/sign-in/?next=")


@pytest.mark.parametrize("name", PAGES)
def test_page_requires_view_permission(stranger: Client, name: str):
    task()

    assert stranger.get(address(name)).status_code == 403


@pytest.mark.parametrize(
    ("name", "status"), [("threads", 200), ("thread", 200), ("message", 200), ("clear", 403)]
)
def test_viewer_can_open_all_pages_but_clearing(viewer: Client, name: str, status: int):
    task()

    assert viewer.get(address(name)).status_code == status


@pytest.mark.parametrize("name", ["threads", "thread", "message"])
def test_page_refuses_post(operator: Client, name: str):
    task()

    assert operator.post(address(name)).status_code == 405


@pytest.mark.parametrize("thread_id", ODD_IDS)
def test_odd_id_has_pages_and_can_be_cleared(operator: Client, thread_id: str):
    service.record_checkpoint(update(task_id=thread_id, thread_id=thread_id))
    bystander = task("bystander")

    list_page = operator.get("/").content.decode()
    thread_page = operator.get(thread_url("thread", thread_id))
    confirmation = operator.get(thread_url("clear", thread_id))
    [action] = re.findall('action="(/thread/clear/[^"]*)"', confirmation.content.decode())
    action = html.unescape(action)
    response = operator.post(action, form_of(confirmation, with_running="on"))

    assert html.escape(thread_url("thread", thread_id), quote=False) in list_page
    assert thread_page.context["page"].record.thread_id == thread_id
    assert action == thread_url("clear", thread_id)
    assert (response.status_code, response["Location"]) == (302, "/")
    assert list(TaskRecord.objects.all()) == [bystander]
    assert TaskCheckpoint.objects.count() == 0


def test_odd_id_survives_sign_in(client: Client):
    thread_id = "a/../b?#%2F\n🦉"
    task(thread_id)

    redirect = client.get(thread_url("thread", thread_id))
    form = client.get(redirect["Location"])

    assert form.context["next"] == thread_url("thread", thread_id)


@pytest.mark.parametrize("thread_id", ["x" * 9_000, "é" * 4_500, "🦉" * 2_250])
def test_long_id_survives_sign_in(client: Client, thread_id: str):
    task(thread_id)
    get_user_model().objects.create_superuser("ops", password="correct horse")

    redirect = client.get(thread_url("thread", thread_id))
    client.get(redirect["Location"])
    signed_in = client.post("/sign-in/", {"username": "ops", "password": "correct horse"})

    assert signed_in["Location"] == thread_url("thread", thread_id)


@only_postgresql
def test_pages_work_on_postgresql(operator: Client, store):
    service.record_checkpoint(update())

    for name in PAGES:
        assert operator.get(address(name)).status_code == 200
    assert operator.get(address("thread") + "&show=checkpoints").status_code == 200
    assert operator.get("/?after=2027&task=x").status_code == 200
    assert operator.get("/?after=%00&task=x").status_code == 200
    assert operator.get("/thread/?id=%00").status_code == 404
    assert clear_thread(operator).status_code == 302
    assert TaskRecord.objects.count() == 0


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/thread/", 400),
        ("/thread/?id=none", 404),
        ("/thread/?id=%FF%FE", 404),
        ("/thread/message/?id=telegram_42&message=9", 404),
        ("/thread/message/?id=telegram_42&message=x", 404),
        ("/thread/message/?id=none", 404),
        ("/thread/checkpoint/", 400),
        ("/thread/checkpoint/?checkpoint=x", 400),
        ("/thread/checkpoint/?checkpoint=-1", 400),
        ("/thread/checkpoint/?checkpoint=%D9%A1", 400),
        ("/thread/checkpoint/?checkpoint=99999999999999999999", 400),
        ("/thread/checkpoint/?checkpoint=77", 404),
        ("/thread/clear/", 400),
        ("/thread/clear/?id=none", 404),
        ("/nowhere/", 404),
    ],
)
def test_invalid_address_is_explained(operator: Client, path: str, status: int):
    task()

    response = operator.get(path)

    assert response.status_code == status
    assert response.context["reason"]


@pytest.mark.parametrize(
    "query",
    [
        "message=x",
        "message=-1",
        "message=99",
        "step=x",
        "step=",
        "step=99",
        "turn=9",
        "show=x",
        "hit=9&find=x",
        "find=",
    ],
)
def test_invalid_number_is_ignored(viewer: Client, query: str):
    task()

    assert viewer.get(f"{address('thread')}&{query}").status_code == 200


def test_thread_shows_messages_steps_and_meta(viewer: Client):
    service.record_checkpoint(
        update(
            execution_history=history("do it", "done"),
            checkpoint_note="half way",
            items=[item(arguments={"command": "ls -l"}, success=False, output="no such file")],
        )
    )
    service.save_snapshot(
        snapshot(
            status=service.TaskStatus.COMPLETED,
            execution_history=history("do it", "done"),
            final_response="All done.",
            latest_checkpoint_note="a note",
        )
    )

    messages = viewer.get(address("thread")).content.decode()
    steps = viewer.get(address("thread") + "&show=checkpoints").content.decode()

    for text in ("do it", "done", "All done.", "a note", "2</b> turns", "completed"):
        assert text in messages
    for text in ("Step 1", "shell", "ls -l", "failed", "no such file", "half way"):
        assert text in steps


def test_thread_shows_its_latest_task_and_lists_the_others(viewer: Client):
    task("first", thread_id="both", updated_at="2026-01-01T00:00:00+00:00")
    task("second", thread_id="both", updated_at="2026-01-02T00:00:00+00:00")

    context = viewer.get(thread_url("thread", "both")).context

    assert context["page"].record.task_id == "second"
    assert [other.task_id for other in context["page"].other_tasks] == ["first"]


def test_thread_escapes_agent_text(viewer: Client):
    evil = "<script>alert(1)</script>"
    service.record_checkpoint(
        update(
            task_id=evil,
            thread_id=evil,
            channel=evil,
            provider=evil,
            model=evil,
            execution_history=history(evil),
            checkpoint_note=evil,
            items=[item(tool_name=evil, arguments={evil: evil, "x": 1}, output=evil)],
        )
    )
    TaskRecord.objects.update(status=evil, last_error=evil, final_response=evil)

    pages = ["/", thread_url("thread", evil), thread_url("thread", evil, show="checkpoints")]

    for page in pages:
        assert "<script>" not in viewer.get(page).content.decode()


@pytest.mark.parametrize(
    "column", ["execution_history_json", "resumable_history_json", "items_json"]
)
def test_thread_with_a_corrupt_column_shows_it_and_can_be_cleared(operator: Client, column: str):
    service.record_checkpoint(update())
    table = "task_checkpoints" if column == "items_json" else "task_records"
    with connections["tasks"].cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET {column} = '[{{broken'")

    pages = [address("thread"), address("thread") + "&show=checkpoints"]
    content = b"".join(operator.get(page).content for page in pages).decode()
    clear_thread(operator)

    assert "cannot be read" in content
    assert TaskRecord.objects.count() == 0


def test_long_text_is_truncated_and_opens_in_full(viewer: Client):
    long = "line\n" * 60_000
    service.record_checkpoint(update(execution_history=history(long), items=[item(output=long)]))
    number = TaskCheckpoint.objects.get().pk

    page = viewer.get(address("thread"))
    message = viewer.get(thread_url("message", "telegram_42", message=1))
    raw = viewer.get(f"/thread/checkpoint/?checkpoint={number}")

    assert len(page.content) < 60_000
    assert message.content.decode() == long
    assert message["Content-Type"] == "text/plain; charset=utf-8"
    assert raw.content.decode() == TaskCheckpoint.objects.get().items_json


def test_clear_requires_confirmation(operator: Client):
    service.record_checkpoint(update())
    service.record_checkpoint(update(step_index=2))

    response = operator.get(address("clear"))

    summary = response.context["confirmation"]
    assert (summary.count, summary.tasks, summary.checkpoints, summary.unfinished) == (1, 1, 2, 1)
    assert TaskRecord.objects.count() == 1


def test_clear_deletes_all_tasks_of_the_thread_and_no_others(operator: Client):
    for task_id, thread_id in (("a", "mine"), ("b", "mine"), ("c", "other")):
        service.record_checkpoint(update(task_id=task_id, thread_id=thread_id))

    clear_thread(operator, "mine")
    response = operator.get("/")

    assert [record.task_id for record in TaskRecord.objects.all()] == ["c"]
    assert [step.task_id for step in TaskCheckpoint.objects.all()] == ["c"]
    assert "Cleared mine." in response.content.decode()
    assert "Undo…</a>" in response.content.decode()


@pytest.mark.parametrize(
    ("query", "address"),
    [
        ("", "/"),
        ("status=failed&q=a%20b", "/?status=failed&q=a+b"),
        ("//example.org", "/?%2F%2Fexample.org="),
        ("a=\r\nSet-Cookie:b", "/?a=%0D%0ASet-Cookie%3Ab"),
    ],
)
def test_clear_returns_to_the_filtered_list(operator: Client, query: str, address: str):
    task()

    page = thread_url("clear", "telegram_42", list=query)
    response = operator.post(page, form_of(operator.get(page), with_running="on"))

    assert response["Location"] == address


def test_clear_of_a_missing_thread_is_not_found(operator: Client):
    response = operator.post(address("clear"), follow=True)

    assert response.status_code == 404
    assert "Cleared telegram" not in response.content.decode()


def test_clear_requires_permission(viewer: Client):
    task()

    assert viewer.post(address("clear")).status_code == 403
    assert TaskRecord.objects.count() == 1


def test_clear_requires_a_csrf_token(operator: Client):
    task()
    operator.handler.enforce_csrf_checks = True

    assert operator.post(address("clear")).status_code == 403
    assert TaskRecord.objects.count() == 1


def test_failed_clear_shows_the_error_and_deletes_nothing(
    operator: Client, monkeypatch: pytest.MonkeyPatch
):
    def locked(thread_id: str, **options: object) -> None:
        raise OperationalError("database is locked")

    task()
    monkeypatch.setattr(service, "delete_by_thread_id", locked)

    content = " ".join(clear_thread(operator).content.decode().split())

    assert "Nothing was cleared: database is locked." in content
    assert re.search(r"Clear(</span>)?[^?]* this thread\?", content)
    assert TaskRecord.objects.count() == 1


def test_read_only_store_offers_no_clearing(operator: Client, settings):
    task()
    settings.TASKS_READ_ONLY = True

    content = operator.get(address("thread")).content.decode()

    assert "The store is read-only" in content
    assert "Clear…" not in content


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_not_cached(operator: Client, name: str):
    task()

    assert "no-store" in operator.get(address(name)).headers["Cache-Control"]


def test_pages_send_a_strict_content_security_policy(viewer: Client):
    policy = viewer.get("/").headers["Content-Security-Policy"]

    assert "default-src 'self'" in policy
    assert "unsafe" not in policy


def test_pages_have_no_inline_script_or_style(viewer: Client):
    task()

    for name in ("threads", "thread"):
        content = viewer.get(address(name)).content.decode()
        assert re.findall(r"<script(?! src=\"/)|<style|\sstyle=|\son\w+=", content) == []
