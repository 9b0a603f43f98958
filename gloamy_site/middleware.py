"""Middleware for every page: request limits, headers, sign-in, masking and database errors."""

import logging
from collections.abc import Callable
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import BadRequest
from django.db import DEFAULT_DB_ALIAS, DataError, Error, connections
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import add_never_cache_headers
from django.utils.deprecation import MiddlewareMixin
from django.utils.http import escape_leading_slashes

from gloamy_site import request_body
from gloamy_site.routers import INDEX
from gloamy_site.sign_in.limiter import client_network
from tasks.index import following
from tasks.secrets import request_masking, response_masking
from tasks.store.errors import translate
from tasks.store.workspace import store_connection
from tasks.transcript import time_zones
from tasks.transcript.invisible import escape_invisible_in_html
from tasks.views import errors
from tasks.views.limits import RequestSlots

METHODS = ["GET", "HEAD", "POST", "OPTIONS"]
HEADERS = {
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": (
        "camera=(), display-capture=(), geolocation=(), hid=(), microphone=(), midi=(),"
        " payment=(), serial=(), usb=()"
    ),
}
SIGN_IN_TIMEOUT = 15 * 60  # seconds to keep a visitor's long URL until they sign in
JSON_TYPES = ("application/json", "application/jsonl")
UNMASKED_TYPES = ("text/css", "text/javascript")  # types that never contain an agent's text
INDEX_FAILED = "The list's index could not be read. If it is damaged, it is being rebuilt."
MAX_NEXT_LENGTH = 1_500  # characters in `next=`; Django rejects URLs longer than 2,048

TOO_LARGE = (
    "A value in the store is larger than SQLite can read (1,000,000,000 bytes). `manage.py"
    " check_store` names the row."
)

# Limits how many sessions strangers can create, per network and in total.
_pending_sign_ins = RequestSlots(per_key=10, total=200, lifetime=SIGN_IN_TIMEOUT)

logger = logging.getLogger(__name__)

View = Callable[[HttpRequest], HttpResponse]


class TimeZoneMiddleware:
    """Activate the time zone of the viewer's browser, or UTC if it has not named a known one yet.

    Streams are generated later, in UTC, which exports need.
    """

    def __init__(self, get_response: View) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with timezone.override(time_zones.find(request.COOKIES.get(time_zones.COOKIE, ""))):
            return self.get_response(request)


class RequestMiddleware:
    """Reject oversized requests and unsupported methods, and add headers to every response."""

    def __init__(self, get_response: View) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        rejection = _rejection(request) or request_body.read(request, _content_length(request))
        response = rejection or self.get_response(request)
        if response.status_code == 405 and not response.streaming and not response.content:
            response = _explain_405(request, response)
        if not response.has_header("Cache-Control"):
            add_never_cache_headers(response)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response


def _rejection(request: HttpRequest) -> HttpResponse | None:
    if request.method not in METHODS:
        return HttpResponseNotAllowed(METHODS)
    if len(request.META.get("QUERY_STRING", "")) > settings.MAX_QUERY_LENGTH:
        return errors.uri_too_long(request)
    if _content_length(request) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
        return errors.content_too_large(request)
    return None


def _content_length(request: HttpRequest) -> int:
    """Return the declared size of the body in bytes, or 0 if it is missing or invalid."""
    header = request.META.get("CONTENT_LENGTH") or "0"
    return int(header) if header.isdecimal() and len(header) < 20 else 0


def _explain_405(request: HttpRequest, original: HttpResponse) -> HttpResponse:
    """Replace Django's empty 405 response with an error page."""
    response = errors.method_not_allowed(request)
    response.headers["Allow"] = original.headers["Allow"]
    return response


class SignInMiddleware(LoginRequiredMiddleware):
    """Require sign-in for every page. The session keeps URLs that are too long for `next=`."""

    def handle_no_permission(
        self, request: HttpRequest, view_func: Callable[..., HttpResponseBase]
    ) -> HttpResponseRedirect:
        url = _referring_page(request) if request.method == "POST" else request.get_full_path()
        if url and len(url) <= MAX_NEXT_LENGTH:
            name = self.get_redirect_field_name(view_func)
            return redirect_to_login(url, self.get_login_url(view_func), name)
        if MAX_NEXT_LENGTH < len(url) <= settings.MAX_QUERY_LENGTH and _may_keep_url(request):
            request.session.clear_expired()  # strangers can create many sessions
            request.session.set_expiry(SIGN_IN_TIMEOUT)
            request.session["next"] = url
        return HttpResponseRedirect(reverse("sign-in"))


def _referring_page(request: HttpRequest) -> str:
    """Return the path of the page that sent this form, or "" if the page is not on this site.

    After sign-in, the browser cannot be sent to the form's target URL, which may not support GET.
    """
    try:
        referer = urlsplit(request.headers.get("Referer", ""))
    except ValueError:
        return ""
    origins = (f"{request.scheme}://{request.get_host()}", settings.SITE_URL)
    if f"{referer.scheme}://{referer.netloc}" not in origins:
        return ""
    page = escape_leading_slashes(referer.path or "/")
    return f"{page}?{referer.query}" if referer.query else page


def _may_keep_url(request: HttpRequest) -> bool:
    """Return whether the session already holds a URL, or the limits allow another session."""
    return "next" in request.session or bool(_pending_sign_ins.acquire(client_network(request)))


class MaskingMiddleware:
    """Mask secrets and show invisible characters in every response, including the admin's.

    Secrets stay visible if the view has called `request_masking.lift`.
    """

    def __init__(self, get_response: View) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with request_masking.response_scope():
            response = self.get_response(request)
            is_masked = not request_masking.is_lifted()
            content_type = response.get("Content-Type", "").partition(";")[0]
            is_json = content_type in JSON_TYPES
            if isinstance(response, response_masking.MaskedPage):
                return response
            if isinstance(response, StreamingHttpResponse):
                _mask_stream(response, is_masked and content_type not in UNMASKED_TYPES, is_json)
            elif content_type == "text/html":
                html = response.content.decode()
                if is_masked:
                    html = response_masking.mask_page(html)
                response.content = escape_invisible_in_html(html)
            elif is_masked and content_type not in UNMASKED_TYPES:
                response.content = response_masking.mask_text(response.content, is_json)
        return response


def _mask_stream(response: StreamingHttpResponse, is_masked: bool, is_json: bool) -> None:
    # The response's chunks are generated only after this middleware has returned.
    response.streaming_content = (
        response_masking.mask_stream(iter(response), is_json)
        if is_masked
        else request_masking.in_current_scope(iter(response))
    )


class DatabaseErrorMiddleware(MiddlewareMixin):
    """Respond to a database error with a page that explains it."""

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if isinstance(exception, DataError):  # for example, a NUL character on PostgreSQL
            if getattr(exception.__cause__, "sqlite_errorname", "") == "SQLITE_TOOBIG":
                return errors.store_unavailable(request, TOO_LARGE)
            reason = f"The database rejected the request: {exception}."
            return errors.bad_request(request, BadRequest(reason))
        if isinstance(exception, Error):  # for example, a locked database; it may recover
            logger.error("The database did not answer: %s", request.path, exc_info=exception)
            if connections[INDEX].errors_occurred:
                following.repair(exception)
                return errors.store_unavailable(request, INDEX_FAILED)
            store = store_connection()
            failed = store if store.errors_occurred else connections[DEFAULT_DB_ALIAS]
            return errors.store_unavailable(request, f"{translate(exception, failed)}.")
        return None
