"""Tests of the clearing pages: what they ask for, refuse and show."""

import json
import re
from html import escape, unescape
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import OperationalError
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from archive.models import Clearing, Fate, Source, Stage
from tasks import service
from tasks.addresses import thread_token, thread_url
from tasks.clearing import confirmation, lifecycle, summaries
from tasks.clearing.lifecycle import Actor
from tasks.fields import to_text
from tasks.models import TaskRecord
from tasks.store import daemon, thread_rows, workspace
from tasks.views import cleared
from tests.support.clearing_forms import clear_thread, confirm, form_of
from tests.support.factories import checkpoint, history, snapshot, task, update
from tests.support.odd_rows import ODD_IDS

pytestmark = pytest.mark.django_db(databases="__all__")

BY = Actor(Source.COMMAND, name="maya")


def add_completed(*task_ids: str) -> None:
    for task_id in task_ids:
        checkpoint(task(task_id, status="failed"))


def ask(client: Client, *thread_ids: str, **form: str):
    tokens = [thread_token(thread_id) for thread_id in thread_ids]
    return client.post(reverse("clear-selected"), {"thread": tokens, **form})


def test_confirmation_counts_selected_threads(operator: Client, store):
    add_completed("a", "b", "c")

    page = operator.get(ask(operator, "a", "b", "gone")["Location"])
    summary = page.context["confirmation"]

    assert (summary.count, summary.tasks, summary.checkpoints, summary.is_measured) == (
        2,
        2,
        2,
        True,
    )
    assert TaskRecord.objects.count() == 3


def test_confirmation_shows_thread_titles(operator: Client, store):
    for name in ("a", "b"):
        service.save_snapshot(
            snapshot(task_id=name, thread_id=name, execution_history=history(f"R&D of {name}"))
        )

    one = operator.get(thread_url("clear", "a")).content.decode()
    content = operator.get(ask(operator, "a", "b")["Location"]).content.decode()

    assert "<b>R&amp;D of a</b>" in one
    assert "R&amp;D of a" in content
    assert "R&amp;D of b" in content


def test_selected_threads_are_cleared_when_confirmed(operator: Client, store):
    add_completed("a", "b", "c")

    clearing = confirm(operator, ask(operator, "a", "b"), reason="over")

    assert (clearing.cleared, clearing.reason, clearing.user_name) == (2, "over", "someone")
    assert TaskRecord.objects.get().task_id == "c"


@pytest.mark.parametrize("thread_id", ODD_IDS)
def test_thread_with_an_odd_id_can_be_cleared_and_restored(operator: Client, thread_id: str):
    add_completed(thread_id)

    clearing = confirm(operator, ask(operator, thread_id))
    assert not TaskRecord.objects.exists()
    operator.get(reverse("clearing", args=[clearing.pk]))
    operator.post(
        reverse("clearing-restore", args=[clearing.pk]), {"thread": clearing.threads.get().pk}
    )

    assert TaskRecord.objects.get().thread_id == thread_id


def test_select_all_clears_only_threads_matching_the_filters(operator: Client, store, monkeypatch):
    monkeypatch.setattr("tasks.views.clear.THREADS_PER_READ", 2)
    add_completed(*(f"t{number}" for number in range(7)))
    task("other", status="completed")

    response = operator.post(reverse("clear-selected"), {"all": "1", "query": "status=failed"})
    clearing = confirm(operator, response)

    assert (clearing.cleared, clearing.filter) == (7, "status=failed")
    assert TaskRecord.objects.get().task_id == "other"


@pytest.mark.parametrize(
    ("source", "stored", "text"),
    [
        ("list", "status=completed&channel=matrix", "Status: completed, channel: matrix"),
        ("list", "q=a+b&period=7d&resume=no", "Active: last 7 days, cannot resume, search: “a b”"),
        ("list", "status=gone", "status=gone"),
        ("command", "--status failed", "--status failed"),
    ],
)
def test_page_describes_the_filter(operator: Client, store, source: str, stored: str, text: str):
    clearing = Clearing.objects.create(
        store=workspace.identity(), source=source, filter=stored, stage=Stage.DONE
    )

    page = operator.get(reverse("clearing", args=[clearing.pk])).content.decode()

    assert f'<dd dir="auto">{text}</dd>' in page


def test_clearing_leads_back_to_the_filtered_list(operator: Client, store):
    add_completed("a", "b", "c")
    query = "status=failed&q=%22x+y%22"
    back = f'href="/?{escape(query)}"'

    draft = ask(operator, "a", "b", query=query)
    asked = operator.get(draft["Location"])
    [url] = re.findall(r'action="([^"]*confirm[^"]*)"', asked.content.decode())
    done = operator.post(unescape(url), form_of(asked))

    assert back in asked.content.decode()
    assert back in operator.get(done["Location"]).content.decode()
    assert TaskRecord.objects.get().task_id == "c"


def test_clearing_of_a_list_with_a_long_query_forgets_the_list(operator: Client, store):
    add_completed("a")

    response = ask(operator, "a", query="q=" + "ä" * 30_000)

    assert operator.get(response["Location"]).status_code == 200


@pytest.mark.parametrize("form", [{}, {"all": "1", "query": "channel=none"}])
def test_empty_selection_is_reported(operator: Client, form):
    response = operator.post(reverse("clear-selected"), form, follow=True)

    assert "No threads selected." in response.content.decode()
    assert not Clearing.objects.exists()


def test_form_without_a_thread_is_rejected(operator: Client):
    assert operator.post(reverse("clear-selected"), {"thread": "nonsense"}).status_code == 400


def test_changed_thread_needs_another_confirmation(operator: Client, store):
    service.record_checkpoint(update())
    address = thread_url("clear", "telegram_42")
    form = form_of(operator.get(address), with_running="on")
    service.record_checkpoint(update(step_index=2))

    response = operator.post(address, form)

    assert response.status_code == 409
    [change] = response.context["confirmation"].changes
    assert (change.before[:16], change.now[:17]) == ("running, 1 step,", "running, 2 steps,")
    assert (TaskRecord.objects.count(), Clearing.objects.count()) == (1, 0)
    assert operator.post(address, form_of(response, with_running="on")).status_code == 302


def test_confirmation_of_one_thread_writes_nothing(operator: Client):
    add_completed("telegram_42")

    operator.get(thread_url("clear", "telegram_42"))
    operator.head(thread_url("clear", "telegram_42"))

    assert not Clearing.objects.exists()


def test_thread_is_summarized_once_per_request(operator: Client, spy_read):
    add_completed("telegram_42")
    form = form_of(operator.get(thread_url("clear", "telegram_42")))
    assert spy_read == [["telegram_42"]]

    operator.post(thread_url("clear", "telegram_42"), form)

    assert spy_read == [["telegram_42"]] * 2
    assert not TaskRecord.objects.exists()


@pytest.fixture
def spy_read(monkeypatch) -> list[Any]:
    """A list of the thread ids passed to each call to `summaries.read`."""
    calls, read = [], summaries.read

    def spy(thread_ids):
        calls.append(list(thread_ids))
        return read(thread_ids)

    monkeypatch.setattr(summaries, "read", spy)
    return calls


def test_signature_of_another_thread_is_rejected(operator: Client):
    add_completed("telegram_42", "other")
    form = form_of(operator.get(thread_url("clear", "other")))

    assert operator.post(thread_url("clear", "telegram_42"), form).status_code == 409
    assert TaskRecord.objects.count() == 2


@pytest.mark.parametrize("form", [{}, {"version": "x"}, {"version": "", "seen": "forged"}])
def test_form_without_a_valid_version_is_rejected(operator: Client, form):
    add_completed("telegram_42")

    assert operator.post(thread_url("clear", "telegram_42"), form).status_code == 409
    assert TaskRecord.objects.count() == 1


def test_bulk_clearing_of_changed_threads_needs_another_confirmation(operator: Client, store):
    add_completed("a", "b", "c")
    address = ask(operator, "a", "b", "c")["Location"]
    form = form_of(operator.get(address))
    service.delete_by_thread_id("a")
    service.save_snapshot(snapshot(task_id="b", thread_id="b"))

    response = operator.post(f"{address}confirm/", form)

    assert response.status_code == 409
    changes = {change.thread_id: change.now for change in response.context["confirmation"].changes}
    assert (changes["a"], changes["b"][:7], set(changes)) == ("", "running", {"a", "b"})
    assert response.context["confirmation"].count == 2
    # the form is from an outdated page
    assert operator.post(f"{address}confirm/", form).status_code == 409
    assert TaskRecord.objects.count() == 2


def test_bulk_clearing_requires_typing_the_count(operator: Client, monkeypatch):
    monkeypatch.setattr(confirmation, "TYPED_OVER", 2)
    add_completed("a", "b", "c")
    address = ask(operator, "a", "b", "c")["Location"]

    for typed in ("", "2", "three", "٣"):
        page = operator.get(address)
        response = operator.post(f"{address}confirm/", form_of(page, typed=typed))
        assert response.context["confirmation"].errors == ["Type 3 to clear the threads."]
    assert Clearing.objects.get().stage == Stage.DRAFT
    operator.post(f"{address}confirm/", form_of(operator.get(address), typed="3"))
    assert Clearing.objects.get().stage == Stage.DONE


def test_bulk_clearing_keeps_running_threads_by_default(operator: Client, store):
    add_completed("over")
    task("at work")

    clearing = confirm(operator, ask(operator, "over", "at work"))

    assert (clearing.cleared, clearing.kept) == (1, 1)
    assert TaskRecord.objects.get().task_id == "at work"


def test_progress_page_continues_and_redirects_to_the_report(operator: Client):
    add_completed("a")
    clearing = lifecycle.draft(lifecycle.plan(["a"]), BY)
    lifecycle.confirm(clearing)
    address = reverse("clearing", args=[clearing.pk])

    assert 'hx-trigger="load"' in operator.get(address + "?go=on").content.decode()
    assert "hx-trigger" not in operator.get(address).content.decode().split("progress")[1]
    response = operator.post(address + "go-on/", headers={"HX-Request": "true"})
    assert response["HX-Redirect"] == address
    assert "Cleared 1 thread" in operator.get(address).content.decode()


def test_failed_clearing_shows_the_error(operator: Client, monkeypatch):
    def locked(thread_id: str, **options: object) -> None:
        raise OperationalError("database is locked")

    add_completed("a")
    monkeypatch.setattr(service, "delete_by_thread_id", locked)
    clearing = lifecycle.draft(lifecycle.plan(["a"]), BY)
    lifecycle.confirm(clearing)

    address = reverse("clearing-go-on", args=[clearing.pk])
    content = operator.post(address, follow=True).content.decode()

    assert "Interrupted: database is locked" in content
    assert "Continue" in content


def restore_all(client: Client, clearing: Clearing, **form: Any) -> Any:
    """Restore threads as the page's script does."""
    address = reverse("clearing-restore", args=[clearing.pk])
    return client.post(address, form, headers={"HX-Request": "true"})


def restored_threads() -> list[str]:
    return [record.task_id for record in TaskRecord.objects.order_by("task_id")]


def test_restore_all_shows_progress_and_redirects_to_the_report(operator: Client, monkeypatch):
    monkeypatch.setattr(cleared, "SECONDS", -1)  # each request restores one thread
    add_completed("a", "b", "c")
    clearing = lifecycle.clear(["a", "b", "c"], BY)
    add_completed("b")

    progress = restore_all(operator, clearing)
    run = progress.context["run"]
    assert (run.restored, run.failed, run.waiting) == (1, 0, 2)
    assert 'hx-trigger="load"' in progress.content.decode()
    run = restore_all(operator, clearing, run=run.pk).context["run"]
    assert (run.restored, run.failed, run.waiting) == (1, 1, 1)
    address = restore_all(operator, clearing, run=run.pk)["HX-Redirect"]

    content = operator.get(address).content.decode()
    assert "Restored 2 threads." in content
    assert "1 could not be restored: Thread &#x27;b&#x27; exists again." in content
    assert [entry.change_message for entry in LogEntry.objects.all()] == ["Restored 2 threads."]


def test_abandoned_restore_continues_and_tries_failures_again_last(operator: Client, monkeypatch):
    monkeypatch.setattr(cleared, "SECONDS_WITHOUT_SCRIPT", -1)
    add_completed("a", "b", "c")
    clearing = lifecycle.clear(["a", "b", "c"], BY)
    add_completed("a")
    address = reverse("clearing-restore", args=[clearing.pk])

    contents = [operator.post(address, follow=True).content.decode() for _ in range(3)]
    assert ["exists again" in content for content in contents] == [True, True, True]
    assert restored_threads() == ["a", "b", "c"]

    service.delete_by_thread_id("a")
    assert "Restored 1 thread." in operator.post(address, follow=True).content.decode()
    assert restored_threads() == ["a", "b", "c"]


def test_broken_off_restore_shows_the_error(operator: Client, monkeypatch):
    def locked(*args: object) -> None:
        raise OperationalError("database is locked")

    add_completed("a")
    clearing = lifecycle.clear(["a"], BY)
    monkeypatch.setattr(thread_rows, "insert", locked)

    address = restore_all(operator, clearing)["HX-Redirect"]

    assert "Interrupted: database is locked" in operator.get(address).content.decode()
    assert clearing.threads.restorable().count() == 1


@pytest.mark.parametrize("run", ["x", "-1", "9" * 30, ""])
def test_odd_run_starts_another(operator: Client, run: str):
    add_completed("a")
    clearing = lifecycle.clear(["a"], BY)

    restore_all(operator, clearing, run=run)

    assert restored_threads() == ["a"]


def test_run_of_another_user_or_clearing_is_not_continued(operator: Client, admin_client: Client):
    add_completed("a", "b")
    first, second = lifecycle.clear(["a"], BY), lifecycle.clear(["b"], BY)
    restore_all(admin_client, first)
    [entry] = LogEntry.objects.all()

    restore_all(operator, first, run=entry.pk)
    restore_all(admin_client, second, run=entry.pk)

    messages = LogEntry.objects.order_by("pk").values_list("change_message", flat=True)
    assert list(messages) == ["Restored 1 thread.", "Restored 0 threads.", "Restored 1 thread."]


def test_recreated_thread_is_replaced_only_on_request(operator: Client, store):
    service.save_snapshot(snapshot(final_response="old"))
    clear_thread(operator)
    row = Clearing.objects.get().threads.get()
    service.save_snapshot(snapshot(final_response="new"))
    address = reverse("clearing-restore", args=[row.clearing_id])

    content = operator.post(address, {"thread": row.pk}, follow=True).content.decode()
    assert "exists again" in content
    assert "Reappeared" in content
    assert TaskRecord.objects.get().final_response == "new"

    page = operator.get(reverse("clearing", args=[row.clearing_id]))
    form = {
        "thread": row.pk,
        "replace": "1",
        "seen": page.context["rows"][0][1].fingerprint,
    }
    content = operator.post(address, form, follow=True).content.decode()
    assert "The current thread is running." in content
    service.save_snapshot(snapshot(final_response="newer"))
    content = operator.post(address, {**form, "with_running": "on"}, follow=True).content.decode()
    assert "has changed since you opened the page" in content
    assert TaskRecord.objects.get().final_response == "newer"

    page = operator.get(reverse("clearing", args=[row.clearing_id]))
    form["seen"] = page.context["rows"][0][1].fingerprint
    operator.post(address, {**form, "with_running": "on"})
    assert TaskRecord.objects.get().final_response == "old"


def test_restore_button_leaves_out_recreated_threads(operator: Client):
    add_completed("a", "b")
    clearing = lifecycle.clear(["a", "b"], BY)
    address = reverse("clearing", args=[clearing.pk])
    assert "Restore all 2" in operator.get(address).content.decode()

    add_completed("a")
    assert "Restore the remaining 1" in operator.get(address).content.decode()

    add_completed("b")
    assert 'class="button main"' not in operator.get(address).content.decode()


@pytest.mark.parametrize("is_recreated", [True, False])
def test_recreated_thread_warns_about_a_live_daemon(
    operator: Client, is_recreated: bool, tmp_path, monkeypatch
):
    file = tmp_path / "daemon_state.json"
    file.write_text(json.dumps({"written_at": to_text(timezone.now())}))
    monkeypatch.setattr(daemon, "_heartbeat_file", lambda: file)
    add_completed("a")
    clearing = lifecycle.clear(["a"], BY)
    if is_recreated:
        add_completed("a")

    page = operator.get(reverse("clearing", args=[clearing.pk])).content.decode()

    assert ("The gloamy daemon is running." in page) == is_recreated


def test_thread_of_another_clearing_is_not_restored(operator: Client):
    add_completed("a", "b")
    first, second = lifecycle.clear(["a"], BY), lifecycle.clear(["b"], BY)

    address = reverse("clearing-restore", args=[first.pk])
    response = operator.post(address, {"thread": second.threads.get().pk})

    assert response.status_code == 404
    assert not TaskRecord.objects.exists()


def test_clearing_of_another_store_is_not_shown(operator: Client):
    add_completed("a")
    clearing = lifecycle.clear(["a"], BY)
    Clearing.objects.update(store="/elsewhere")

    assert operator.get(reverse("clearing", args=[clearing.pk])).status_code == 404
    assert list(operator.get(reverse("cleared")).context["clearings"]) == []


def test_read_only_store_rejects_post(operator: Client, settings):
    add_completed("a")
    clearing = lifecycle.clear(["a"], BY)
    settings.TASKS_READ_ONLY = True

    for verb in ("confirm", "go-on", "restore"):
        assert operator.post(reverse(f"clearing-{verb}", args=[clearing.pk])).status_code == 400


@pytest.mark.parametrize("number", [1, 3])
def test_cleared_pages_query_count_is_constant(
    operator: Client, number: int, django_assert_num_queries
):
    ids = [f"t{index}" for index in range(number)]
    add_completed(*ids)
    for thread_id in ids:
        lifecycle.clear([thread_id], BY)
    add_completed(*ids)
    clearing = lifecycle.clear(ids, BY)

    with django_assert_num_queries(6):  # session, user, 2 for permissions, clearings, threads
        operator.get(reverse("cleared"))
    with django_assert_num_queries(8):
        operator.get(reverse("clearing", args=[clearing.pk]))


def test_cleared_pages_are_paginated(operator: Client, monkeypatch):
    monkeypatch.setattr(cleared, "CLEARINGS_PER_PAGE", 2)
    monkeypatch.setattr(cleared, "THREADS_PER_PAGE", 2)
    ids = ["a", "b", "c", "d", "e"]
    add_completed(*ids)
    clearing = lifecycle.clear(ids, BY)
    for _ in range(4):
        lifecycle.clear([], BY)

    assert walk(operator, reverse("cleared"), "before", "clearings") == [5, 4, 3, 2, 1]
    address = reverse("clearing", args=[clearing.pk])
    assert walk(operator, address, "after", "rows") == ids
    rows = operator.get(f"{address}?fate={Fate.KEPT}").context["rows"]
    assert rows == []


def walk(client: Client, address: str, key: str, name: str) -> list[object]:
    entries: list[object] = []
    first = Clearing.objects.earliest("pk").pk - 1
    query: str | None = ""
    while query is not None:
        context = client.get(address + query).context
        for entry in context[name]:
            entries.append(entry.pk - first if name == "clearings" else entry[0].thread_id)
        query = f"?{key}={context['older']}" if context["older"] else None
    return entries


def test_confirmation_shows_a_silent_thread_as_stalled(operator: Client):
    task(status="running", updated_at="2026-01-01T00:00:00+00:00")

    content = operator.get(thread_url("clear", "telegram_42")).content.decode()

    assert "status-stalled" in content and "status-running" not in content
    assert "This thread is stalled." in content


def test_list_confirmation_and_admin_count_the_same_states(admin_client: Client):
    old = "2026-01-01T00:00:00+00:00"
    service.save_snapshot(snapshot(task_id="fresh", thread_id="fresh"))
    task("silent", updated_at=old)
    task("left", thread_id="over", updated_at=old)  # the thread's latest task is another
    task("over", status="completed", updated_at="2026-01-02T00:00:00+00:00")

    states = admin_client.get("/").context["states"]
    confirmation = admin_client.post("/clear/", {"all": "1"}, follow=True).content.decode()

    assert {s.name: s.count for s in states if s.count != "0"} == {
        **{"": "3", "running": "1", "stalled": "1", "completed": "1"}
    }
    assert "including <b>1 running and 1 stalled</b>" in confirmation
    assert "status-stalled" in confirmation
    for name, ids in {"running": ["fresh"], "stalled": ["silent"], "completed": ["over"]}.items():
        page = admin_client.get(f"/admin/tasks/taskrecord/?status={name}")
        listed = [record.thread_id for record in page.context["cl"].result_list]
        assert listed[: len(ids)] == ids, name
        assert f"badge status-{name}" in page.content.decode()


@pytest.mark.parametrize(("running", "idle"), [(0, None), (1, "2 threads"), (2, "1 thread")])
def test_button_counts_threads_without_running_ones(
    operator: Client, running: int, idle: str | None
):
    for number in range(3):
        task(f"t{number}", status="running" if number < running else "completed")
    content = operator.post("/clear/", {"all": "1"}, follow=True).content.decode()

    match = re.search(r'class="without-running">([^<]*)<', content)
    assert (match and match[1]) == idle
