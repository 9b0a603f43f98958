"""How times, states and addresses of threads are written in a page."""

from datetime import datetime
from itertools import pairwise
from typing import Any

from django import template
from django.template.defaultfilters import stringfilter
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from tasks.addresses import thread_token, thread_url
from tasks.fields import parse_stored, to_text
from tasks.models import TaskStatus
from tasks.secrets import request_masking
from tasks.transcript import text_preview

register = template.Library()
register.simple_tag(thread_url)

LONGEST_VALUE = 100  # characters of what stands where a time or a number should
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


@register.simple_tag(takes_context=True)
def page_url(context: dict[str, Any], parameter: str, number: int) -> str:
    """The address of this page with another number for one of its lists."""
    query = context["request"].GET.copy()
    query[parameter] = str(number)
    return f"?{query.urlencode()}"


@register.filter
def shown_id(thread_id: Any) -> str:
    """An id as one can see it and click on it: it may be empty or hold nothing but white space."""
    text = str(thread_id)
    if not text:
        return "(empty id)"
    return text if any(c.isprintable() and not c.isspace() for c in text) else ascii(text)


@register.filter
@stringfilter
def cut(text: str, length: int) -> str:
    """At most so many characters, marked as cut; nothing of a secret that the cut goes through."""
    return request_masking.shorten(text, length)


@register.filter
@stringfilter
def start(text: str, length: int) -> str:
    """The same, not marked."""
    return request_masking.truncate(text, length)


def _as_it_is(value: Any) -> str:
    """A stored value that is no time or no number, as far as there is room for it."""
    return request_masking.shorten(str(value), LONGEST_VALUE)


@register.filter
def elapsed(moment: Any) -> str:
    """How long ago, in one unit ("3 h"); a stored value that is no time is shown as it is."""
    if not isinstance(moment, datetime):
        return _as_it_is(moment or "")
    seconds = int((timezone.now() - moment).total_seconds())
    for unit, size in _UNITS:
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return "now"


@register.simple_tag
def time_ago(moment: Any) -> SafeString:
    """A `<time>` element with the elapsed time, which a script keeps current."""
    return format_html(
        '<time datetime="{}" title="{}" data-elapsed>{}</time>',
        stored(moment),
        absolute(moment),
        elapsed(moment),
    )


@register.filter
def absolute(moment: Any) -> str:
    """The time to the second, in UTC; a stored value that is no time is shown as it is."""
    if not isinstance(moment, datetime):
        return _as_it_is(moment or "")
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


@register.filter
def clock(moment: Any) -> str:
    """The time of day in UTC, which a script makes local; what is no time is shown as it is."""
    return f"{moment:%H:%M:%S} UTC" if isinstance(moment, datetime) else _as_it_is(moment or "")


@register.filter
def stored(moment: Any) -> str:
    """The time exactly as stored, for a `datetime` attribute."""
    return _as_it_is(to_text(moment) if isinstance(moment, datetime) else moment or "")


@register.filter
def outcome_label(outcome: str) -> str:
    labels = {"ok": "ok", "failed": "failed", "none": "nothing was called"}
    return labels.get(outcome, "cannot be read")


@register.filter
def status_label(status: str) -> str:
    return str(TaskStatus(status).label) if status in TaskStatus.values else status


@register.filter
def status_class(status: str) -> str:
    """A class name for the colour; a stored status may be any text."""
    return f"status-{status}" if status in TaskStatus.values else "status-unknown"


@register.filter
def token(thread_id: Any) -> str:
    """A thread's id as the value of a form."""
    return thread_token(str(thread_id))


@register.filter
def as_time(stored_text: Any) -> Any:
    """The time that a stored text means, for the filters above."""
    return parse_stored(stored_text) if isinstance(stored_text, str) else stored_text


@register.filter
def duration(seconds: float | None) -> str:
    """A stretch of time in at most two units ("36.5 s", "3 min 7 s", "2 h"), or nothing."""
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
def coarse(seconds: float) -> str:
    """A stretch of time in one unit ("2 h"), for where there is little room."""
    unit, size = next((unit for unit in _UNITS if seconds >= unit[1]), _UNITS[-1])
    return f"{int(seconds) // size} {unit}"


@register.filter
def grouped(number: Any) -> str:
    """A number in groups of three digits; a stored value that is none is shown as it is."""
    return f"{number:,}" if isinstance(number, int | float) else _as_it_is(number)


@register.filter
def on_axis(seconds: int) -> str:
    """A time from the start, as the timeline's axis writes it ("0:30", "1:02:00")."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@register.filter
def size(characters: int | None) -> str:
    """A length in characters, as a person says it ("812", "3.3 K", "12 M")."""
    if characters is None or characters < 1_000:
        return str(characters or 0)
    amount, unit = (characters / 1_000, "K") if characters < 1_000_000 else (characters / 1e6, "M")
    return f"{amount:.1f} {unit}" if amount < 10 else f"{amount:.0f} {unit}"


@register.filter
def in_bytes(length: int) -> str:
    return text_preview.format_size(length)


@register.filter
def of(values: dict[Any, Any], key: Any) -> Any:
    """What a dictionary holds for this key, or None."""
    return values.get(key)
