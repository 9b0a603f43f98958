"""Tests of export to JSON, JSON Lines, Markdown and ATIF."""

import json
import re
import tracemalloc
from typing import Any

import pytest
from django.http import StreamingHttpResponse
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tasks import demo, service
from tasks.addresses import thread_url
from tasks.messages import ChatMessage, encode_history, encode_items
from tasks.models import HISTORY_COLUMNS, TaskCheckpoint, TaskRecord
from tasks.store import workspace
from tasks.transcript import export, export_atif
from tests.support.factories import (
    checkpoint,
    data,
    history,
    item,
    only_sqlite,
    overwrite,
    rows,
    snapshot,
    task,
    update,
)

pytestmark = pytest.mark.django_db(databases="__all__")

CALL = '<tool_call>{"name":"shell","arguments":{"command":"ls"}}</tool_call>'
RESULT = '[Tool results]\n<tool_result name="shell" status="ok">\na.py\n</tool_result>'


def fetch(client: Client, format: str, thread_id: str = "telegram_42") -> StreamingHttpResponse:
    response = client.get(thread_url("export", thread_id, format=format))
    assert isinstance(response, StreamingHttpResponse), response.status_code
    return response


def body(response: StreamingHttpResponse) -> str:
    return b"".join(response).decode()


def assert_is_atif(document: Any) -> None:
    """Assert that a document follows all known rules of ATIF v1.4."""
    assert document["schema_version"] == "ATIF-v1.4"
    assert isinstance(document["session_id"], str)
    assert document.keys() <= {
        *("schema_version", "session_id", "agent", "steps"),
        *("notes", "final_metrics", "extra"),
    }
    agent = document["agent"]
    assert agent.keys() <= {"name", "version", "model_name", "extra"}
    assert isinstance(agent["name"], str) and isinstance(agent["version"], str)
    assert isinstance(agent.get("model_name", ""), str)
    assert isinstance(document.get("notes", ""), str)
    assert isinstance(document.get("final_metrics", {}), dict)
    assert isinstance(document.get("extra", {}), dict)
    assert [step["step_id"] for step in document["steps"]] == [
        n for n, _ in enumerate(document["steps"], start=1)
    ]
    ids: list[str] = []
    for step in document["steps"]:
        assert_is_atif_step(step, ids)
    assert len(ids) == len(set(ids))


def assert_is_atif_step(step: Any, ids: list[str]) -> None:
    common = {"step_id", "source", "message", "timestamp", "observation", "extra"}
    only_agent = {"model_name", "reasoning_content", "tool_calls", "metrics"}
    assert step["source"] in ("system", "user", "agent")
    assert step.keys() <= (common | only_agent if step["source"] == "agent" else common)
    assert isinstance(step["message"], str)
    assert isinstance(step.get("reasoning_content", ""), str)
    own = [call["tool_call_id"] for call in step.get("tool_calls", [])]
    ids += own
    for call in step.get("tool_calls", []):
        assert call.keys() == {"tool_call_id", "function_name", "arguments"}
        assert isinstance(call["tool_call_id"], str) and isinstance(call["function_name"], str)
        assert isinstance(call["arguments"], dict)
    assert step.get("observation", {"results": []}).keys() == {"results"}
    for result in step.get("observation", {"results": []})["results"]:
        assert result.keys() == {"source_call_id", "content"}
        assert result["source_call_id"] in (*own, None)
        assert isinstance(result["content"], str)


def trajectory(*messages: tuple[str, str], **fields: Any) -> Any:
    """Export a task with these messages as ATIF, and return the decoded trajectory."""
    history_json = encode_history([ChatMessage(*message) for message in messages], "history")
    record = task(execution_history_json=history_json, **fields)
    return json.loads(b"".join(export.as_atif([record])))


@pytest.mark.parametrize(
    ("format", "content_type", "name"),
    [
        ("json", "application/json", "gloamy-telegram_42.json"),
        ("jsonl", "application/jsonl", "gloamy-telegram_42.jsonl"),
        ("md", "text/markdown; charset=utf-8", "gloamy-telegram_42.md"),
        ("atif", "application/json", "gloamy-telegram_42.atif.json"),
    ],
)
def test_export_is_a_download(viewer: Client, format: str, content_type: str, name: str):
    service.record_checkpoint(update())

    headers = fetch(viewer, format).headers

    assert headers["Content-Type"] == content_type
    assert headers["Content-Disposition"] == f'attachment; filename="{name}"'
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "no-store" in headers["Cache-Control"]


@pytest.mark.parametrize(
    ("thread_id", "name"),
    [
        ("../../etc/passwd", "gloamy-etc-passwd.json"),
        ('a"; filename=evil.exe; x="', "gloamy-a-filename-evil.exe-x.json"),
        ("matrix_@ops:example.org", "gloamy-matrix_-ops-example.org.json"),
        ("a\r\nSet-Cookie: x", "gloamy-a-Set-Cookie-x.json"),
        ("\u202egnp.exe", "gloamy-gnp.exe.json"),
        ("Küche/Zürich 日本", "gloamy-Küche-Zürich-日本.json"),
        ("", "gloamy-thread.json"),
        ("...", "gloamy-thread.json"),
        ("cli_ghp_" + "a1B2c3D4e5F6" * 3, "gloamy-cli_-masked.json"),
    ],
)
def test_file_name_is_safe(thread_id: str, name: str):
    assert export.file_name(thread_id, "json") == name


@given(st.text())
def test_any_file_name_is_safe(thread_id: str):
    name = export.file_name(thread_id, "json")
    assert re.fullmatch(r"gloamy-[\w-][\w.-]{0,86}\.json", name)
    assert len(name.encode()) <= 255


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        ("?format=json", 400),
        ("?id=telegram_42", 400),
        ("?id=telegram_42&format=exe", 400),
        ("?id=none&format=json", 404),
        ("?id=%00&format=json", 404),
    ],
)
def test_invalid_address_is_explained(viewer: Client, query: str, status: int):
    task()

    response = viewer.get(f"/thread/export/{query}")

    assert (response.status_code, bool(response.context["reason"])) == (status, True)


def test_export_requires_permission_to_view(client: Client, stranger: Client):
    task()
    address = thread_url("export", "telegram_42", format="json")

    assert (client.get(address).status_code, stranger.get(address).status_code) == (302, 403)


def test_export_refuses_post(viewer: Client):
    assert viewer.post(thread_url("export", "telegram_42", format="json")).status_code == 405


def test_json_has_the_rows_as_stored(viewer: Client, store):
    service.record_checkpoint(update(checkpoint_note="half", items=[item(arguments={"b": 1.50})]))
    service.save_snapshot(snapshot(last_error="é"))

    [exported] = json.loads(body(fetch(viewer, "json")))["tasks"]

    [step] = exported.pop("checkpoints")
    [row], [stored_step] = rows(store, "task_records"), rows(store, "task_checkpoints")
    for column in ("execution_history", "resumable_history"):
        row[column] = json.loads(row.pop(f"{column}_json"))
    stored_step["items"] = json.loads(stored_step.pop("items_json"))
    assert exported == row
    assert step == {name: stored_step[name] for name in step} and "items" in step


def test_json_keeps_numbers_and_order_as_stored(viewer: Client):
    raw = '[{"content":"x","role":"user","more":1.10}]'
    task(execution_history_json=raw)

    assert raw in body(fetch(viewer, "json"))


@pytest.mark.parametrize("column", ["execution_history_json", "items_json"])
def test_json_has_the_text_of_a_corrupt_column(viewer: Client, store, column: str):
    service.record_checkpoint(update())
    table = "task_checkpoints" if column == "items_json" else "task_records"
    overwrite(store, table, column, "[{broken")

    [exported] = json.loads(body(fetch(viewer, "json")))["tasks"]

    row = exported["checkpoints"][0] if column == "items_json" else exported
    assert row[column] == "[{broken" and row[f"{column}_problem"]


def test_json_has_all_tasks_of_the_thread(viewer: Client):
    task("old", thread_id="both", updated_at="2026-01-01T00:00:00+00:00")
    task("new", thread_id="both", updated_at="2026-01-02T00:00:00+00:00")

    exported = json.loads(body(fetch(viewer, "json", "both")))["tasks"]

    assert [row["task_id"] for row in exported] == ["new", "old"]


def test_json_reads_checkpoints_in_batches(viewer: Client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(export, "CHECKPOINT_BATCH", 2)
    record = task()
    for number in range(5):
        checkpoint(record, step_index=number)

    response = fetch(viewer, "json")

    [exported] = json.loads(body(response))["tasks"]
    assert [row["step_index"] for row in exported["checkpoints"]] == [0, 1, 2, 3, 4]


@only_sqlite
@pytest.mark.parametrize("export_format", ["json", "jsonl"])
def test_export_holds_a_large_history_once(store: Any, export_format: str):
    size, messages = 8_000_000, 500
    text = "x" * (size // messages)
    task(execution_history_json=encode_history(history(*[text] * messages), "history"))

    tracemalloc.start()
    try:
        rows = TaskRecord.objects.with_raw_text(*HISTORY_COLUMNS)
        chunks = export.FORMATS[export_format].chunks(list(rows))
        sizes = [len(chunk) for chunk in chunks]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert sum(sizes) > size
    assert max(sizes) <= export.CHUNK_SIZE
    assert peak < 1.5 * size


def test_json_export_holds_few_large_checkpoints_at_a_time():
    size, number = 3_000_000, 8
    record = task()
    for _ in range(number):
        checkpoint(record, items_json=encode_items([item(output="x" * size)], "items"))

    tracemalloc.start()
    try:
        rows = TaskRecord.objects.with_raw_text(*HISTORY_COLUMNS)
        sizes = [len(chunk) for chunk in export.FORMATS["json"].chunks(list(rows))]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert sum(sizes) > size * number
    assert max(sizes) <= export.CHUNK_SIZE
    assert peak < 6 * size


@only_sqlite
def test_json_of_invalid_utf8_is_that_of_its_replaced_text(
    viewer: Client, store: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(store.connection, "text_factory", store.connection.text_factory)
    workspace.replace_invalid_utf8(sender=None, connection=store)
    task()
    half = b'[{"role":"user","content":"' + b"x" * export.CHUNK_SIZE
    with store.cursor() as cursor:
        for column, value in zip(HISTORY_COLUMNS, (half + b'\xe2\x82"}]', b"\xff"), strict=True):
            cursor.execute(f"UPDATE task_records SET {column} = CAST(%s AS TEXT)", [value])

    [exported] = json.loads(body(fetch(viewer, "json")))["tasks"]

    assert exported["execution_history"][0]["content"] == "x" * export.CHUNK_SIZE + "\ufffd"
    assert exported["resumable_history_json"] == "\ufffd"


def test_json_of_a_thread_cleared_during_export_is_valid(
    store: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(export, "CHECKPOINT_BATCH", 1)
    monkeypatch.setattr(export, "CHUNK_SIZE", 20)
    record = task()
    for number in range(3):
        checkpoint(record, step_index=number)

    chunks, start = export.as_json([record]), b""
    while b"step_index" not in start:
        start += next(chunks)
    TaskCheckpoint.objects.all().delete()
    [exported] = json.loads(start + b"".join(chunks))["tasks"]

    assert len(exported["checkpoints"]) == 1


def test_json_lines_have_one_message_each(viewer: Client):
    task(execution_history_json=encode_history(history("do\nit", "done"), "history"))

    lines = [json.loads(line) for line in body(fetch(viewer, "jsonl")).splitlines()]

    assert lines == [
        {"task_id": "telegram_42", "number": 1, "role": "user", "content": "do\nit"},
        {"task_id": "telegram_42", "number": 2, "role": "assistant", "content": "done"},
    ]


def test_json_lines_have_the_text_of_a_corrupt_history(viewer: Client):
    task(execution_history_json="[{broken")

    [line] = body(fetch(viewer, "jsonl")).splitlines()

    assert json.loads(line)["execution_history_json"] == "[{broken"


def test_markdown_document(viewer: Client):
    messages = [("user", "Tidy `up`"), ("assistant", f"I look.\n{CALL}"), ("user", RESULT)]
    history_json = encode_history([ChatMessage(*message) for message in messages], "history")
    task(execution_history_json=history_json, last_error="too ``slow``", final_response="Done.")

    assert body(fetch(viewer, "md")).partition("- Created")[0] == (
        "# Tidy `up`\n\n- Thread: `telegram_42`\n- Task: `telegram_42`\n- Status: `running`\n"
        "- Error: ``` too ``slow`` ```\n- Channel: `telegram`\n- Model: `openai gpt-test`\n"
    )
    assert body(fetch(viewer, "md")).partition("\n## ")[2] == (
        "1. user\n\nTidy `up`\n\n## 2. assistant\n\nI look.\n\n**`shell`**, ok\n\n"
        "```sh\nls\n```\n\n```\na.py\n```\n\n\n## Final response\n\nDone.\n"
    )


def test_markdown_fence_is_longer_than_any_in_the_text(viewer: Client):
    result = RESULT.replace("a.py", "````\nx\n````")
    messages = [ChatMessage("assistant", CALL), ChatMessage("user", result)]
    task(execution_history_json=encode_history(messages, "history"))

    assert "\n`````\n````\nx\n````\n`````\n" in body(fetch(viewer, "md"))


def test_markdown_includes_long_output_in_full(viewer: Client):
    output = "\x1b[31ma line\x1b[0m\n" * 50_000 + "1%\rthe end"
    messages = [ChatMessage("assistant", CALL), ChatMessage("user", RESULT.replace("a.py", output))]
    task(execution_history_json=encode_history(messages, "history"))

    document = body(fetch(viewer, "md"))

    assert document.count("a line\n") == 50_000
    assert document.endswith("\nthe end\n```\n\n")


def test_markdown_has_the_text_of_a_corrupt_history(viewer: Client):
    task(execution_history_json="[{broken")

    assert "```\n[{broken\n```" in body(fetch(viewer, "md"))


def test_atif_results_are_in_the_step_of_their_call():
    document = trajectory(
        ("system", "Be brief."),
        ("user", "Tidy up."),
        ("assistant", f"I look.\n{CALL}"),
        ("user", RESULT),
        ("assistant", "Done."),
    )

    assert_is_atif(document)
    assert document["steps"] == [
        {"step_id": 1, "source": "system", "message": "Be brief.", "extra": {"message": 1}},
        {"step_id": 2, "source": "user", "message": "Tidy up.", "extra": {"message": 2}},
        {
            "step_id": 3,
            "source": "agent",
            "message": "I look.",
            "extra": {"message": 3},
            "tool_calls": [
                {
                    "tool_call_id": "message-3-call-1",
                    "function_name": "shell",
                    "arguments": {"command": "ls"},
                }
            ],
            "observation": {"results": [{"source_call_id": "message-3-call-1", "content": "a.py"}]},
        },
        {"step_id": 4, "source": "agent", "message": "Done.", "extra": {"message": 5}},
    ]


def test_atif_call_ids_are_unique():
    call = {"id": "call_1", "name": "shell", "arguments": "[1]"}
    request = json.dumps({"content": None, "tool_calls": [call, call], "reasoning_content": "Hm."})
    response = json.dumps({"tool_call_id": "call_1", "content": "x"})

    document = trajectory(("assistant", request), ("tool", response), ("assistant", request))

    assert_is_atif(document)
    first, second = document["steps"]
    assert (first["message"], first["reasoning_content"]) == ("", "Hm.")
    assert [call["tool_call_id"] for call in first["tool_calls"] + second["tool_calls"]] == [
        *("call_1", "call_1-2", "call_1-3", "call_1-4")
    ]
    assert first["tool_calls"][0]["arguments"] == {"arguments": [1]}
    assert first["observation"]["results"] == [{"source_call_id": "call_1", "content": "x"}]


def test_atif_keeps_orphaned_results_and_unknown_roles():
    document = trajectory(
        ("tool", "before all"), ("odd", "x"), ("assistant", "<tool>broken"), ("tool", "left")
    )

    assert_is_atif(document)
    steps = [(step["source"], step["message"], step["extra"]) for step in document["steps"]]
    assert steps == [
        ("user", "before all", {"message": 1, "role": "tool"}),
        ("user", "x", {"message": 2, "role": "odd"}),
        ("agent", "<tool>broken", {"message": 3}),
    ]
    assert document["steps"][2]["observation"]["results"] == [
        {"source_call_id": None, "content": "left"}
    ]


def test_atif_includes_task_metadata():
    record = task(status="failed", last_error="slow")
    checkpoint(record, checkpoint_note="half way")

    document = export_atif.trajectory(record)

    assert_is_atif(document)
    extra = document["extra"]
    assert [extra[name] for name in ("status", "error", "provider", "channel")] == [
        *("failed", "slow", "openai", "telegram")
    ]
    assert extra["checkpoint_notes"] == [{"step_index": 1, "note": "half way"}]
    assert document["agent"] == {"name": "gloamy", "version": "unknown", "model_name": "gpt-test"}


def test_atif_of_a_corrupt_history_has_a_note():
    document = json.loads(b"".join(export.as_atif([task(execution_history_json="[{broken")])))

    assert_is_atif(document)
    assert document["notes"].startswith("The history cannot be read")
    assert document["extra"]["execution_history_json"] == "[{broken"


def test_atif_of_every_demo_thread_is_valid():
    demo.fill()

    for record in TaskRecord.objects.all():
        document = json.loads(b"".join(export.as_atif([record])))
        assert_is_atif(document)
        assert document["final_metrics"]["total_steps"] == len(document["steps"])


def test_atif_of_every_odd_history_is_valid():
    for number, vector in enumerate(data("turns.json")):
        chats = [message["data"] for message in vector["history"] if message["type"] == "Chat"]
        messages = [(message["role"], message["content"]) for message in chats]
        assert_is_atif(trajectory(*messages, task_id=f"t{number}"))


IMAGE = "![p](http://example.org/pixel.png)"


@pytest.mark.parametrize(
    "evil",
    [
        IMAGE,
        f"\\\\{IMAGE}",
        f"> {IMAGE}",
        "![p][l]\n\n[l]: http://example.org/pixel.png",
        "[x](javascript:alert(1))",
        "[x](\njavascript:alert(1))",
        "[x][l]\n\n[l]: javascript:alert(1)",
        "<img src=http://example.org/pixel.png>",
        '<meta http-equiv="refresh" content="0">',
        "<javascript:alert(1)>",
        f"```\nunterminated\n~~~\n{IMAGE}",
        f"~~~\n{IMAGE}\n~~~\n{IMAGE}",
        f"- ```\n{IMAGE}",
        f"```\r{IMAGE}\r```\r{IMAGE}",
        f"{'word ' * 5_000}\n{IMAGE}",
    ],
)
def test_markdown_loads_nothing_and_links_only_to_web_pages(viewer: Client, evil: str):
    messages = history(evil, f"first\n```\n{evil}", f"{evil}\n\nlast", f"```\n{evil}\n```")
    task(execution_history_json=encode_history(messages, "history"), final_response=evil)

    reader = MarkdownIt("commonmark", {"html": True})  # a lenient reader: keeps HTML and every link
    reader.validateLink = lambda url: True  # type: ignore[method-assign]
    html = reader.render(body(fetch(viewer, "md")))

    assert re.findall(r"<(?:img|meta|script|iframe)", html) == []
    assert re.findall(r'href="(?!https?:|mailto:)', html) == []


def test_markdown_preserves_code_and_links(viewer: Client):
    content = "see [a](https://example.org) if 1 < 2\n\n```html\n<b>![x](y)</b>\n```\n\nend"
    task(execution_history_json=encode_history(history(content), "history"))

    assert content in body(fetch(viewer, "md"))


@pytest.mark.parametrize(
    "text",
    [
        "\x1b[32mpassword\x1b[0m: \x1b[33mHunter22\x1b[0m",
        "<password>Hunter22</password>",
        "```\npassword: Hunter22\n```",
    ],
)
def test_markdown_is_masked_before_formatting(viewer: Client, text: str):
    messages = history(text, text, f"[Tool results]\n<tool_result>\n{text}\n</tool_result>")
    task(
        execution_history_json=encode_history(messages, "history"),
        final_response=text,
        last_error=text,
    )

    assert "Hunter22" not in body(fetch(viewer, "md"))


def test_masked_json_keeps_what_follows_a_secret(viewer: Client):
    arguments = '{"rows":[{"id":1,"password":83412977},true,{"password":true},5]}'
    masked = json.loads(arguments.replace("83412977", '"[masked]"'))
    call = f'<tool_call>{{"name":"add","arguments":{arguments}}}</tool_call>'
    record = task(execution_history_json=encode_history([ChatMessage("assistant", call)], "x"))
    items = f'[{{"tool_name":"add","arguments":{arguments},"success":true,"output":""}}]'
    checkpoint(record, items_json=items)

    [stored] = json.loads(body(fetch(viewer, "json")))["tasks"]
    [step] = json.loads(body(fetch(viewer, "atif")))["steps"]

    assert stored["checkpoints"][0]["items"][0]["arguments"] == masked
    assert step["tool_calls"][0]["arguments"] == masked
