"""The pages that say what went wrong."""

from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    reason = str(exception) if isinstance(exception, BadRequest) else "It could not be understood."
    return _error(request, 400, "This request is not right", reason)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _error(request, 403, "You may not do this", "Ask an administrator for the permission.")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    known = exception.args and isinstance(exception.args[0], str)
    reason = exception.args[0] if known else "There is no such page."
    return _error(request, 404, "Not found", reason)


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


def _error(request: HttpRequest, status: int, heading: str, reason: str) -> HttpResponse:
    context = {"status": status, "heading": heading, "reason": reason}
    return render(request, "error.html", context, status=status)
