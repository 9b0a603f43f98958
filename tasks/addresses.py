"""Build URLs and form values for threads and tasks, whose ids may contain any characters."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any
from urllib.parse import quote, urlencode

from django.conf import settings
from django.contrib.admin.utils import quote as admin_quote
from django.contrib.admin.utils import unquote as admin_unquote
from django.core.exceptions import BadRequest
from django.urls import reverse

from tasks.large_values import is_unusable_key

_TOO_LONG = "too-long="  # replaces the query of a URL whose id is too long
_MAX_PATH_ID_LENGTH = 20_000  # maximum length of an id in an admin URL's path


def thread_url(name: str, thread_id: Any, **parameters: Any) -> str:
    """Return the URL of a thread view, with the id in the query, since some ids break a path.

    Parameters that are None are omitted. If the URL would be too long, its query is replaced by a
    marker for which the view returns an error.
    """
    values = {"id": str(thread_id)} | parameters
    query = "&".join(f"{k}={quote(str(v), safe='')}" for k, v in values.items() if v is not None)
    return f"{reverse(name)}?{query if len(query) <= settings.MAX_QUERY_LENGTH else _TOO_LONG}"


def threads_url(query: str) -> str:
    """Return the URL of the thread list with the given query string, which may be empty."""
    return f"{reverse('threads')}?{query}" if query else reverse("threads")


def clearing_url(name: str, pk: int, list_query: str = "", **parameters: str) -> str:
    """Return the URL of a view of a clearing, whose pages lead back to the list with that query."""
    values = {"list": list_query} | parameters
    query = urlencode({key: value for key, value in values.items() if value})
    query = query if len(query) <= settings.MAX_QUERY_LENGTH else urlencode(parameters)
    return f"{reverse(name, args=[pk])}{'?' if query else ''}{query}"


def thread_token(thread_id: str) -> str:
    """Encode a thread id as a form value that browsers submit unchanged."""
    return "id-" + urlsafe_b64encode(str(thread_id).encode()).decode()


def thread_id_from_token(token: str) -> str:
    """Decode the thread id in a form value, raising BadRequest if the value is invalid."""
    thread_id = _decoded(token)
    if thread_id is None or thread_token(thread_id) != token:
        raise BadRequest("The form contains an invalid thread ID.")
    return thread_id


def is_unaddressable(task_id: Any) -> bool:
    """Return whether a task cannot be looked up by its id, or its id is too long for a path."""
    return is_unusable_key(task_id) or len(task_id) > _MAX_PATH_ID_LENGTH


def id_to_path(task_id: str | None) -> str:
    """Encode a task id as a path segment or form value that browsers leave unchanged."""
    return admin_quote(thread_token(task_id or ""))


def id_from_path(segment: str) -> str | None:
    """Decode the task id in a path segment, or return None if the segment is invalid."""
    task_id = _decoded(admin_unquote(segment))
    is_valid = task_id is not None and id_to_path(task_id) == admin_quote(admin_unquote(segment))
    return task_id if is_valid else None


def admin_task_url(task_id: Any) -> str:
    """Return the URL of the task's admin page, or "" if its id is too long."""
    if len(str(task_id)) > _MAX_PATH_ID_LENGTH:
        return ""
    return reverse("admin:tasks_taskrecord_change", args=[id_to_path(task_id)])


def parse_number(text: str) -> int | None:
    """Parse a number in a URL or form, or return None if it is invalid or too large for an id."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None


def _decoded(token: str) -> str | None:
    try:
        return urlsafe_b64decode(token.removeprefix("id-")).decode()
    except ValueError:
        return None
