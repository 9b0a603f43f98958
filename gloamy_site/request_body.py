"""Reads request bodies up front, in a limited number of threads.

A body that never ends occupies a server thread for as long as its sender likes: granian has no
timeout for it, and hangs if the request is answered while another thread still reads its body. So
only some threads may wait for bodies; the rest keep serving pages. Forms arrive in milliseconds.
"""

from math import inf

from django.http import HttpRequest, HttpResponse, UnreadablePostError

from gloamy_site.sign_in.limiter import client_network, has_signed_in_before
from tasks.views import errors
from tasks.views.limits import SERVER_THREADS, RequestSlots

MAX_PER_NETWORK = 4
MAX_STRANGERS = SERVER_THREADS // 2
MAX_KNOWN = SERVER_THREADS // 4  # reserved for browsers that have signed in before
RETRY_AFTER = 5  # seconds

# Slots never time out: however long a body takes, its thread is occupied until the end.
_strangers = RequestSlots(MAX_PER_NETWORK, MAX_STRANGERS, lifetime=inf)
_known = RequestSlots(MAX_KNOWN, MAX_KNOWN, lifetime=inf)


def read(request: HttpRequest, length: int) -> HttpResponse | None:
    """Load the whole body into the request; return an error page if that is not possible."""
    if request.method != "POST" or not length:
        return None  # no view reads the body of other methods
    is_known = has_signed_in_before(request)
    release = _known.acquire("") if is_known else _strangers.acquire(client_network(request))
    if release is None:
        return errors.too_many_forms(request, RETRY_AFTER)
    try:
        received = len(request.body)
    except UnreadablePostError:
        received = 0
    finally:
        release()
    return None if received == length else errors.incomplete_body(request)
