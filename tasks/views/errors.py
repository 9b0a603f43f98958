"""The pages that say what went wrong."""

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
        return too_large(request)
    reason = "It could not be understood."
    if isinstance(exception, DisallowedHost):
        reason = "This server does not go by that name. ALLOWED_HOSTS has to list it."
    elif isinstance(exception, BadRequest):
        reason = str(exception)
    return _error(request, 400, "This request is not right", reason)


def cut_off(request: HttpRequest) -> HttpResponse:
    return _error(request, 400, "This request is not right", "Not all of it arrived.")


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _error(request, 403, "You may not do this", "Ask an administrator for the permission.")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    known = exception.args and isinstance(exception.args[0], str)
    reason = exception.args[0] if known else "There is no such page."
    return _error(request, 404, "Not found", reason)


def wrong_method(request: HttpRequest) -> HttpResponse:
    return _error(request, 405, "This does not open like that", "Go to the page it is on.")


def too_large(request: HttpRequest) -> HttpResponse:
    return _error(request, 413, "This is too much at once", "Nothing was done. Send less.")


def too_large_to_export(request: HttpRequest, length: str, most: str) -> HttpResponse:
    reason = (
        f"Its histories have {length}, and more than {most} is not exported from here."
        " The tab “Raw” opens each as it is stored, and `manage.py export_threads` has no bound."
    )
    return _error(request, 413, "This thread is too large", reason)


def too_long(request: HttpRequest) -> HttpResponse:
    return _error(request, 414, "This address is too long", "No page has one of that length.")


def too_many(request: HttpRequest, seconds: int) -> HttpResponse:
    return _later(request, 429, "Other pages are still being made for you.", seconds)


def too_busy(request: HttpRequest, seconds: int) -> HttpResponse:
    return _later(request, 503, "Other forms are still being received.", seconds)


def unavailable(request: HttpRequest, reason: str) -> HttpResponse:
    return _error(request, 503, "The store is not available", reason)


@login_not_required
def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return _error(
        request,
        403,
        "This form has expired",
        "Go back, load the page again, and send it once more.",
    )


def _later(request: HttpRequest, status: int, reason: str, seconds: int) -> HttpResponse:
    response = _error(request, status, "One moment", f"{reason} Try again in {seconds} seconds.")
    response.headers["Retry-After"] = str(seconds)
    return response


def _error(request: HttpRequest, status: int, heading: str, reason: str) -> HttpResponse:
    context = {"status": status, "heading": heading, "reason": reason}
    return render(request, "error.html", context, status=status)
