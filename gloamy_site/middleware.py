"""What holds for every page."""

import logging
from collections.abc import Callable
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import BadRequest
from django.db import DEFAULT_DB_ALIAS, DataError, Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.urls import reverse
from django.utils.cache import add_never_cache_headers
from django.utils.http import escape_leading_slashes

from gloamy_site import request_body
from gloamy_site.sign_in.limiter import place
from tasks.secrets import request_masking, response_masking
from tasks.store.errors import translated
from tasks.store.workspace import store_connection
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
PATIENCE = 15 * 60  # seconds that an address waits for a sign-in
PROGRAMS = ("text/css", "text/javascript")  # answers that hold nothing an agent wrote
LONGEST_NEXT = 1_500  # characters of a `next=`; Django drops one that is over 2,048

TOO_LARGE = (
    "A value in it is larger than SQLite can read here (1,000,000,000 bytes). `manage.py"
    " check_store` names the row."
)

# Long addresses kept for strangers, of one and of all; each is forgotten with its session.
_waiting = RequestSlots(per_key=10, total=200, lifetime=PATIENCE)

logger = logging.getLogger(__name__)

View = Callable[[HttpRequest], HttpResponse]


class RequestMiddleware:
    """Refuses what no page takes, and sends the headers that every page has."""

    def __init__(self, get_response: View) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        refused = refusal(request) or request_body.read(request, length_of(request))
        response = refused or self.get_response(request)
        if response.status_code == 405 and not response.streaming and not response.content:
            response = with_a_page(request, response)
        if not response.has_header("Cache-Control"):
            add_never_cache_headers(response)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response


def refusal(request: HttpRequest) -> HttpResponse | None:
    """The answer to a request that is too large, or of a method that no page has."""
    if request.method not in METHODS:
        return HttpResponseNotAllowed(METHODS)
    if len(request.META.get("QUERY_STRING", "")) > settings.LONGEST_QUERY:
        return errors.uri_too_long(request)
    if length_of(request) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
        return errors.content_too_large(request)
    return None


def length_of(request: HttpRequest) -> int:
    """The bytes of a body as the request tells them; 0 where it tells none."""
    given = request.META.get("CONTENT_LENGTH") or "0"
    return int(given) if given.isdecimal() and len(given) < 20 else 0


def with_a_page(request: HttpRequest, refused: HttpResponse) -> HttpResponse:
    """A refusal that says so to people; Django's has no content."""
    response = errors.method_not_allowed(request)
    response.headers["Allow"] = refused.headers["Allow"]
    return response


class SignInMiddleware(LoginRequiredMiddleware):
    """Sign-in for every page. An address too long for `next=` waits in the session."""

    def handle_no_permission(
        self, request: HttpRequest, view_func: Callable[..., HttpResponseBase]
    ) -> HttpResponseRedirect:
        wanted = form_page(request) if request.method == "POST" else request.get_full_path()
        if wanted and len(wanted) <= LONGEST_NEXT:
            name = self.get_redirect_field_name(view_func)
            return redirect_to_login(wanted, self.get_login_url(view_func), name)
        if LONGEST_NEXT < len(wanted) <= settings.LONGEST_QUERY and may_wait(request):
            request.session.clear_expired()  # strangers can make these
            request.session.set_expiry(PATIENCE)
            request.session["next"] = wanted
        return HttpResponseRedirect(reverse("sign-in"))


def form_page(request: HttpRequest) -> str:
    """The page of this site that a form stood on, or ""; where it went may not open by itself."""
    try:
        found = urlsplit(request.headers.get("Referer", ""))
    except ValueError:
        return ""
    ours = (f"{request.scheme}://{request.get_host()}", settings.SITE_URL)
    if f"{found.scheme}://{found.netloc}" not in ours:
        return ""
    page = escape_leading_slashes(found.path or "/")
    return f"{page}?{found.query}" if found.query else page


def may_wait(request: HttpRequest) -> bool:
    """Whether a long address is kept; a session that has one makes no new row of it."""
    address = place(request.META.get("REMOTE_ADDR", ""))
    return "next" in request.session or _waiting.acquire(address) is not None


class PageMiddleware:
    """Answers what a database cannot do with a page that says so.

    And in every answer, the admin's and other apps' too, masks secrets unless the view lifted that
    for it, and in a page makes visible what an agent hid in its text.
    """

    def __init__(self, get_response: View) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with request_masking.response_scope():
            response = self.get_response(request)
            if not request_masking.is_lifted():
                mask(response)
            elif isinstance(response, StreamingHttpResponse):  # whose pieces are made later on
                response.streaming_content = request_masking.in_current_scope(iter(response))
        if not response.streaming and response.get("Content-Type", "").startswith("text/html"):
            response.content = escape_invisible_in_html(response.content.decode()).encode()
        return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if isinstance(exception, DataError):  # such as a NUL, which PostgreSQL's texts never hold
            if is_too_large(exception):
                return errors.store_unavailable(request, TOO_LARGE)
            return errors.bad_request(request, BadRequest(f"The database refused it: {exception}."))
        if isinstance(exception, Error):  # locked, full, damaged, gone: it may come back
            logger.error("The database did not answer: %s", request.path, exc_info=exception)
            reason = translated(exception, _failed_connection())
            return errors.store_unavailable(request, f"{reason}.")
        return None


def mask(response: HttpResponseBase) -> None:
    """Put masks for the secrets into an answer of any kind but a program's; in place."""
    kind = response.get("Content-Type", "").partition(";")[0]
    if kind in PROGRAMS:
        return
    if isinstance(response, StreamingHttpResponse):
        response.streaming_content = response_masking.mask_stream(iter(response))
    elif isinstance(response, HttpResponse) and kind == "text/html":
        response.content = response_masking.mask_page(response.content.decode()).encode()
    elif isinstance(response, HttpResponse):
        response.content = response_masking.mask_text(response.content)


def is_too_large(error: Error) -> bool:
    return getattr(error.__cause__, "sqlite_errorname", "") == "SQLITE_TOOBIG"


def _failed_connection() -> BaseDatabaseWrapper:
    store = store_connection()
    return store if store.errors_occurred else connections[DEFAULT_DB_ALIAS]
