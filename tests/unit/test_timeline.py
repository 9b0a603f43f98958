"""Tests for the layout of a thread's timeline."""

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.models import TaskRecord, TaskStatus
from tasks.transcript.steps import Outline
from tasks.transcript.timeline import (
    FEW_STEPS,
    MAX_ROWS,
    NARROW,
    WIDE,
    Bar,
    Row,
    Timeline,
    build_timeline,
)
from tasks.transcript.timeline_labels import LETTER
from tasks.transcript.timeline_scale import MAX_BARS, MAX_GAPS

START = datetime(2026, 1, 1, tzinfo=UTC)


def steps(*seconds: float | None, attempt: int = 1, first: int = 1, **fields) -> list[Outline]:
    """Return consecutive steps that take this many seconds; None means an unknown start time."""
    moment: datetime = START
    outlines: list[Outline] = []
    for number, duration in enumerate(seconds, first):
        began, moment = moment, moment + timedelta(seconds=duration or 0)
        defaults: dict[str, Any] = {"tool": "shell", "outcome": "ok", **fields}
        outlines.append(
            Outline(
                id=number,
                has_more=False,
                length=9,
                step_index=number,
                attempt=attempt,
                started_at=None if duration is None else began,
                ended_at=moment,
                **defaults,
            )
        )
    return outlines


def layout(outlines: list[Outline], listed: Sequence[Outline] = (), **fields) -> Timeline:
    record = TaskRecord(**{"status": TaskStatus.COMPLETED, **fields})
    timeline = build_timeline(outlines, record, START + timedelta(days=1), listed)
    assert timeline is not None
    return timeline


def extents(row: Row) -> list[tuple[float, float]]:
    """Return where each bar of the row starts and ends, in percent of the width."""
    return [(float(bar.x[:-1]), float(bar.x[:-1]) + float(bar.width[:-1])) for bar in row.bars]


def test_no_steps_have_no_timeline():
    assert build_timeline([], TaskRecord(), START) is None


durations = st.lists(st.floats(0, 100_000), min_size=1, max_size=400)


@given(durations)
def test_bars_do_not_overlap_and_stay_in_the_timeline(seconds: list[float]):
    [row] = layout(steps(*seconds)).rows

    ends = extents(row)
    assert all(end <= start + 0.01 for (_, end), (start, _) in itertools.pairwise(ends))
    assert ends[-1][1] <= 100.2


@given(durations)
def test_every_step_is_in_one_bar(seconds: list[float]):
    outlines = steps(*seconds)

    [row] = layout(outlines).rows

    assert [step for bar in row.bars for step in bar.steps] == outlines
    assert len(row.bars) <= MAX_BARS + MAX_GAPS + 1


def test_axis_is_linear():
    [row] = layout(steps(None, 10, 20, 30, 40, 50)).rows

    stub, *bars = extents(row)
    widths = [end - start for start, end in bars]
    assert [width / widths[0] for width in widths] == pytest.approx([1, 2, 3, 4, 5], abs=0.01)
    assert [bar.is_stub for bar in row.bars] == [True, *[False] * 5]
    assert bars[-1][1] == pytest.approx(100, abs=0.01)
    assert (row.ticks[0].x, row.ticks[0].seconds) == (f"{stub[1]:.3f}%", 0)


@given(durations)
def test_ticks_between_breaks_are_linear(seconds: list[float]):
    [row] = layout(steps(None, *seconds)).rows

    if not row.gaps and len(row.ticks) > 2:
        ticks = [(tick.seconds, float(tick.x[:-1])) for tick in row.ticks]
        slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in itertools.pairwise(ticks)]
        assert slopes == pytest.approx(slopes[:1] * len(slopes), rel=0.01)


def test_steps_too_short_for_a_bar_share_one():
    [row] = layout(steps(None, 100, 100, 100, 0.1, 0.1, 100, 0.1)).rows

    shared = [[step.id for step in bar.steps] for bar in row.bars]
    assert shared == [[1], [2], [3], [4], [5, 6, 7, 8]]


def test_step_after_a_break_is_a_stub():
    [row] = layout(steps(None, 5, 5, 7_200, 5)).rows

    assert [bar.is_stub for bar in row.bars] == [True, False, False, True, False]
    [gap] = row.gaps
    assert row.bars[3].x == f"{float(gap.x[:-1]) + float(gap.width[:-1]):.3f}%"


def test_steps_without_durations_are_equally_wide():
    [row] = layout(steps(*[0] * 4)).rows

    assert (row.is_to_scale, row.ticks) == (False, [])
    assert [bar.width for bar in row.bars] == ["25%"] * 4


def test_one_step_fills_the_timeline():
    [row] = layout(steps(3)).rows

    assert [(bar.x, bar.width) for bar in row.bars] == [("0%", "100%")]


@pytest.mark.parametrize(
    ("seconds", "gaps"),
    [
        ([5, 5, 119], []),
        ([0.01, 0.01, 9], [9]),
        ([50, 50, 399], []),
        ([5, 5, 7_200, 5], [7_200]),
        ([500, 400, 2_000], []),
        ([5, 900, 5, 9_000, 5, 5], [900, 9_000]),
    ],
)
def test_long_silence_is_folded(seconds: list[float], gaps: list[float]):
    [row] = layout(steps(*seconds)).rows

    assert [gap.seconds for gap in row.gaps] == gaps


def test_silence_of_a_running_task_is_folded_too():
    timeline = layout(steps(5, 5), status=TaskStatus.RUNNING)

    [gap] = timeline.rows[0].gaps
    assert (gap.kind, round(gap.seconds)) == ("inactive", 86_390)


def test_end_of_a_task_is_a_tail_after_the_last_step():
    completed_at = START + timedelta(seconds=40)

    [row] = layout(steps(5, 5), status=TaskStatus.FAILED, completed_at=completed_at).rows

    assert row.tail is not None
    assert (row.tail.seconds, row.tail.status) == (30, "failed")
    assert row.seconds == 40


def test_attempts_have_a_row_each_on_one_scale():
    later = steps(None, 10, attempt=2)

    first, second = layout(steps(10, 10) + later).rows

    assert extents(first)[1][1] == pytest.approx(100, abs=0.1)
    first_width, second_width = (extents(row)[1][1] - extents(row)[1][0] for row in (first, second))
    assert second_width == pytest.approx(first_width, abs=0.1)
    assert second.idle_before is not None


def test_earlier_of_many_attempts_share_a_row():
    outlines = [step for attempt in range(1, 21) for step in steps(1, 1, attempt=attempt)]

    rows = layout(outlines).rows

    assert len(rows) == MAX_ROWS
    assert [(row.first_attempt, row.last_attempt) for row in rows] == [
        (1, 16),
        (17, 17),
        (18, 18),
        (19, 19),
        (20, 20),
    ]


def test_bar_of_several_steps_links_to_the_first_failure():
    outlines = steps(*[1] * 1_000)
    outlines[5] = steps(1, first=6, outcome="failed")[0]

    bar = layout(outlines).rows[0].bars[0]

    assert (len(bar.steps), bar.failures, bar.target.id) == (9, 1, 6)
    assert (bar.number, bar.passed_share) == ("1 to 9", "75%")


def test_shared_bars_have_a_detail_row_for_listed_steps():
    outlines = steps(*[1] * 1_000)

    assert layout(outlines[:50], outlines[:50]).detail is None
    detail = layout(outlines, outlines[300:350]).detail
    assert detail is not None
    assert [bar.first.id for bar in detail.bars] == list(range(301, 351))


@pytest.mark.parametrize(
    ("tool", "count", "label"),
    [
        ("shell", 1, "shell"),
        ("shell", 12, "shell"),
        ("browser_navigate_and_extract", 12, "browser_nav…"),
        ("shell", 100, ""),
    ],
)
def test_label_fits_its_bar(tool: str, count: int, label: str):
    bar = layout(steps(*[10] * count, tool=tool)).rows[0].bars[0]

    text = bar.label if bar.label_from is not None else ""
    assert text == label
    assert len(text) * 6.7 <= float(bar.width[:-1]) / 100 * (bar.label_from or 0)


@given(durations)
def test_ticks_rise_and_keep_their_distance(seconds: list[float]):
    [row] = layout(steps(*seconds)).rows

    positions = [float(tick.x[:-1]) for tick in row.ticks]
    assert all(b - a > 5 for a, b in itertools.pairwise(positions))
    assert [tick.seconds for tick in row.ticks] == sorted({tick.seconds for tick in row.ticks})


@pytest.mark.parametrize(("failed", "share"), [(0, ""), (1, "75%"), (50, "50%"), (100, "")])
def test_failure_is_visible_among_many_steps(failed: int, share: str):
    outlines = steps(*[1.0] * 100, outcome="failed")[:failed] + steps(*[1.0] * 100)[failed:]

    bar = Bar(outlines, "0%", "100%", "", None, None)

    assert bar.passed_share == share


def test_single_step_of_unknown_duration_fills_the_timeline():
    [row] = layout(steps(None)).rows
    assert [(bar.x, bar.width) for bar in row.bars] == [("0%", "100%")]

    first, second = layout(steps(10) + steps(None, attempt=2)).rows
    assert extents(first)[0][1] == pytest.approx(100, abs=0.1)
    assert extents(second)[0][1] < 20


@pytest.mark.parametrize(("count", "width"), [(5, 900), (12, 1_280), (20, 1_920), (5_000, 3_840)])
def test_phone_width_grows_with_the_number_of_bars(count: int, width: int):
    assert layout(steps(*[1] * count)).phone_width == width


@given(durations)
def test_numbers_do_not_overlap(seconds: list[float]):
    [row] = layout(steps(*seconds)).rows
    base = NARROW if len(seconds) <= FEW_STEPS else WIDE

    numbered = [bar for bar in row.bars if bar.number_from == base]
    starts = [float(bar.x[:-1]) / 100 * base for bar in numbered]
    ends = [x + len(bar.number) * LETTER for x, bar in zip(starts, numbered, strict=True)]
    assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))


def test_every_fifth_narrow_bar_has_a_number():
    [row] = layout(steps(*[1] * 100)).rows

    numbered = [bar.number for bar in row.bars if bar.number_from == WIDE]
    assert numbered == [str(number) for number in range(5, 100, 5)]


def test_step_number_has_thousands_separators():
    [row] = layout(steps(1, first=12_345)).rows

    assert row.bars[0].number == "12,345"
