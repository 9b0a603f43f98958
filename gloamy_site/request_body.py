"""Reads request bodies before any view runs, in a limited number of threads.

A slow sender occupies a server thread: granian has no timeout for bodies, and hangs if a request is
answered while another thread is still reading its body. Therefore, only some threads may wait for
bodies, for a limited time; the rest keep serving pages. Normal forms arrive in milliseconds.
"""

from math import inf

from django.http import HttpRequest, HttpResponse, UnreadablePostError

from gloamy_site.connections import body_timeout
from gloamy_site.sign_in.limiter import client_network, has_signed_in_before
from tasks.views import errors
from tasks.views.limits import SERVER_THREADS, RequestSlots

MAX_PER_NETWORK = 4
MAX_STRANGERS = SERVER_THREADS // 2
MAX_KNOWN = SERVER_THREADS // 4  # threads reserved for browsers that have signed in before
STRANGERS_TIMEOUT = 10  # seconds; their only form is the one to sign in
KNOWN_TIMEOUT = 60  # seconds for up to 2.5 MB
RETRY_AFTER = 5  # seconds

# These slots never expire, because a thread stays busy until the entire body has arrived.
_strangers = RequestSlots(MAX_PER_NETWORK, MAX_STRANGERS, lifetime=inf)
_known = RequestSlots(MAX_KNOWN, MAX_KNOWN, lifetime=inf)


def read(request: HttpRequest, length: int) -> HttpResponse | None:
    """Read the request's entire body into memory. Return an error page if that fails, else None."""
    if request.method != "POST" or not length:
        return None  # views only read the bodies of POST requests
    is_known = has_signed_in_before(request)
    release = _known.acquire("") if is_known else _strangers.acquire(client_network(request))
    if release is None:
        return errors.too_many_forms(request, RETRY_AFTER)
    address, timeout = request.META["REMOTE_ADDR"], KNOWN_TIMEOUT if is_known else STRANGERS_TIMEOUT
    try:
        with body_timeout(address, timeout):
            received = len(request.body)
    except UnreadablePostError:
        received = 0
    finally:
        release()
    return None if received == length else errors.incomplete_body(request)
