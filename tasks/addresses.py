"""Addresses of threads and tasks, and their ids as values of forms: an id may hold anything."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.contrib.admin.utils import quote as admin_quote
from django.contrib.admin.utils import unquote as admin_unquote
from django.core.exceptions import BadRequest
from django.urls import reverse

from tasks.large_values import is_unusable_key

TOO_LONG = "too-long="  # in the place of an id that no address has room for
LONGEST_IN_PATH = 20_000  # characters of an id in an address of the admin's


def thread_url(name: str, thread_id: Any, **parameters: Any) -> str:
    """The address of a view of one thread. An id may hold anything, so it is never in the path.

    A parameter that is None is left out, as is the id of a task that a spoilt row lacks. An id too
    long for any address gives that of the page that says so.
    """
    given = {"id": str(thread_id)}
    given |= {key: str(value) for key, value in parameters.items() if value is not None}
    query = "&".join(f"{key}={quote(value, safe='')}" for key, value in given.items())
    return f"{reverse(name)}?{query if len(query) <= settings.MAX_QUERY_LENGTH else TOO_LONG}"


def token_of(thread_id: str) -> str:
    return "id-" + urlsafe_b64encode(str(thread_id).encode()).decode()


def id_of(token: str) -> str:
    """Raises BadRequest for what is no token."""
    try:
        thread_id = urlsafe_b64decode(token.removeprefix("id-")).decode()
    except ValueError:
        thread_id = ""
    if token_of(thread_id) != token:
        raise BadRequest("The form names a thread in a way that cannot be understood.")
    return thread_id


def is_nameless(task_id: Any) -> bool:
    """Whether a row cannot be found by its id, or the id is too long for a path."""
    return is_unusable_key(task_id) or len(task_id) > LONGEST_IN_PATH


def id_in_path(task_id: str | None) -> str:
    """A task's id as one segment of a path, or a form's value, that no browser changes."""
    return admin_quote("id-" + urlsafe_b64encode(str(task_id or "").encode()).decode())


def id_from_path(segment: str) -> str | None:
    """The id of such a segment, or None if it is none."""
    try:
        task_id = urlsafe_b64decode(admin_unquote(segment).removeprefix("id-")).decode()
    except ValueError:
        return None
    return task_id if id_in_path(task_id) == admin_quote(admin_unquote(segment)) else None


def task_address(task_id: Any) -> str:
    """The admin's page of the task with this id; "" where that is too long."""
    if len(str(task_id)) > LONGEST_IN_PATH:
        return ""
    return reverse("admin:tasks_taskrecord_change", args=[id_in_path(task_id)])
