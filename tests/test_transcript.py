"""A history as a person reads it."""

import pytest

from tasks import transcript
from tasks.messages import ChatMessage
from tasks.models import TaskCheckpoint, TaskRecord


@pytest.mark.parametrize(
    ("step_indexes", "expected"),
    [
        ([], []),
        ([1, 2, 3], [1, 1, 1]),
        ([1, 2, 1, 2], [1, 1, 2, 2]),
        ([1, 1, 1], [1, 2, 3]),
        ([5, 9, 0, 7], [1, 1, 2, 2]),
    ],
)
def test_attempts_split_where_the_step_does_not_rise(step_indexes: list[int], expected: list[int]):
    taken = list(enumerate(step_indexes, start=10))

    assert list(transcript.attempts(taken).values()) == expected


def test_step_that_cannot_be_read_says_so():
    [step] = transcript.steps([TaskCheckpoint(id=1, step_index=1, items_json="{")], {1: 1})

    assert (step.items, bool(step.problem), step.raw.whole) == ([], True, "{")


def test_resumable_turns_are_what_the_agent_would_get():
    record = TaskRecord(resumable_history_json='[["user","hi"],["assistant","<tool></tool>"]]')

    assert transcript.Thread(record).resumable_turns == [ChatMessage("user", "hi")]
