"""URLs of threads and tasks, and their ids as form values. An id may hold any characters."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.contrib.admin.utils import quote as admin_quote
from django.contrib.admin.utils import unquote as admin_unquote
from django.core.exceptions import BadRequest
from django.urls import reverse

from tasks.large_values import is_unusable_key

_TOO_LONG = "too-long="  # the query that replaces an id too long for any URL
_MAX_PATH_ID_LENGTH = 20_000  # characters of an id in the path of an admin URL


def thread_url(name: str, thread_id: Any, **parameters: Any) -> str:
    """Return the URL of a view of one thread, with the id in the query: in a path it may break.

    Parameters that are None are left out. An id too long for a URL gives the URL of the page that
    says so.
    """
    values = {"id": str(thread_id)} | parameters
    query = "&".join(f"{k}={quote(str(v), safe='')}" for k, v in values.items() if v is not None)
    return f"{reverse(name)}?{query if len(query) <= settings.MAX_QUERY_LENGTH else _TOO_LONG}"


def thread_token(thread_id: str) -> str:
    """Return the id as a form value that no browser changes."""
    return "id-" + urlsafe_b64encode(str(thread_id).encode()).decode()


def thread_id_from_token(token: str) -> str:
    """Return the thread id of a form value. Raises BadRequest if it is not a token."""
    thread_id = _decoded(token)
    if thread_id is None or thread_token(thread_id) != token:
        raise BadRequest("The form names a thread in a way that cannot be understood.")
    return thread_id


def is_unaddressable(task_id: Any) -> bool:
    """Return whether a row cannot be looked up by its id, or the id is too long for a path."""
    return is_unusable_key(task_id) or len(task_id) > _MAX_PATH_ID_LENGTH


def id_to_path(task_id: str | None) -> str:
    """Return a task's id as a path segment or form value that no browser changes."""
    return admin_quote(thread_token(task_id or ""))


def id_from_path(segment: str) -> str | None:
    """Return the task's id of a path segment, or None if it has none."""
    task_id = _decoded(admin_unquote(segment))
    is_valid = task_id is not None and id_to_path(task_id) == admin_quote(admin_unquote(segment))
    return task_id if is_valid else None


def admin_task_url(task_id: Any) -> str:
    """Return the URL of the task's admin page, or "" if its id is too long."""
    if len(str(task_id)) > _MAX_PATH_ID_LENGTH:
        return ""
    return reverse("admin:tasks_taskrecord_change", args=[id_to_path(task_id)])


def parse_number(text: str) -> int | None:
    """Return the number in a URL or a form, or None if it is not one or too large for a key."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None


def _decoded(token: str) -> str | None:
    try:
        return urlsafe_b64decode(token.removeprefix("id-")).decode()
    except ValueError:
        return None
