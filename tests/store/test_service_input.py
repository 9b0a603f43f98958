"""Tests that verbs given invalid input name the field in the error and write nothing."""

import math
from typing import Any

import msgspec
import pytest
from django.test.utils import CaptureQueriesContext

from tasks import service
from tasks.messages import ChatMessage, ExecutionCheckpointItem
from tasks.models import TaskStatus
from tests.support.factories import (
    history,
    item,
    loaded,
    rows,
    snapshot,
    update,
)

pytestmark = pytest.mark.django_db(databases="__all__")


class MoreThanAMessage(ChatMessage):
    more: str


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    return value


TEXTS = ["task_id", "thread_id", "channel", "provider", "model"]
WRONG_TEXT = [(name, value) for name in TEXTS for value in (1, None, b"x", "\ud800")]
WRONG_HISTORY: list[Any] = [
    (None, TypeError),
    ("", TypeError),
    ({}, TypeError),
    (iter(()), TypeError),
    ([{"role": "user", "content": "x"}], TypeError),
    ([MoreThanAMessage("user", "x", "y")], TypeError),
    ([ChatMessage(1, "x")], TypeError),  # type: ignore[arg-type]
    ([ChatMessage("user", None)], TypeError),  # type: ignore[arg-type]
    ([ChatMessage("user", "\ud800")], ValueError),
    ([ChatMessage("\udfff", "x")], ValueError),
]
WRONG_ITEMS: list[Any] = [
    (None, TypeError),
    ({}, TypeError),
    (iter(()), TypeError),
    ([{}], TypeError),
    ([item(tool_name=None)], TypeError),
    ([item(success=1)], TypeError),
    ([item(output=b"ok")], TypeError),
    ([item(output="\ud800")], ValueError),
    ([item(arguments="\ud800")], ValueError),
    ([item(arguments={"\ud800": 1})], ValueError),
    ([item(arguments=math.nan)], ValueError),
    ([item(arguments=[math.inf])], ValueError),
    ([item(arguments={"x": 10**400})], ValueError),
    ([item(arguments=nested(126))], ValueError),
    ([item(arguments=nested(5000))], ValueError),
    ([item(arguments={1: "x"})], TypeError),
    ([item(arguments={"x": {None: 1}})], TypeError),
    ([item(arguments={"x": {1, 2}})], TypeError),
    ([item(arguments=b"x")], TypeError),
    ([item(), item(arguments=ExecutionCheckpointItem)], TypeError),
]


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        *((name, value, (TypeError, ValueError)) for name, value in WRONG_TEXT),
        ("latest_checkpoint_note", 5, TypeError),
        ("final_response", b"done", TypeError),
        ("last_error", ["boom"], TypeError),
        ("last_error", "\ud800", ValueError),
        ("status", "paused", ValueError),
        ("status", "COMPLETED", ValueError),
        ("status", None, (TypeError, ValueError)),
        *(("execution_history", value, error) for value, error in WRONG_HISTORY),
        *(("resumable_history", value, error) for value, error in WRONG_HISTORY),
    ],
)
def test_save_snapshot_refuses_wrong_input_and_names_the_field(store, field, value, error):
    invalid = snapshot(**{field: value})
    assert_refused(store, lambda: service.save_snapshot(invalid), field, error)


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        *((name, value, (TypeError, ValueError)) for name, value in WRONG_TEXT),
        ("checkpoint_note", 5, TypeError),
        ("checkpoint_note", "\ud800", ValueError),
        ("step_index", -1, ValueError),
        ("step_index", 2**63, ValueError),
        ("step_index", 1.0, TypeError),
        ("step_index", True, TypeError),
        ("step_index", "1", TypeError),
        ("step_index", None, TypeError),
        *(("execution_history", value, error) for value, error in WRONG_HISTORY),
        *(("items", value, error) for value, error in WRONG_ITEMS),
    ],
)
def test_record_checkpoint_refuses_wrong_input_and_names_the_field(store, field, value, error):
    invalid = update(**{field: value})
    assert_refused(store, lambda: service.record_checkpoint(invalid), field, error)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: service.save_snapshot(snapshot(status="paused")),
            "status must be one of running, completed, failed, cancelled, timed_out, not 'paused'",
        ),
        (
            lambda: service.save_snapshot(snapshot(model=None)),
            "model must be str, not NoneType",
        ),
        (
            lambda: service.save_snapshot(snapshot(last_error="\ud800")),
            "last_error: a lone surrogate is not text that UTF-8 can hold",
        ),
        (
            lambda: service.record_checkpoint(update(step_index="1")),
            "step_index must be int, not str",
        ),
        (
            lambda: service.record_checkpoint(update(step_index=-1)),
            "step_index must be from 0 to 9223372036854775807, not -1",
        ),
    ],
)
def test_error_names_the_valid_values(call, message):
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    assert str(caught.value) == message


@pytest.mark.parametrize("value", [snapshot(), update()], ids=["snapshot", "update"])
def test_fields_are_keyword_only(value):
    with pytest.raises(TypeError, match="positional"):
        type(value)(*msgspec.structs.astuple(value))


def assert_refused(store, call, field, error):
    with pytest.raises(error, match=rf"^{field}\b"), CaptureQueriesContext(store) as captured:
        call()
    assert captured.captured_queries == []
    assert rows(store, "task_records") == rows(store, "task_checkpoints") == []


def test_record_checkpoint_accepts_the_largest_step_and_the_deepest_arguments(store):
    service.record_checkpoint(
        update(step_index=2**63 - 1, items=[item(arguments=nested(125), output="\0")])
    )
    [step] = loaded().checkpoints
    assert (step.step_index, step.items) == (
        2**63 - 1,
        [item(arguments=nested(125), output="\0")],
    )


def test_text_with_a_nul_is_written(store):
    text = {"sqlite": "a\0b", "postgresql": "a\ufffdb"}[store.vendor]
    messages = history("a\0b")
    texts = ("thread_id", "channel", "provider", "model")
    fields = {
        **dict.fromkeys(texts, "a\0b"),
        "execution_history": messages,
        "resumable_history": messages,
    }
    notes = dict.fromkeys(("latest_checkpoint_note", "final_response", "last_error"), "a\0b")

    service.record_checkpoint(
        update(task_id="a\0b", thread_id="a\0b", checkpoint_note="a\0b", items=[item(output="\0")])
    )
    service.save_snapshot(snapshot(task_id="a\0b", status=TaskStatus.FAILED, **fields, **notes))

    stored = loaded("a\0b")
    assert {getattr(stored, name) for name in ("task_id", *texts, *notes)} == {text}
    assert stored.execution_history == stored.resumable_history == messages
    assert [(step.checkpoint_note, step.items[0].output) for step in stored.checkpoints] == [
        (text, "\0")
    ]
    assert service.load_resumable_state("a\0b") == (messages, text)
    service.delete_by_thread_id("a\0b")
    assert rows(store, "task_records") == rows(store, "task_checkpoints") == []


@pytest.mark.parametrize(
    "verb",
    [service.load_by_thread_id, service.load_resumable_state, service.delete_by_thread_id],
)
@pytest.mark.parametrize(
    ("thread_id", "error"),
    [(5, TypeError), (None, TypeError), (b"5", TypeError), ("\ud800", ValueError)],
)
def test_verbs_refuse_an_invalid_thread_id(store, verb, thread_id, error):
    service.save_snapshot(snapshot(task_id="5", thread_id="5"))
    with pytest.raises(error, match=r"^thread_id\b"):
        verb(thread_id)
    assert loaded("5").task_id == "5"
