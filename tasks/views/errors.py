"""Views that show error pages."""

from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import (
    BadRequest,
    DisallowedHost,
    RequestDataTooBig,
    TooManyFieldsSent,
    TooManyFilesSent,
)
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if isinstance(exception, RequestDataTooBig | TooManyFieldsSent | TooManyFilesSent):
        return content_too_large(request)
    reason = "The server could not understand it."
    if isinstance(exception, DisallowedHost):
        reason = "This host name is not allowed. Add it to ALLOWED_HOSTS."
    elif isinstance(exception, BadRequest):
        reason = str(exception)
    return _error(request, 400, "Invalid request", reason)


def incomplete_body(request: HttpRequest) -> HttpResponse:
    return _error(request, 400, "Invalid request", "Only part of the request arrived.")


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _error(request, 403, "You don't have permission", "Ask an administrator for access.")


@login_not_required
def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    advice = "Go back, reload the page and try again."
    return _error(request, 403, "This form has expired", advice)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    has_reason = exception.args and isinstance(exception.args[0], str)
    reason = exception.args[0] if has_reason else "This page does not exist."
    return _error(request, 404, "Not found", reason)


def method_not_allowed(request: HttpRequest) -> HttpResponse:
    return _error(request, 405, "Method not allowed", "This URL cannot be opened directly.")


def content_too_large(request: HttpRequest) -> HttpResponse:
    return _error(request, 413, "Request too large", "Nothing was changed. Send less data.")


def export_too_large(request: HttpRequest, what: str, limit: str) -> HttpResponse:
    reason = (
        f"{what}, but exports are limited to {limit}."
        " Open it in the Raw tab, or use `manage.py export_threads`, which has no limit."
    )
    return _error(request, 413, "This thread is too large", reason)


def uri_too_long(request: HttpRequest) -> HttpResponse:
    return _error(request, 414, "URL too long", "No page has a URL this long.")


def too_many_requests(request: HttpRequest, retry_after: int) -> HttpResponse:
    return _busy(request, 429, "Your other requests are still being processed.", retry_after)


def too_many_forms(request: HttpRequest, retry_after: int) -> HttpResponse:
    return _busy(request, 503, "Other forms are still being received.", retry_after)


def process_ended(request: HttpRequest) -> HttpResponse:
    reason = "Its process ended unexpectedly, perhaps because the server ran out of memory."
    return _error(request, 503, "The request could not be completed", reason)


def store_unavailable(request: HttpRequest, reason: str) -> HttpResponse:
    return _error(request, 503, "The store is unavailable", reason)


def _busy(request: HttpRequest, status: int, reason: str, seconds: int) -> HttpResponse:
    response = _error(request, status, "Please wait", f"{reason} Try again in {seconds} seconds.")
    response.headers["Retry-After"] = str(seconds)
    return response


def _error(request: HttpRequest, status: int, heading: str, reason: str) -> HttpResponse:
    context = {"status": status, "heading": heading, "reason": reason}
    return render(request, "error.html", context, status=status)
