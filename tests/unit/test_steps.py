"""Tests for grouping steps into attempts, and for steps' outcomes, durations and changes."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connections

from tasks.fields import to_text
from tasks.models import TaskCheckpoint, TaskCheckpointQuerySet, TaskRecord
from tasks.transcript import steps
from tasks.transcript.diffs import changed_lines
from tasks.transcript.steps import (
    Step,
    build_outlines,
    build_steps,
    last_attempt_seconds,
    number_attempts,
)
from tests.support.factories import checkpoint, overwrite, task

pytestmark = pytest.mark.django_db(databases="__all__")

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> str:
    return to_text(START + timedelta(seconds=seconds))


def items(*calls: dict[str, Any]) -> str:
    defaults = {"tool_name": "shell", "arguments": {}, "success": True, "output": ""}
    return json.dumps([defaults | call for call in calls], separators=(",", ":"))


@pytest.mark.parametrize(
    ("step_indexes", "expected"),
    [
        ([], []),
        ([1, 2, 3], [1, 1, 1]),
        ([1, 2, 1, 2], [1, 1, 2, 2]),
        ([1, 1, 1], [1, 2, 3]),
        ([5, 9, 0, 7], [1, 1, 2, 2]),
        ([1, "x", 2], [1, 1, 1]),
    ],
)
def test_attempt_begins_where_the_step_number_does_not_rise(
    step_indexes: list[Any], expected: list[int]
):
    pairs = list(enumerate(step_indexes, start=10))

    assert list(number_attempts(pairs).values()) == expected


@pytest.mark.parametrize(
    ("stored", "outcome", "tool", "has_more"),
    [
        (items({"success": True}), "ok", "shell", False),
        (items({"success": False}), "failed", "shell", False),
        (items({"tool_name": "a"}, {"tool_name": "b", "success": False}), "failed", "a", True),
        (items({"tool_name": 'say "ü\n"'}), "ok", 'say "ü\n"', False),
        ("[]", "none", "", False),
        ("[{broken", "unreadable", "", False),
        ("", "unreadable", "", False),
        (items({"output": ',"success":false,"output":'}), "ok", "shell", False),
        (items({"arguments": {"command": ',"success":false,"output":'}}), "ok", "shell", False),
        (items({"arguments": {"command": '"},{"tool_name":"'}}), "ok", "shell", False),
        (items({"tool_name": "x" * 5_000}), "unreadable", "", False),
    ],
)
def test_outline_has_the_outcome_and_the_tool(
    store, stored: str, outcome: str, tool: str, has_more: bool
):
    record = task()
    checkpoint(record, items_json=stored)

    [outline] = build_outlines(record.checkpoints.outline_rows())

    assert (outline.outcome, outline.tool, outline.has_more) == (outcome, tool, has_more)


def test_outlines_take_one_query_without_whole_items(
    store_queries: Callable[[], Any],
):
    record = task()
    for number in range(5):
        checkpoint(record, number, items_json=items({"output": "x" * 10_000}))

    with store_queries() as queries:
        build_outlines(record.checkpoints.outline_rows())

    assert len(queries) == 1
    columns = re.split(r", (?![^(]*\))", queries[0]["sql"].partition(" FROM ")[0])
    assert [column for column in columns if column.endswith('"items_json"')] == []
    assert sum('"items_json"' in column for column in columns) == 4


def test_outlines_of_many_steps_are_those_in_the_store(store, monkeypatch):
    monkeypatch.setattr(steps, "MANY_STEPS", 2)
    record = stored_task(checkpoint_count=3)

    def add(*times: float) -> None:
        for number, seconds in enumerate(times):
            checkpoint(record, number, created_at=at(seconds))

    def assert_are_those_in_the_store() -> None:
        stored = build_outlines(record.checkpoints.outline_rows())
        assert steps.read_outlines(record) == stored

    add(1, 2, 3)
    assert_are_those_in_the_store()
    add(5)
    assert_are_those_in_the_store()
    first, *_, last = record.checkpoints.in_recorded_order()
    first.delete()
    assert_are_those_in_the_store()
    TaskCheckpoint.objects.filter(pk=last.pk).update(created_at=at(4), items_json=items({}))
    assert_are_those_in_the_store()
    record.checkpoints.all().delete()
    assert_are_those_in_the_store()
    add(7, 8)
    assert_are_those_in_the_store()


def test_only_new_ones_of_many_steps_are_read(store, monkeypatch):
    monkeypatch.setattr(steps, "MANY_STEPS", 2)
    record = stored_task(checkpoint_count=2)
    for number in range(2):
        checkpoint(record, number)
    steps.read_outlines(record)
    read: list[TaskCheckpoint] = []

    def outline_rows(rows: TaskCheckpointQuerySet) -> list[Any]:
        read.extend(rows)
        return []

    checkpoint(record, 3)
    monkeypatch.setattr(TaskCheckpointQuerySet, "outline_rows", outline_rows)
    steps.read_outlines(record)

    assert [row.step_index for row in read] == [3]


def stored_task(**fields: Any) -> TaskRecord:
    return TaskRecord.objects.get(pk=task(created_at=at(0), **fields).pk)


def outline_rows(*times: float, **fields: Any):
    """Create a task whose steps end at these seconds; return the step outlines and the task."""
    record = stored_task(**fields)
    for number, seconds in enumerate(times, 1):
        checkpoint(record, number, created_at=at(seconds))
    return build_outlines(record.checkpoints.outline_rows()), record


def test_step_lasts_from_the_previous_checkpoint_to_its_own():
    outlines, _ = outline_rows(4, 10, 9, 30)

    assert [step.seconds for step in outlines] == [None, 6, 0, 21]


def test_first_step_of_each_attempt_has_no_duration():
    record = stored_task()
    for number, seconds in ((1, 5), (2, 9), (1, 50), (2, 57)):
        checkpoint(record, number, created_at=at(seconds))

    outlines = build_outlines(record.checkpoints.outline_rows())

    assert [step.seconds for step in outlines] == [None, 4, None, 7]


@pytest.mark.parametrize(
    ("completed_at", "expected"), [(at(40), 30), (at(20), 20), (None, 20), ("soon", 20)]
)
def test_last_attempt_lasts_to_its_end(completed_at: str | None, expected: float):
    outlines, record = outline_rows(10, 30)
    overwrite(connections["tasks"], "task_records", "completed_at", completed_at)
    record.refresh_from_db()

    assert last_attempt_seconds(outlines, record) == expected


def stepped(*stored: str, notes: tuple[str, ...] = ()) -> list[Step]:
    record = task()
    for number, each in enumerate(stored, 1):
        note = notes[number - 1] if notes else None
        checkpoint(record, number, items_json=each, checkpoint_note=note)
    outlines = build_outlines(record.checkpoints.outline_rows())
    return build_steps(outlines, record.checkpoints.in_bulk())


def test_unreadable_step_has_a_problem_and_its_raw_text():
    [step] = stepped("{")

    assert (step.calls, bool(step.problem), step.raw.whole) == ([], True, "{")


def test_first_step_has_no_changes():
    assert [step.changes is None for step in stepped(items({}), items({}))] == [True, False]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {}, (None, True, "")),
        ({}, {"tool_name": "edit"}, (("shell", "edit"), False, "")),
        ({}, {"success": False}, (None, True, "started failing")),
        ({"success": False}, {"success": False}, (None, True, "failed again")),
        ({"success": False}, {"arguments": {"a": 1}}, (None, False, "recovered")),
    ],
)
def test_changes_name_the_tool_and_the_outcome(before: dict, after: dict, expected: tuple):
    changes = stepped(items(before), items(after))[1].changes

    assert changes is not None
    assert (changes.tools, changes.is_repeat, changes.outcome) == expected


def test_changes_list_the_changed_lines_of_arguments_and_note():
    commands = [items({"arguments": {"command": f"cd src\nmake {target}"}}) for target in "ab"]

    changes = stepped(*commands, notes=("- same\n- old", "- same\n- new"))[1].changes

    assert changes is not None
    assert changes.arguments == [("-", "make a"), ("+", "make b")]
    assert changes.note == [("-", "- old"), ("+", "- new")]


def test_texts_too_long_to_compare_have_no_changed_lines():
    assert changed_lines("x" * 20_000, "y") == []
    assert changed_lines("x\n" * 300, "y\n" * 300) == []


def test_step_after_an_unreadable_one_has_no_change_of_tools():
    _, after = stepped("oops", items({}))

    assert after.changes is not None and after.changes.tools is None
