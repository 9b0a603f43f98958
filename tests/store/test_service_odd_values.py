"""Tests that unusual values are stored exactly or refused with an error that names the field."""

import random
import string
import tracemalloc

import msgspec
import pytest
from django.test import Client

from tasks import service
from tasks.addresses import thread_url
from tasks.models import TaskCheckpoint, TaskRecord
from tasks.service import ChatMessage, TaskCheckpointUpdate, TaskSnapshot
from tests.support.factories import (
    history,
    item,
    loaded,
    only_postgresql,
    only_sqlite,
    rows,
    snapshot,
    task,
    update,
)

pytestmark = pytest.mark.django_db(databases="__all__")

MB = 1_000_000
# Random text, which PostgreSQL cannot compress to the 2,704 bytes that an index entry can hold.
_ANY = random.Random(1)  # noqa: S311 (seeded to make failures reproducible)
INCOMPRESSIBLE = "".join(_ANY.choices(string.printable, k=9_000))
CONTROLS = "".join(map(chr, [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0xFEFF, 0xFFFF]))
IDS = {
    "empty": "",
    "9 KB": "x" * 9_000,
    "quotes": "'\"`\\''; --",
    "newlines": "a\nb\r\nc\u2028d",
    "right to left": "\u202eevil\u200f\u05d0\u202c",
    "control characters": CONTROLS[1:],
    "placeholders": "%s %(x)s ? :x $1 {}",
    "any plane": "e\u0301 🦉 \U0010ffff",
}


@pytest.mark.parametrize("id_", list(IDS.values()), ids=list(IDS))
def test_any_id_is_distinct(store, id_: str):
    for neighbour in (id_ + " ", id_.upper() + "X"):
        service.record_checkpoint(update(task_id=neighbour, thread_id=neighbour))
    service.save_snapshot(snapshot(task_id=id_, thread_id=id_))
    service.record_checkpoint(update(task_id=id_, thread_id=id_))

    record = loaded(id_)
    assert (record.task_id, record.thread_id, len(record.checkpoints)) == (id_, id_, 1)
    assert service.load_resumable_state(id_) is not None
    service.delete_by_thread_id(id_)
    assert service.load_by_thread_id(id_) is None
    assert (len(rows(store, "task_records")), len(rows(store, "task_checkpoints"))) == (2, 2)


@only_sqlite
def test_long_ids_are_stored_on_sqlite(store):
    service.record_checkpoint(update(task_id=INCOMPRESSIBLE, thread_id=INCOMPRESSIBLE))

    assert loaded(INCOMPRESSIBLE).task_id == INCOMPRESSIBLE


@only_postgresql
@pytest.mark.parametrize("field", ["task_id", "thread_id"])
@pytest.mark.parametrize("is_known", [False, True])
@pytest.mark.parametrize("length", [3_300, 7_000, 9_000])
def test_id_too_long_for_postgresql_is_refused_with_its_name(
    store, field: str, is_known: bool, length: int
):
    too_long = INCOMPRESSIBLE[:length]
    subject = field if length < 8_000 else "task_id or thread_id"
    if is_known:
        service.save_snapshot(snapshot())
    before = rows(store, "task_records")
    for write in (
        lambda: service.save_snapshot(snapshot(**{field: too_long})),
        lambda: service.record_checkpoint(update(**{field: too_long})),
    ):
        with pytest.raises(ValueError, match=f"^{subject} is too long for PostgreSQL: an index"):
            write()

    assert rows(store, "task_records") == before
    assert service.load_by_thread_id(too_long) is None
    service.delete_by_thread_id(too_long)


def test_control_characters_survive_in_every_text(store):
    text = CONTROLS if store.vendor == "sqlite" else CONTROLS[1:]  # PostgreSQL cannot store NUL
    fields = dict.fromkeys(("channel", "provider", "model"), text)
    messages = [ChatMessage(CONTROLS, CONTROLS)]
    items = [item(tool_name=CONTROLS, output=CONTROLS, arguments={CONTROLS: [CONTROLS]})]

    service.record_checkpoint(
        update(**fields, execution_history=messages, items=items, checkpoint_note=text)
    )
    step = loaded()
    service.save_snapshot(
        snapshot(
            **fields,
            execution_history=messages,
            resumable_history=messages,
            latest_checkpoint_note=text,
            final_response=text,
            last_error=text,
        )
    )
    whole = loaded()

    assert (step.checkpoints[0].items, step.checkpoints[0].checkpoint_note) == (items, text)
    assert whole.execution_history == whole.resumable_history == messages
    texts = (whole.channel, whole.model, whole.latest_checkpoint_note, whole.final_response)
    assert {*texts, whole.provider, whole.last_error} == {text}


@only_sqlite
def test_history_of_100_mb_round_trips_in_a_few_times_its_size(store):
    messages = history(*["x" * (10 * MB)] * 10)
    tracemalloc.start()
    try:
        service.save_snapshot(
            snapshot(execution_history=messages, resumable_history=history("hi", "there"))
        )
        _, peak_of_write = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        loaded_history = loaded().execution_history
        _, peak_of_read = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert loaded_history == messages
    assert peak_of_write < 350 * MB
    assert peak_of_read < 350 * MB


def test_task_of_10_000_checkpoints_is_loaded_whole_and_displayed_in_pages(store, viewer: Client):
    record = task(checkpoint_count=9_999)
    TaskCheckpoint.objects.bulk_create(
        TaskCheckpoint(task=record, step_index=step, items_json="[]", created_at=record.created_at)
        for step in reversed(range(9_999))
    )

    service.record_checkpoint(update(step_index=9_999))

    loaded_task = loaded()
    assert loaded_task.checkpoint_count == 10_000
    assert [step.step_index for step in loaded_task.checkpoints] == list(range(10_000))
    page = viewer.get(thread_url("thread", "telegram_42", steps=100))
    assert page.status_code == 200
    assert len(page.content) < MB
    service.delete_by_thread_id("telegram_42")
    assert (TaskRecord.objects.count(), TaskCheckpoint.objects.count()) == (0, 0)


@pytest.mark.parametrize("type_", [TaskSnapshot, TaskCheckpointUpdate])
def test_missing_field_is_named_on_construction(type_: type):
    struct = snapshot() if type_ is TaskSnapshot else update()
    fields = msgspec.structs.asdict(struct)
    required = [field.name for field in msgspec.structs.fields(type_) if field.required]

    assert len(required) >= 8
    for name in required:
        rest = {key: value for key, value in fields.items() if key != name}
        with pytest.raises(TypeError, match=name):
            type_(**rest)
        with pytest.raises(msgspec.ValidationError, match=f"missing required field `{name}`"):
            msgspec.convert(msgspec.to_builtins(rest), type_)
