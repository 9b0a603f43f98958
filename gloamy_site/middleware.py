"""What holds for every page."""

import logging
from collections.abc import Callable

from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.core.exceptions import BadRequest
from django.db import DEFAULT_DB_ALIAS, DataError, Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.utils.cache import add_never_cache_headers

from tasks.errors import translated
from tasks.views.errors import bad_request, unavailable
from tasks.workspace import store_connection

LONGEST_NEXT = 1_500  # characters of a `next=`; Django drops one that is over 2,048

logger = logging.getLogger(__name__)

View = Callable[[HttpRequest], HttpResponse]


class SignInMiddleware(LoginRequiredMiddleware):
    """Sign-in for every page. An address too long for `next=` waits in the session."""

    def handle_no_permission(
        self, request: HttpRequest, view_func: Callable[..., HttpResponseBase]
    ) -> HttpResponseRedirect:
        if len(request.get_full_path()) <= LONGEST_NEXT:
            return super().handle_no_permission(request, view_func)
        request.session["next"] = request.get_full_path()
        return HttpResponseRedirect(reverse("sign-in"))


class PageMiddleware:
    """Keeps pages out of caches, and answers what no database can look for with a clear error."""

    def __init__(self, get_response: View) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if not response.has_header("Cache-Control"):
            add_never_cache_headers(response)
        return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if isinstance(exception, DataError):  # such as a NUL, which PostgreSQL's texts never hold
            return bad_request(request, BadRequest(f"The database refused it: {exception}."))
        if isinstance(exception, Error):  # locked, full, damaged, gone: it may come back
            logger.error("The database did not answer: %s", request.path, exc_info=exception)
            reason = translated(exception, _failed_connection())
            return unavailable(request, f"{reason}.")
        return None


def _failed_connection() -> BaseDatabaseWrapper:
    store = store_connection()
    return store if store.errors_occurred else connections[DEFAULT_DB_ALIAS]
