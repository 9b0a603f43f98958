"""The time zones of viewers, in which pages display times and their forms read dates."""

import re
from datetime import UTC, datetime, time, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

COOKIE = "gloamy_time_zone"  # set by times.js

# Names become paths below the zoneinfo folder, so they must not contain dots.
_NAME = re.compile(r"[A-Z][\w+-]{0,31}(?:/[A-Z][\w+-]{0,31}){0,2}", re.ASCII)


def find(name: str) -> tzinfo | None:
    """Return the time zone of this name, which may be any text, or None if there is none."""
    if not _NAME.fullmatch(name):
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: the name of a folder
        return None


def active_name() -> str:
    return str(timezone.get_current_timezone())


def to_local(moment: datetime) -> datetime:
    """Convert to the active time zone, unless the result would be out of range."""
    try:
        return timezone.localtime(moment)
    except OverflowError:
        return moment


def parse(text: str, zone: tzinfo, *, is_end: bool = False) -> datetime:
    """Parse a date, or a date and time, that is in the zone unless it has an offset.

    A time that occurs twice when clocks change means the earlier, or the later for the end of a
    period, so that a period never loses an hour. Returns a time in UTC, or raises ValueError.
    """
    moment = parse_datetime(text)
    if moment is None and (day := parse_date(text)):
        moment = datetime.combine(day, time())
    if moment is None:
        raise ValueError(f"{text!r} is no date")
    if timezone.is_naive(moment):
        moment = moment.replace(tzinfo=zone)
    try:
        moments = [moment.replace(fold=fold).astimezone(UTC) for fold in (0, 1)]
    except OverflowError as error:
        raise ValueError(f"{text!r} is out of range in UTC") from error
    return max(moments) if is_end else min(moments)
