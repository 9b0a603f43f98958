"""Fills the store and the site database so that every field holds an attack payload."""

import json
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, cycle
from typing import Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from archive.models import (
    ClearedThread,
    Clearing,
    Fate,
    Reveal,
    Source,
    Stage,
    ThreadArchive,
    digest,
)
from tasks.models import TaskRecord
from tasks.store import thread_rows, workspace
from tasks.store.workspace import store_connection
from tests.support import payloads
from tests.support.factories import TABLES

Text = Callable[[], str]  # a function that returns the text for the next field
STATUSES = ("failed", "running", "completed", "timed_out")


def history(text: str) -> list[dict[str, str]]:
    """Return a history with the text in every field and with both kinds of tool calls."""
    return _history(lambda: text)


def _history(text: Text) -> list[dict[str, str]]:
    call_id, tool_name = text(), text()
    native = {
        "content": text(),
        "reasoning_content": text(),
        "tool_calls": [
            {"id": call_id, "name": text(), "arguments": json.dumps(_arguments(text))},
            {"id": f"{call_id}2", "name": "shell", "arguments": text()},
        ],
    }
    messages = [
        ("user", text()),
        ("system", text()),
        ("assistant", text() + tag_call(tool_name, {**_arguments(text), text(): [text(), {}]})),
        (
            "user",
            f'[Tool results]\n<tool_result name="{tool_name}">\n{text()}\n</tool_result>{text()}',
        ),
        ("assistant", tag_call(text(), {"path": text(), "old": text(), "new": f"{text()}\n2"})),
        ("assistant", tag_call(text(), {"path": f"{text()}.html", "content": text()})),
        ("assistant", tag_call("shell", text()) + f"<tool>{text()}"),
        ("assistant", json.dumps(native, ensure_ascii=False)),
        ("tool", json.dumps({"tool_call_id": call_id, "content": text()}, ensure_ascii=False)),
        ("tool", text()),
        ("assistant", text()),
        (text(), text()),
    ]
    return [{"role": role, "content": content} for role, content in messages]


def _arguments(text: Text) -> dict[str, Any]:
    return {text(): {text(): text()}, "command": text()}


def tag_call(name: str, arguments: Any) -> str:
    call = {"name": name, "arguments": arguments}
    return f"<tool_call>{json.dumps(call, ensure_ascii=False)}</tool_call>"


def thread_id_of(text: str, number: int) -> str:
    """Return a thread id: the text, followed by the number if the number is even."""
    return text if number % 2 else f"{text} {number}"


def task_row(text: str, number: int) -> dict[str, Any]:
    """Return a task row with the text in all columns. For some numbers, one history is not JSON."""
    return _task_row(lambda: text, text, number)


def _task_row(text: Text, id_: str, number: int) -> dict[str, Any]:
    history_json = json.dumps(_history(text), ensure_ascii=False, separators=(",", ":"))
    moment = f"2026-01-01T00:{number // 60 % 60:02}:{number % 60:02}+00:00"
    is_odd = number % 4 == 0
    return {
        "task_id": f"{id_} {number}",
        "thread_id": thread_id_of(id_, number),
        "channel": text(),
        "provider": text(),
        "model": text(),
        "status": text() if is_odd else STATUSES[number % 4],
        "execution_history_json": text() if number % 5 == 3 else history_json,
        "resumable_history_json": text() if number % 5 == 4 else history_json,
        "latest_checkpoint_note": text(),
        "checkpoint_count": 4,
        "final_response": text(),
        "last_error": f"{text()}\n{text()}" if number % 2 else text(),
        "created_at": text() if is_odd else moment,
        "updated_at": text() if number % 8 == 0 else moment,
        "completed_at": text(),
    }


def checkpoint_rows(text: str, task: dict[str, Any], number: int) -> Iterator[dict[str, Any]]:
    return _checkpoint_rows(lambda: text, task, number)


def _checkpoint_rows(text: Text, task: dict[str, Any], number: int) -> Iterator[dict[str, Any]]:
    tool = text()
    for step in (1, 2, 3, 4):
        items = [
            {
                "tool_name": tool,
                "arguments": {text(): f"{text()}{step}", "command": text()},
                "success": step != 2,
                "output": text(),
            },
            {
                "tool_name": f"{text()}{step}",
                "arguments": text(),
                "success": True,
                "output": text(),
            },
        ][: 2 if step < 3 else 1]  # steps 3 and 4 have one item each so that pages compare them
        stored = json.dumps(items, ensure_ascii=False, separators=(",", ":"))
        yield {
            "task_id": task["task_id"],
            "step_index": step,
            "checkpoint_note": f"{text()}\n{step}",
            "items_json": text() if number % 5 == 3 and step == 2 else stored,
            "created_at": text() if step == 3 else task["created_at"],
        }


def fill_store(store: BaseDatabaseWrapper, texts: Iterable[str]) -> None:
    """Add one thread per given text to the store, without using the verbs."""
    for number, text in enumerate(_storable(store, texts)):
        _insert_thread(store, partial(str, text), text, number)


def fill_mixed(store: BaseDatabaseWrapper, texts: Iterable[str], threads: int) -> None:
    """Add threads and fill each field with the next of the given texts, cycling through them."""
    turns = cycle(_storable(store, texts))
    for number in range(threads):
        _insert_thread(store, partial(next, turns), next(turns), number)


def _storable(store: BaseDatabaseWrapper, texts: Iterable[str]) -> Iterable[str]:
    if store.vendor == "postgresql":
        return [text.replace("\0", "\ufffd") for text in texts]  # PostgreSQL cannot store NUL
    return texts


def _insert_thread(store: BaseDatabaseWrapper, text: Text, id_: str, number: int) -> None:
    task = _task_row(text, id_, number)
    insert(store, "task_records", task)
    for row in _checkpoint_rows(text, task, number):
        insert(store, "task_checkpoints", row)


def fill_huge(store: BaseDatabaseWrapper, texts: list[str]) -> None:
    """Add one thread per large text, with that text in every field that can be large."""
    for number, text in enumerate(texts):
        messages = [{"role": role, "content": text} for role in ("user", "assistant", "tool")]
        item = {"tool_name": "shell", "arguments": {"command": text}, "success": False}
        large = dict.fromkeys(("last_error", "final_response", "latest_checkpoint_note"), text)
        task = task_row(f"huge {number}", 1) | large
        task["thread_id"] = task["task_id"] = f"huge {number}"
        task["execution_history_json"] = task["resumable_history_json"] = json.dumps(messages)
        insert(store, "task_records", task)
        [row, *_] = checkpoint_rows(text[:1000], task, 1)
        items = json.dumps([item | {"output": text}])
        insert(store, "task_checkpoints", row | {"items_json": items})


def fill_together(store: BaseDatabaseWrapper, kinds: list[list[str]]) -> None:
    """Add a thread with all texts: each long field joins many texts, each short field holds one."""
    messages: list[dict[str, str]] = []
    task = task_row("together", 1) | {"task_id": "together", "thread_id": "together"}
    steps = []
    for step, texts in enumerate(kinds, 1):
        together = "\n\n".join(texts)
        calls = [
            {"id": text, "name": text, "arguments": json.dumps({text: text})} for text in texts
        ]
        native = {"content": together, "reasoning_content": together, "tool_calls": calls}
        messages += history(together)
        messages.append({"role": "assistant", "content": json.dumps(native)})
        items = [
            {"tool_name": text, "arguments": {text: text}, "success": False, "output": text}
            for text in texts
        ]
        [row, *_] = checkpoint_rows(together, task, 1)
        steps.append(row | {"step_index": step, "items_json": json.dumps(items)})
    long_texts = dict.fromkeys(
        ("last_error", "final_response", "latest_checkpoint_note"), "\n\n".join(chain(*kinds))
    )
    histories = {
        "execution_history_json": json.dumps(messages),
        "resumable_history_json": json.dumps(messages[::5]),
    }
    insert(store, "task_records", task | long_texts | histories)
    for row in steps:
        insert(store, "task_checkpoints", row)


def insert(store: BaseDatabaseWrapper, table: str, row: dict[str, Any]) -> None:
    columns = [column for column in TABLES[table] if column in row]
    placeholders = ", ".join(["%s"] * len(columns))
    with store.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({placeholders})",
            [row[column] for column in columns],
        )


def fill_site(text: str, texts: list[str]) -> None:
    """Fill the site database with an administrator, groups, log entries, clearings and reveals."""
    user = User.objects.filter(is_superuser=True).first() or User(is_superuser=True, is_staff=True)
    user.username, user.first_name, user.email = text[:150], text[:150], text[:254]
    user.save()
    for number, payload in enumerate(texts[:20]):
        Group.objects.get_or_create(name=f"{payload[:140]}{number}")
    content_type = ContentType.objects.get_for_model(TaskRecord)
    for payload in texts[:20]:
        LogEntry.objects.create(
            user=user,
            content_type=content_type,
            object_id=payload,
            object_repr=payload[:200],
            action_flag=CHANGE,
            change_message=payload,
        )
    _fill_clearings(user, texts)
    for payload in texts:
        Reveal.objects.create(
            store=workspace.identity(),
            stored_id=payload.encode(),
            user=user,
            user_name=payload,
            address=payload,
            until=timezone.now(),
        )


def _fill_clearings(user: User, texts: list[str]) -> None:
    stages = (Stage.DONE, Stage.FAILED, Stage.CANCELLED)
    for number, text in enumerate(texts):
        clearing = Clearing.objects.create(
            store=workspace.identity(),
            stage=stages[number % 3],
            user=user,
            user_name=text,
            source=Source.LIST,
            address=text,
            reason=text,
            filter=text,
            error=text,
            planned=3,
            cleared=2,
            kept=1,
        )
        for fate in (Fate.CLEARED, Fate.KEPT, Fate.PLANNED):
            ClearedThread.objects.create(
                clearing=clearing,
                key=digest(text),
                stored_id=text.encode(),
                title=text if fate != Fate.KEPT else "",
                status=text,
                fingerprint="x",
                active=text,
                fate=fate,
                why=text,
            )


def fill(host: str) -> None:
    """Fill both databases with attack payloads. Payloads that send requests send them to `host`."""
    aimed = partial(payloads.aimed, host=host)
    store = store_connection()
    with transaction.atomic(using=store.alias):
        fill_store(store, [*map(aimed, payloads.ALL)])
        fill_huge(store, [*map(aimed, payloads.HUGE)])
        fill_together(store, [[*map(aimed, kind)] for kind in payloads.KINDS.values()])
    fill_site(aimed(payloads.POLYGLOTS[1]), [aimed(text) for text in payloads.ALL[::6]])
    data = thread_rows.pack(thread_rows.read(aimed(payloads.ALL[9])))
    for thread in ClearedThread.objects.filter(fate=Fate.CLEARED):
        ThreadArchive.objects.create(thread=thread, data=data)
