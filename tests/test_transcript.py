"""A history as a person reads it."""

from tasks import transcript
from tasks.messages import ChatMessage
from tasks.models import TaskRecord


def test_resumable_turns_are_what_the_agent_would_get():
    record = TaskRecord(resumable_history_json='[["user","hi"],["assistant","<tool></tool>"]]')

    assert transcript.Thread(record).resumable_turns == [ChatMessage("user", "hi")]
