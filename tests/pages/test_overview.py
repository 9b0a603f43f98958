"""Tests of the overview: its figures equal a plain loop over the store, and its links' lists."""

import re
from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import pytest
from django.db import connections
from django.http import QueryDict
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from archive.models import Source
from tasks import service
from tasks.clearing import lifecycle
from tasks.clearing.lifecycle import Actor
from tasks.fields import to_text
from tasks.index import following
from tasks.insights import overview
from tasks.insights.errors import read_errors
from tasks.insights.overview import Overview, steps
from tasks.insights.selection import Selection
from tasks.listing.filters import Filters
from tasks.listing.thread_list import ThreadList
from tasks.models import TaskRecord
from tasks.store.daemon import STALLED, daemon
from tests.support.factories import checkpoint, snapshot, task

pytestmark = pytest.mark.django_db(databases="__all__")

STATUSES = ("completed", "failed", "timed_out", "running", "cancelled", "exploded")
BERLIN, KOLKATA = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kolkata")
NOW = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)


@pytest.fixture
def threads(store, monkeypatch) -> None:
    """Threads over some weeks in which clocks change in Berlin, active every 7 hours."""
    monkeypatch.setattr(timezone, "now", lambda: NOW)
    for number in range(140):
        at = NOW - timedelta(hours=7 * number, microseconds=number % 3)
        record = task(
            f"task {number}",
            thread_id=f"thread {number % 130}",  # the last ones are earlier tasks of the first
            channel=("slack", "email")[number % 2],
            provider=("a", "b", "c")[number % 3],
            model=("m", "n")[number % 5 % 2],
            status=STATUSES[number % 6],
            created_at=to_text(at - timedelta(hours=1)),
            updated_at=to_text(at),
            completed_at=to_text(at) if number % 3 else None,
        )
        for step in range(number % 3):
            item = f'{{"tool_name":"tool {number % 4}","arguments":{{}},"success":'
            item += f'{["false", "true"][number % 8 > 2]},"output":"error"}}'
            started = at - timedelta(minutes=number + 1 - step)
            checkpoint(record, step + 1, items_json=f"[{item}]", created_at=to_text(started))
    while not following.catch_up(background=False).is_complete:
        pass
    following.catch_up_texts(60)


def figures(query: str, zone: ZoneInfo = BERLIN) -> Overview:
    return Overview(Selection.of(Filters.parse(QueryDict(query)), daemon()), zone)


def latest() -> list[TaskRecord]:
    return list(TaskRecord.objects.latest_per_thread())


def state(record: TaskRecord) -> str:
    return daemon().state_of(record.status, record.updated_at)


FILTERS: dict[str, Any] = {
    "": lambda record: True,
    "period=30d": lambda record: record.updated_at >= NOW - timedelta(days=30),
    "start=2026-10-20T00:00:00Z": lambda record: (
        record.updated_at >= datetime(2026, 10, 20, tzinfo=UTC)
    ),
    "start=2026-10-24&end=2026-10-27T05:30:00Z&channel=slack": lambda record: (
        datetime(2026, 10, 24, tzinfo=UTC) <= record.updated_at
        and record.updated_at <= datetime(2026, 10, 27, 5, 30, tzinfo=UTC)
        and record.channel == "slack"
    ),
    "status=stalled": lambda record: state(record) == STALLED,
    "status=failed&model=m": lambda record: (record.status, record.model) == ("failed", "m"),
    "q=thread+1&where=ids": lambda record: "thread 1" in record.thread_id,
    "period=24h": lambda record: record.updated_at >= NOW - timedelta(days=1),
    "tool=tool+1": lambda record: any('"tool 1"' in c.items_json for c in record.checkpoints.all()),
}


def in_zone(record: TaskRecord, zone: ZoneInfo, form: str) -> str:
    return f"{record.updated_at.astimezone(zone):{form}}"


@pytest.mark.parametrize("zone", [BERLIN, KOLKATA], ids=str)
def test_activity_equals_a_loop_over_the_store(threads: None, zone: ZoneInfo):
    for query, is_wanted in FILTERS.items():
        wanted = list(filter(is_wanted, latest()))
        found = figures(query, zone)
        form = "%a %H:00" if query == "period=24h" else "%a %d %b"
        expected: dict[str, Counter[str]] = {}
        for record in wanted:
            expected.setdefault(in_zone(record, zone, form), Counter())[state(record)] += 1

        assert {c.label: c.counts for c in found.columns if c.total} == expected, query
        assert found.totals == Counter(map(state, wanted)), query


def test_groups_equal_a_loop_over_the_store(threads: None):
    for query in ("period=7d", "period=7d&channel=email", "period=7d&q=thread+1&where=ids"):
        span = timedelta(days=7)
        for name, groups in figures(query).groups.items():
            expected: dict[str, tuple[Counter[str], Counter[str]]] = {}
            for record in latest():
                is_wanted = "channel" not in query or record.channel == "email"
                is_wanted &= "q=" not in query or "thread 1" in record.thread_id
                age = NOW - record.updated_at
                if is_wanted and age <= 2 * span:
                    pair = expected.setdefault(getattr(record, name), (Counter(), Counter()))
                    pair[age > span][state(record)] += 1
            assert {group.value: (group.counts, group.before) for group in groups} == expected


def test_tools_and_durations_equal_a_loop_over_the_store(threads: None, monkeypatch):
    for most in (1_000, 20):
        monkeypatch.setattr(overview, "SAMPLE", most)
        sample = figures("period=30d").sample
        wanted = sorted(filter(FILTERS["period=30d"], latest()), key=lambda r: r.updated_at.text)
        wanted = wanted[-most:]
        tools: dict[str, tuple[set[str], set[str]]] = {}
        durations = []
        for record in wanted:
            calls = list(record.checkpoints.order_by("id"))
            for call in calls:
                name = call.items_json.split('"')[3]
                of_tool = tools.setdefault(name, (set(), set()))
                of_tool[0].add(record.pk)
                of_tool[1].update({record.pk} if "false" in call.items_json else ())
            if calls:
                end = max(filter(None, (calls[-1].created_at, record.completed_at)))
                durations.append((end - calls[0].created_at).total_seconds() * 1000)

        assert sample.size == len(wanted)
        assert sample.is_complete == (most > 20)
        assert sample.tools == {name: (len(a), len(b)) for name, (a, b) in tools.items()}
        assert sample.milliseconds == pytest.approx(sorted(durations), abs=2)
        assert sample.percentile(100) == sample.milliseconds[-1]
        assert sample.percentile(50) == sample.milliseconds[(len(durations) + 1) // 2 - 1]


def check_links(page: str) -> None:
    """Follow each link with a number to the list, which must have as many threads."""
    links = set(
        re.findall(r'href="(/\?[^"]*)"(?:[^<>]*)>\s*(?:<b>|<title>[^<]*:\s*)?([\d,]+)\b', page)
    )
    links |= set(re.findall(r'href="(/\?[^"]*)">[a-z ]+<b>([\d,]+)</b>', page))
    assert len(links) > 10
    for url, number in links:
        if "sort=duration" in url:  # a duration, not a count
            continue
        query = QueryDict(urlsplit(url.replace("&amp;", "&")).query)
        counts, _ = ThreadList(Filters.parse(query)).counts()
        assert (url, f"{counts[query.get('status', '')]:,}") == (url, number)


@pytest.mark.parametrize("query", ["period=all", "period=7d", "channel=email&tool=tool+1"])
def test_every_number_agrees_with_its_list(threads: None, viewer: Client, query: str):
    viewer.cookies["gloamy_time_zone"] = "Europe/Berlin"
    check_links(viewer.get(f"/overview/?{query}").content.decode())


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", (2026, 10, 25), 25),
        ("Europe/Berlin", (2026, 3, 29), 23),
        ("America/Santiago", (2026, 9, 6), 23),  # midnight does not exist
        ("Asia/Kolkata", (2026, 10, 25), 24),
        ("Australia/Lord_Howe", (2026, 10, 4), 23.5),
    ],
)
def test_days_have_the_hours_of_their_zone(zone: str, day: Any, hours: float):
    start = datetime.combine(date(*day), time(), UTC) - timedelta(days=3)
    limits, _ = steps(start, start + timedelta(days=8), ZoneInfo(zone))

    lengths = {a.astimezone(ZoneInfo(zone)).timetuple()[:3]: b - a for a, b in pairwise(limits)}
    assert lengths[day] == timedelta(hours=hours)
    assert len(lengths) == len(limits) - 1


def test_long_times_have_weeks_and_months():
    start = datetime(2026, 1, 7, 12, tzinfo=UTC)
    for days, unit in ((90, timedelta(days=7)), (700, timedelta(days=31))):
        limits, _ = steps(start, start + timedelta(days=days), BERLIN)
        assert len(limits) < 63
        assert limits[0] <= start
        assert all(b - a <= unit + timedelta(hours=1) for a, b in pairwise(limits))


def test_overview_says_what_needs_a_person(viewer: Client, store):
    assert "Nothing needs you" in viewer.get("/overview/").content.decode()
    task("stuck", status="running", updated_at="2026-01-01T00:00:00+00:00")
    task("bad", status="failed", updated_at=to_text(timezone.now() - timedelta(hours=2)))
    service.save_snapshot(
        snapshot(task_id="back", thread_id="back", status=service.TaskStatus.FAILED)
    )
    lifecycle.clear(["back"], Actor(Source.CODE), with_running=True)
    service.save_snapshot(snapshot(task_id="back", thread_id="back"))

    content = viewer.get("/overview/").content.decode()

    needs = content.split('id="needs"')[1].split("</section>")[0]
    found = [
        " ".join(text.split()) for text in re.findall(r"<a href[^>]*><b>(.*?)</a>", needs, re.S)
    ]
    assert [text.replace("</b>", "") for text in found] == [
        "1 stalled",
        "1 failed since yesterday",
        "1 reappeared after being cleared",
    ]
    for url in re.findall(r'<a href="([^"]*)"><b>', needs):
        assert len(viewer.get(url.replace("&amp;", "&")).context["rows"]) == 1


def test_visits_are_told_apart(viewer: Client, store, monkeypatch):
    task("bad", status="failed", updated_at="2026-11-20T09:00:00+00:00")
    for minutes, text in (
        (0, "yesterday"),
        (10, "yesterday"),
        (600, "your last visit"),
        (605, "your"),
    ):
        now = datetime(2026, 11, 20, 8, 55, tzinfo=UTC) + timedelta(minutes=minutes)
        monkeypatch.setattr(timezone, "now", lambda now=now: now)
        viewer.session.set_expiry(None)
        content = viewer.get("/overview/").content.decode()
        assert f"timed out since\n    {text}" in content
    assert "failed since your last visit" not in content  # it was at 9:05


def test_sign_in_leads_to_the_overview(viewer: Client):
    response = viewer.get("/sign-in/")

    assert response.headers["Location"] == "/overview/"
    assert "Threads" in viewer.get("/overview/").content.decode()


def test_figures_are_counted_in_indexes(threads: None):
    index = connections["index"]
    with CaptureQueriesContext(index) as queries:
        for query in ("period=7d", "channel=slack", "status=failed&end=2026-11-19"):
            found = figures(query)
            assert found.columns and found.groups
            read_errors(found.selection, 5)

    plans = []
    with index.cursor() as cursor:
        for captured in queries.captured_queries:
            if "task_index_failure" in captured["sql"] or "VALUES" in captured["sql"]:
                cursor.execute(f"EXPLAIN QUERY PLAN {captured['sql'].replace('%', '%%')}")
                plans += [row[3] for row in cursor.fetchall()]
    of_tables = [plan for plan in plans if "task_index_" in plan and "errorshape" not in plan]
    assert len(of_tables) > 10
    assert [plan for plan in of_tables if "INDEX" not in plan] == []
    assert [plan for plan in plans if "TEMP B-TREE FOR GROUP BY" in plan] == []
