"""Tests of the page on which a cleared thread is read from the archive."""

import html
import re
from typing import Any

import pytest
from django.db import connections
from django.test import Client
from django.urls import reverse

from archive.models import ClearedThread, ThreadArchive
from tasks import service
from tasks.clearing import clear_threads
from tasks.models import TaskCheckpoint, TaskRecord
from tasks.service import TaskStatus
from tasks.views import archived
from tests.support.factories import (
    checkpoint,
    history,
    item,
    only_sqlite,
    overwrite,
    snapshot,
    task,
    update,
)

pytestmark = pytest.mark.django_db(databases="__all__")

CALL = '<tool_call>{"name":"shell","arguments":{"command":"make"}}</tool_call>'
RESULT = '[Tool results]\n<tool_result name="shell">\nit broke\n</tool_result>'
SECRET = "AKIAIOSFODNN7EXAMPLF"


def text(content: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", content)).split())


def cleared(**parameters: Any) -> str:
    """Clear all threads in the store, and return the URL of the first one in the archive."""
    clear_threads(TaskRecord.objects.all(), by="me", reason="", with_running=True)
    thread = ClearedThread.objects.order_by("pk")[0]
    query = "".join(f"&{name}={value}" for name, value in parameters.items())
    return f"{reverse('clearing-thread', args=[thread.clearing_id])}?thread={thread.pk}{query}"


def run() -> None:
    messages = history("go", f"Let me look. {CALL}", RESULT, "done", f"key {SECRET}")
    failed = [item(arguments={"command": "make"}, success=False, output="it broke")]
    note = f"- note {SECRET}"
    step = update(step_index=1, items=failed, execution_history=messages, checkpoint_note=note)
    service.record_checkpoint(step)
    service.record_checkpoint(update(step_index=2, items=[item()], execution_history=messages))
    service.save_snapshot(
        snapshot(
            status=TaskStatus.FAILED,
            execution_history=messages,
            last_error="two\nlines",
            final_response="**sorry**",
        )
    )


def test_cleared_thread_is_read_from_the_archive(operator: Client, store_queries):
    run()
    [first, second] = TaskCheckpoint.objects.order_by("id").values_list("pk", flat=True)
    url = cleared()

    clearing = operator.get(url.partition("thread/")[0]).content.decode()
    with store_queries() as queries:
        transcript = operator.get(url).content.decode()
        steps = operator.get(f"{url}&show=checkpoints").content.decode()
        failed = operator.get(f"{url}&show=checkpoints&failed=1").content.decode()
        raw = operator.get(f"{url}&raw=3")

    assert f'href="{html.escape(url)}"' in clearing
    assert not any("INSERT" in q["sql"] or "UPDATE" in q["sql"] for q in queries)
    assert "Let me look. shell failed" in text(transcript) and "it broke" in transcript
    assert "failed" in text(transcript) and "two lines" in text(transcript)
    assert "<strong>sorry</strong>" in transcript
    assert [steps.count(f'id="step-{number}"') for number in (first, second)] == [1, 1]
    assert [failed.count(f'id="step-{number}"') for number in (first, second)] == [1, 0]
    assert (raw.content.decode(), raw["Content-Type"]) == (RESULT, "text/plain; charset=utf-8")
    assert SECRET not in transcript + steps and "[masked]" in transcript
    assert "/thread/" not in "".join(re.findall(r'href="(/thread/[^"]*)"', transcript + steps))
    ids = re.findall(r'\sid="([^"]*)"', transcript)
    assert len(ids) == len(set(ids))
    step_link = operator.get(f"{url}&to={first}")
    assert step_link["Location"] == f"{url}&step={first}#step-{first}"


def test_cleared_thread_is_read_in_pieces_and_by_task(operator: Client):
    at = "2026-01-01T00:00:00+00:00"
    task("older", thread_id="both", updated_at=at, execution_history_json="[broken")
    messages = ",".join(f'{{"role":"user","content":"message {n}"}}' for n in range(1, 101))
    checkpoint(task("newer", thread_id="both", execution_history_json=f"[{messages}]"))
    url = cleared()

    first = operator.get(url).content.decode()
    piece = operator.get(f"{url}&message=61&piece=later").content.decode()
    older = operator.get(f"{url}&task=1").content.decode()

    assert f'hx-get="{html.escape(url)}&amp;message=61&amp;piece=later"' in first
    assert "message 61" in piece and "<html" not in piece
    assert f'href="{html.escape(url)}&amp;task=1"' in first
    assert "This history cannot be read" in older and "[broken" in older


@only_sqlite
@pytest.mark.parametrize("value", [b"\xff\x00", 7, "oops"])
def test_cleared_thread_with_any_stored_values_is_read(operator: Client, store, value: Any):
    run()
    for column in ("execution_history_json", "status", "created_at", "checkpoint_count"):
        overwrite(connections["tasks"], "task_records", column, value)
    for column in ("items_json", "step_index", "checkpoint_note"):
        overwrite(connections["tasks"], "task_checkpoints", column, value)
    url = cleared()

    for tab in ("transcript", "checkpoints"):
        assert operator.get(f"{url}&show={tab}").status_code == 200


def test_large_cleared_thread_is_not_read(operator: Client, monkeypatch: pytest.MonkeyPatch):
    run()
    url = cleared()
    monkeypatch.setattr(archived, "MAX_SIZE", 10)
    monkeypatch.setattr("tasks.clearing.restoring.archived_rows", pytest.fail)

    content = text(operator.get(url).content.decode())

    assert "too large to display here" in content and "Restore" in content


def test_thread_that_is_not_in_the_archive_is_not_found(operator: Client):
    run()
    url = cleared()
    assert operator.get(f"{url}0").status_code == 404
    assert operator.get(f"{url}&raw=9").status_code == 404

    ThreadArchive.objects.all().delete()

    assert operator.get(url).status_code == 404
