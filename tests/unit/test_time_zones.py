from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from tasks.fields import parse_stored
from tasks.templatetags.threads import absolute, clock, datetime_input
from tasks.transcript import time_zones

BERLIN = ZoneInfo("Europe/Berlin")
NAMES = ["UTC", "Europe/Berlin", "Etc/GMT+5", "America/Argentina/Buenos_Aires", "Asia/Calcutta"]
HOSTILE = [
    "",
    "undefined",
    "../../etc/passwd",
    "Europe/../../../../etc/passwd",
    "/etc/passwd",
    "/usr/share/zoneinfo/Europe/Berlin",
    "./UTC",
    "Europe",
    "Europe/",
    "Europe//Berlin",
    "Europe/Berlin\n",
    "Europe/Berlin\0",
    "\0",
    "\ud800",
    "Zürich",
    "Mars/Olympus",
    "posix/Europe/Berlin",
    "localtime",
    "tzdata.zi",
    "A" * 32,
    "A" * 100_000,
    "A/" * 100_000,
]


@pytest.mark.parametrize("name", NAMES)
def test_known_zone_is_found(name: str):
    assert str(time_zones.find(name)) == name


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name)[:40])
def test_unknown_or_hostile_zone_is_not_found(name: str):
    assert time_zones.find(name) is None


@pytest.mark.parametrize("name", [name for name in HOSTILE if "." in name or name[:1] == "/"])
def test_zone_outside_its_folder_is_never_opened(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(time_zones, "ZoneInfo", lambda name: pytest.fail(name))

    time_zones.find(name)


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2026-01-01", "2025-12-31 23:00", "2025-12-31 23:00"),
        ("2026-07-01T09:30", "2026-07-01 07:30", "2026-07-01 07:30"),
        ("2026-07-01T09:30:00Z", "2026-07-01 09:30", "2026-07-01 09:30"),
        ("2026-07-01T09:30-04:00", "2026-07-01 13:30", "2026-07-01 13:30"),
        ("2026-10-25T02:30", "2026-10-25 00:30", "2026-10-25 01:30"),  # occurs twice
        ("2026-03-29T02:30", "2026-03-29 00:30", "2026-03-29 01:30"),  # is skipped
    ],
)
def test_date_is_read_in_its_zone(text: str, start: str, end: str):
    first, last = (time_zones.parse(text, BERLIN, is_end=is_end) for is_end in (False, True))

    assert (f"{first:%Y-%m-%d %H:%M}", f"{last:%Y-%m-%d %H:%M}") == (start, end)


@pytest.mark.parametrize("text", ["", "yesterday", "2026-99-01", "0001-01-01", "2026-13-01T00:00"])
def test_date_that_is_invalid_or_out_of_range_is_rejected(text: str):
    with pytest.raises(ValueError, match=r"date|range|must be in"):
        time_zones.parse(text, BERLIN)


@pytest.mark.parametrize(
    ("hour", "expected"), [(0, "2026-10-25 02:30:00 CEST"), (1, "2026-10-25 02:30:00 CET")]
)
def test_times_are_displayed_in_the_active_zone_with_its_abbreviation(hour: int, expected: str):
    moment = datetime(2026, 10, 25, hour, 30, tzinfo=UTC)

    with timezone.override(BERLIN):
        assert absolute(moment) == expected
        assert clock(moment) == expected[11:]
        assert datetime_input(moment) == "2026-10-25T02:30:00"

    assert absolute(moment) == f"2026-10-25 0{hour}:30:00 UTC"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Asia/Tokyo", "9999-12-31T23:59:59+00:00"),
        ("America/New_York", "0001-01-01T00:00:00+00:00"),
    ],
)
def test_time_out_of_range_in_the_zone_is_displayed_in_utc(name: str, text: str):
    moment = parse_stored(text)

    with timezone.override(name):
        assert absolute(moment) == f"{moment:%Y-%m-%d %H:%M:%S} UTC"
