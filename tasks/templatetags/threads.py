"""How times, states and addresses of threads are written in a page."""

from datetime import datetime
from typing import Any
from urllib.parse import quote

from django import template
from django.urls import reverse
from django.utils import timezone

from tasks.fields import read_stored, to_text
from tasks.models import TaskStatus
from tasks.tokens import token_of

register = template.Library()

_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


@register.simple_tag
def thread_url(name: str, thread_id: Any, **parameters: Any) -> str:
    """The address of a view of one thread. An id may hold anything, so it is never in the path."""
    query = "".join(f"&{key}={quote(str(value), safe='')}" for key, value in parameters.items())
    return f"{reverse(name)}?id={quote(str(thread_id), safe='')}{query}"


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
def elapsed(moment: Any) -> str:
    """How long ago, in one unit ("3 h"); a stored value that is no time is shown as it is."""
    if not isinstance(moment, datetime):
        return str(moment or "")
    seconds = int((timezone.now() - moment).total_seconds())
    for unit, size in _UNITS:
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return "now"


@register.filter
def absolute(moment: Any) -> str:
    """The time to the second, in UTC; a stored value that is no time is shown as it is."""
    if not isinstance(moment, datetime):
        return str(moment or "")
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


@register.filter
def clock(moment: Any) -> str:
    """The time of day to the second, in UTC; a stored value that is no time is shown as it is."""
    return f"{moment:%H:%M:%S}" if isinstance(moment, datetime) else str(moment or "")


@register.filter
def stored(moment: Any) -> str:
    """The time exactly as stored, for a `datetime` attribute."""
    return to_text(moment) if isinstance(moment, datetime) else str(moment or "")


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
    return token_of(str(thread_id))


@register.filter
def as_time(stored_text: Any) -> Any:
    """The time that a stored text means, for the filters above."""
    return read_stored(stored_text) if isinstance(stored_text, str) else stored_text
