"""Tests for reading the turns that an agent needs to resume a stored thread."""

from tasks.messages import ChatMessage
from tasks.models import TaskRecord
from tasks.transcript.history import Thread


def test_resumable_turns_are_what_the_agent_would_get():
    record = TaskRecord(resumable_history_json='[["user","hi"],["assistant","<tool></tool>"]]')

    assert Thread(record).resumable_turns == [ChatMessage("user", "hi")]
