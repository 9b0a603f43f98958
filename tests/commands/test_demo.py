"""Tests of the demo workspace and its simulated agent."""

import json
import logging
import time
from datetime import UTC, datetime, timedelta

import pytest
from django.db import OperationalError, connections, router
from django.db.models import Count, F, Max, Min

from tasks import demo, service
from tasks.demo import runs
from tasks.demo.outputs import HANDLERS, build_log, colored, progress_bar
from tasks.demo.story import Call, live_stories, stories
from tasks.fields import to_text
from tasks.models import TaskCheckpoint, TaskRecord, TaskStatus
from tasks.service import TaskSnapshot

NOW = datetime(2026, 11, 2, 11, 7, 52, tzinfo=UTC)
THREAD = "cli_interactive:/home/ops/.gloamy/workspace"
CHANNELS = {"cli", "telegram", "discord", "slack", "matrix", "email"}

in_store = pytest.mark.django_db(databases=["default", "tasks"])
in_threads = pytest.mark.django_db(databases=["default", "tasks"], transaction=True)


@in_store
def test_fill_covers_every_status_and_channel():
    assert demo.fill(NOW) == TaskRecord.objects.values("thread_id").distinct().count() == 39
    assert set(TaskRecord.objects.values_list("status", flat=True)) == set(TaskStatus.values)
    assert set(TaskRecord.objects.values_list("channel", flat=True)) == CHANNELS
    assert TaskRecord.objects.values("provider").distinct().count() >= 5


@in_store
def test_fill_does_not_change_a_store_with_tasks():
    demo.fill(NOW)
    before = list(TaskRecord.objects.values_list("task_id", "updated_at").order_by("task_id"))
    assert demo.fill(NOW + timedelta(days=1)) == 0
    assert before == list(
        TaskRecord.objects.values_list("task_id", "updated_at").order_by("task_id")
    )


@in_store
def test_fill_is_deterministic():
    demo.fill(NOW)
    first = list(TaskCheckpoint.objects.values_list("task_id", "created_at", "items_json"))
    TaskRecord.objects.all().delete()
    demo.fill(NOW)
    assert first == list(TaskCheckpoint.objects.values_list("task_id", "created_at", "items_json"))


@in_store
def test_fill_spreads_threads_over_the_last_five_weeks():
    demo.fill(NOW)
    times = TaskRecord.objects.aggregate(first=Min("updated_at"), last=Max("updated_at"))
    assert NOW - timedelta(days=35) < times["first"] < NOW - timedelta(days=28)
    assert NOW - timedelta(minutes=10) < times["last"] <= NOW


@in_store
def test_fill_keeps_times_in_order():
    demo.fill(NOW)
    tasks = TaskRecord.objects.all()
    assert not tasks.filter(created_at__gt=F("updated_at")).exists()
    assert not tasks.exclude(status="running").exclude(completed_at=F("updated_at")).exists()
    assert not tasks.filter(status="running", completed_at__isnull=False).exists()
    checkpoints = TaskCheckpoint.objects.select_related("task")
    assert not checkpoints.filter(created_at__gt=F("task__updated_at")).exists()
    assert not checkpoints.filter(created_at__lt=F("task__created_at")).exists()
    by_id = list(checkpoints.order_by("task_id", "id").values_list("task_id", "created_at"))
    assert by_id == sorted(by_id)


@pytest.mark.django_db(databases="__all__")
def test_filled_threads_can_be_loaded(store):
    demo.fill(NOW)
    for thread_id in set(TaskRecord.objects.values_list("thread_id", flat=True)):
        task = service.load_by_thread_id(thread_id)
        assert task is not None
        assert task.checkpoint_count == len(task.checkpoints)
        assert task.execution_history[0].role == "system"
        calls = [json.loads(m.content) for m in task.execution_history if m.role == "tool"]
        assert all(call.keys() == {"tool_call_id", "content"} for call in calls)


@in_store
def test_fill_counts_every_checkpoint():
    demo.fill(NOW)
    tasks = TaskRecord.objects.annotate(rows=Count("checkpoints"))
    assert not tasks.exclude(checkpoint_count=F("rows")).exists()


@in_store
def test_fill_covers_special_cases():
    demo.fill(NOW)
    tasks = TaskRecord.objects.all()
    assert tasks.filter(status="completed", resumable_history_json="[]").count() == 2
    assert tasks.filter(checkpoint_count__gt=60).count() == 1
    assert tasks.exclude(task_id=F("thread_id")).count() == 1
    assert tasks.filter(execution_history_json__contains="\\u001b[").count() >= 4
    steps = TaskCheckpoint.objects.filter(task__thread_id__endswith="/staging-db")
    assert list(steps.order_by("id").values_list("step_index", flat=True)) == [1, 2, 3, 4, 1, 2, 3]
    assert max(map(len, TaskCheckpoint.objects.values_list("items_json", flat=True))) > 280_000


@in_store
def test_fill_ends_at_now():
    demo.fill(NOW)
    newest = TaskRecord.objects.newest_first()[0]
    assert newest.status == "running"
    assert to_text(newest.updated_at) == "2026-11-02T11:02:06.400+00:00"


def test_note_lists_each_confirmed_and_failed_tool_once():
    calls = [
        Call("file_write", {}, ""),
        Call("shell", {}, "", success=False),
        Call("shell", {}, "", success=False),
    ]
    assert runs.checkpoint_note(calls).splitlines()[3:5] == [
        "- Confirmed steps: file_write",
        "- Failed steps: shell [tool_error]",
    ]


def test_every_story_has_a_different_question():
    all_stories = [*stories(), *live_stories()]
    assert len({story.ask for story in all_stories}) == len(all_stories)
    assert len({story.task for story in stories()}) == len(stories())


@pytest.mark.parametrize("story", stories(), ids=lambda story: story.task)
def test_story_ends_according_to_its_status(story):
    assert bool(story.answer) == (story.status == "completed")
    assert bool(story.error) == (story.status in ("failed", "cancelled", "timed_out"))
    assert bool(story.days_ago)


def test_outputs_are_long_colored_and_redrawn():
    assert 295_000 < len(build_log()) < 305_000
    assert progress_bar().count("\r") == 25
    assert len(HANDLERS) == 60
    assert colored("+new\n+++ b/a.py", "diff") == "\x1b[32m+new\x1b[0m\n\x1b[1m+++ b/a.py\x1b[0m"


def wait_for(condition):
    """Wait until the agent's task in the store meets the condition, and return the task."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        task = TaskRecord.objects.filter(thread_id=THREAD).first()
        if task is not None and condition(task):
            return task
        time.sleep(0.002)
    raise AssertionError("the simulated agent did not come so far")


@pytest.fixture
def agent():
    agent = demo.SimulatedAgent(pause=0)
    yield agent
    agent.stop()


@in_threads
def test_agent_keeps_working_and_stops_at_once(agent):
    agent.start()
    wait_for(lambda task: task.checkpoint_count >= 2)
    agent.stop()
    assert not agent.is_alive()
    task = service.load_by_thread_id(THREAD)
    assert task is not None
    assert task.status.is_terminal
    assert task.channel == "cli"


@in_threads
def test_stopping_a_pausing_agent_cancels_its_run():
    agent = demo.SimulatedAgent(pause=60)
    agent.start()
    wait_for(lambda task: task.status == "running")
    start = time.monotonic()
    agent.stop()
    assert time.monotonic() - start < 5
    [task] = TaskRecord.objects.all()
    assert (task.status, task.last_error) == ("cancelled", "cancelled during tool-call loop")


def test_agent_repeats_its_messages(agent, monkeypatch):
    writes = []

    def perform(write):
        writes.append(write)
        if len(writes) == 200:
            agent.stop()

    monkeypatch.setattr(demo, "perform", perform)
    agent.run()
    snapshots = [write for write in writes if isinstance(write, TaskSnapshot)]
    endings = [write.status.value for write in snapshots if write.status.is_terminal]
    assert endings[:6] == ["completed", "completed", "failed", "completed"] + ["completed"] * 2
    assert endings[-1] == "cancelled"
    assert max(len(write.resumable_history) for write in snapshots) == 2 * demo.MAX_TURNS + 2


@in_threads
def test_agent_survives_a_clear(agent):
    agent.start()
    for _ in range(5):
        wait_for(lambda task: task.checkpoint_count)
        service.clear_session(THREAD)
    wait_for(lambda task: task.checkpoint_count)
    assert agent.is_alive()


@in_threads
def test_agent_survives_a_database_error(agent, monkeypatch, caplog):
    failures = iter([OperationalError("disk I/O error")] * 3)

    def perform(write):
        if error := next(failures, None):
            raise error
        runs.perform(write)

    monkeypatch.setattr(demo, "perform", perform)
    with caplog.at_level(logging.WARNING, logger="tasks.demo"):
        agent.start()
        wait_for(lambda task: task.checkpoint_count)
    assert caplog.text.count("could not write a step: OperationalError('disk I/O error')") == 3


@in_threads
def test_agent_closes_its_connection(agent, monkeypatch):
    closed = []

    def close():
        connection = connections[router.db_for_write(TaskRecord)]
        connection.close()
        closed.append(connection.connection)

    monkeypatch.setattr(demo, "_close_connection", close)
    agent.start()
    wait_for(lambda task: task.checkpoint_count)
    agent.stop()
    assert closed == [None]


def test_agent_can_be_stopped_before_it_starts():
    demo.SimulatedAgent().stop()
