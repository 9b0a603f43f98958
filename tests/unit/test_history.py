"""A history as a person reads it."""

import pytest

from tasks.messages import ChatMessage
from tasks.models import TaskRecord
from tasks.transcript import history


def test_resumable_turns_are_what_the_agent_would_get():
    record = TaskRecord(resumable_history_json='[["user","hi"],["assistant","<tool></tool>"]]')

    assert history.Thread(record).resumable_turns == [ChatMessage("user", "hi")]


@pytest.mark.parametrize(
    ("note", "line"),
    [
        ("", ""),
        ("\n \n", ""),
        ("half way", "half way"),
        ("## Checkpoint\n\n- Failed steps: shell", "Failed steps: shell"),
        (
            "## Runtime Checkpoint\n\n- Continue from the latest confirmed state. Do not restart"
            " successful steps.\n- Confirmed steps: shell\n",
            "Confirmed steps: shell",
        ),
        ("# Only this", "Only this"),
        ("x" * 300, "x" * 199 + "…"),
    ],
)
def test_note_line_tells_of_the_thread(note, line):
    assert history.note_line(note) == line
