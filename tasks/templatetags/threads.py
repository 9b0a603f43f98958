"""Template tags and filters that display the times, statuses, sizes and ids of threads."""

import re
from datetime import datetime
from itertools import pairwise
from typing import Any

from django import template
from django.template.defaultfilters import stringfilter
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from tasks.addresses import clearing_url, thread_token, thread_url
from tasks.fields import parse_stored, to_text
from tasks.models import TaskStatus
from tasks.secrets import request_masking
from tasks.transcript import text_preview, time_zones

register = template.Library()
register.simple_tag(thread_url)
register.simple_tag(clearing_url)

MAX_VALUE_LENGTH = 100  # characters to show of a stored value that has an unexpected type
_KINDS = re.compile(r"<(number|id|path|text|time|url)>")  # in the shapes of errors
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


@register.simple_tag(takes_context=True)
def page_url(context: dict[str, Any], parameter: str, number: int) -> str:
    """Return the current URL with the query parameter `parameter` set to a page number."""
    query = context["request"].GET.copy()
    query[parameter] = str(number)
    return f"?{query.urlencode()}"


@register.filter
def display_id(thread_id: Any) -> str:
    """Return a thread's id as visible text, even if it is empty or consists of white space."""
    text = str(thread_id)
    if not text:
        return "(empty ID)"
    return text if any(c.isprintable() and not c.isspace() for c in text) else ascii(text)


@register.filter
@stringfilter
def shorten(text: str, length: int) -> str:
    """Truncate text with an ellipsis; a secret that the cut would split is masked entirely."""
    return request_masking.shorten(text, length)


@register.filter
@stringfilter
def truncate(text: str, length: int) -> str:
    """Truncate text as `shorten` does, but without an ellipsis."""
    return request_masking.truncate(text, length)


@register.simple_tag
def message_url(page: Any, number: int) -> str:
    """Return the URL of a message's raw text."""
    return str(page.message_url(number))


@register.simple_tag
def place_of(step: Any, page: Any) -> str:
    """Return which step of its attempt this is. Step numbers may be of any type."""
    return _unparsed(page.place_of(step.outline)) if step and page else ""


def _unparsed(value: Any) -> str:
    """Convert a stored value of an unexpected type to short text."""
    return request_masking.shorten(str(value), MAX_VALUE_LENGTH)


@register.filter
def elapsed(moment: Any) -> str:
    """Return the time elapsed since `moment` in a single unit, for example "3 h"."""
    if not isinstance(moment, datetime):
        return _unparsed(moment or "")
    seconds = int((timezone.now() - moment).total_seconds())
    for unit, size in _UNITS:
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return "now"


@register.simple_tag
def time_ago(moment: Any) -> SafeString:
    """Return a `<time>` element with the time since `moment`; a script keeps it up to date."""
    return format_html(
        '<time datetime="{}" title="{}" data-elapsed>{}</time>',
        rfc3339(moment),
        absolute(moment),
        elapsed(moment),
    )


@register.filter
def absolute(moment: Any) -> str:
    """Format a date and time in the active time zone, to the second."""
    if not isinstance(moment, datetime):
        return _unparsed(moment or "")
    return f"{time_zones.to_local(moment):%Y-%m-%d %H:%M:%S %Z}"


@register.filter
def clock(moment: Any) -> str:
    """Format the time of day in the active time zone."""
    if not isinstance(moment, datetime):
        return _unparsed(moment or "")
    return f"{time_zones.to_local(moment):%H:%M:%S %Z}"


@register.filter
def datetime_input(moment: datetime | None) -> str:
    """Format the value of an `<input type="datetime-local">`, in the active time zone."""
    return f"{time_zones.to_local(moment):%Y-%m-%dT%H:%M:%S}" if moment else ""


@register.filter
def rfc3339(moment: Any) -> str:
    """Return a time exactly as stored, for an HTML `datetime` attribute."""
    return _unparsed(to_text(moment) if isinstance(moment, datetime) else moment or "")


@register.filter
def outcome_label(outcome: str) -> str:
    labels = {"ok": "ok", "failed": "failed", "none": "no tools called"}
    return labels.get(outcome, "unreadable")


@register.filter
def status_label(status: str) -> str:
    return str(TaskStatus(status).label) if status in TaskStatus.values else status


@register.filter
def status_class(status: str) -> str:
    """Return the CSS class for a stored status, which may be any text."""
    return f"status-{status}" if status in TaskStatus.values else "status-unknown"


@register.filter
def token(thread_id: Any) -> str:
    """Return a thread's id, encoded for use as a form value."""
    return thread_token(str(thread_id))


@register.filter
def parse_time(stored_text: Any) -> Any:
    """Parse a stored time so that the filters above can format it."""
    return parse_stored(stored_text) if isinstance(stored_text, str) else stored_text


@register.filter
def shape(text: str) -> SafeString:
    """Return the shape of an error with the kinds of what was left out marked."""
    pieces = enumerate(_KINDS.split(text))
    return format_html_join(
        "", "{}", ((format_html('<i class="kind">{}</i>', p) if n % 2 else p,) for n, p in pieces)
    )


@register.filter
def duration(seconds: float | None) -> str:
    """Format a duration in one or two units, such as "6.5 s" or "3 min 7 s"; return "" for None."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    whole = int(seconds)
    for (unit, size), (smaller, fraction) in pairwise(_UNITS):
        if whole >= size:
            rest = whole % size // fraction
            return f"{whole // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    raise AssertionError(seconds)


@register.filter
def short_duration(seconds: float) -> str:
    """Format a duration in a single unit, for example "2 h"."""
    unit, size = next((unit for unit in _UNITS if seconds >= unit[1]), _UNITS[-1])
    return f"{int(seconds) // size} {unit}"


@register.filter
def milliseconds(number: int) -> str:
    """Format milliseconds like `duration`."""
    return duration(number / 1_000)


@register.filter
def percent(share: float) -> str:
    """Format a share, such as 0.004 as "0.4%"; only nothing at all is 0%."""
    number = 100 * share
    return f"{number:.0f}%" if number >= 10 or not number else f"{max(number, 0.1):.1f}%"


@register.filter
def state_label(state: str) -> str:
    return "stalled" if state == "stalled" else status_label(state)


@register.filter
def state_class(state: str) -> str:
    return "status-stalled" if state == "stalled" else status_class(state)


@register.filter
def short_milliseconds(milliseconds: int) -> str:
    """Format a duration like `short_duration`, or as "" if it is negative, which means unknown."""
    return short_duration(milliseconds / 1_000) if milliseconds >= 0 else ""


@register.filter
def intcomma(number: Any) -> str:
    """Format a number with thousands separators, for example "12,345"."""
    return f"{number:,}" if isinstance(number, int | float) else _unparsed(number)


@register.filter
def timecode(seconds: int) -> str:
    """Format seconds since the start for the timeline's axis, such as "0:30" or "1:02:00"."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@register.filter
def short_number(count: int | None) -> str:
    """Abbreviate a count, for example to "812", "3.3 K" or "12 M"."""
    if count is None or count < 1_000:
        return str(count or 0)
    amount, unit = (count / 1_000, "K") if count < 1_000_000 else (count / 1e6, "M")
    return f"{amount:.1f} {unit}" if amount < 10 else f"{amount:.0f} {unit}"


@register.filter
def format_size(length: int) -> str:
    return text_preview.format_size(length)
