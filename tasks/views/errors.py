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
    reason = "It could not be understood."
    if isinstance(exception, DisallowedHost):
        reason = "This server does not go by that name. ALLOWED_HOSTS has to list it."
    elif isinstance(exception, BadRequest):
        reason = str(exception)
    return _error(request, 400, "This request is not right", reason)


def incomplete_body(request: HttpRequest) -> HttpResponse:
    return _error(request, 400, "This request is not right", "Not all of it arrived.")


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _error(request, 403, "You may not do this", "Ask an administrator for the permission.")


@login_not_required
def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    advice = "Go back, load the page again, and send it once more."
    return _error(request, 403, "This form has expired", advice)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    has_reason = exception.args and isinstance(exception.args[0], str)
    reason = exception.args[0] if has_reason else "There is no such page."
    return _error(request, 404, "Not found", reason)


def method_not_allowed(request: HttpRequest) -> HttpResponse:
    return _error(request, 405, "This does not open like that", "Go to the page it is on.")


def content_too_large(request: HttpRequest) -> HttpResponse:
    return _error(request, 413, "This is too much at once", "Nothing was done. Send less.")


def export_too_large(request: HttpRequest, size: str, limit: str) -> HttpResponse:
    reason = (
        f"Its histories have {size}, and more than {limit} is not exported from here."
        " The tab “Raw” opens each as it is stored, and `manage.py export_threads` has no bound."
    )
    return _error(request, 413, "This thread is too large", reason)


def uri_too_long(request: HttpRequest) -> HttpResponse:
    return _error(request, 414, "This address is too long", "No page has one of that length.")


def too_many_requests(request: HttpRequest, retry_after: int) -> HttpResponse:
    return _busy(request, 429, "Other pages are still being made for you.", retry_after)


def too_many_forms(request: HttpRequest, retry_after: int) -> HttpResponse:
    return _busy(request, 503, "Other forms are still being received.", retry_after)


def process_ended(request: HttpRequest) -> HttpResponse:
    reason = "Its process ended early, perhaps because the server has too little memory."
    return _error(request, 503, "This could not be finished", reason)


def store_unavailable(request: HttpRequest, reason: str) -> HttpResponse:
    return _error(request, 503, "The store is not available", reason)


def _busy(request: HttpRequest, status: int, reason: str, seconds: int) -> HttpResponse:
    response = _error(request, status, "One moment", f"{reason} Try again in {seconds} seconds.")
    response.headers["Retry-After"] = str(seconds)
    return response


def _error(request: HttpRequest, status: int, heading: str, reason: str) -> HttpResponse:
    context = {"status": status, "heading": heading, "reason": reason}
    return render(request, "error.html", context, status=status)
