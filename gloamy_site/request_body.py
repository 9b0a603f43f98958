"""What a form brings is read before anything else, and in few places.

A body that never ends keeps one of the server's threads for as long as its sender likes: granian
has no time limit for it, and stands still when it is answered while another thread still reads. So
only some of the threads wait for bodies, and the others go on with pages. A form that is sent as a
whole is there in milliseconds.
"""

from collections.abc import Callable
from math import inf

from django.http import HttpRequest, HttpResponse, UnreadablePostError

from gloamy_site.sign_in.limiter import has_signed_in_before, place
from tasks.views import errors
from tasks.views.limits import SERVER_THREADS, RequestSlots

OF_ADDRESS = 4
OF_STRANGERS = SERVER_THREADS // 2
OF_KNOWN = SERVER_THREADS // 4  # of browsers that have signed in: no stranger takes these
RETRY_AFTER = 5  # seconds

# Without an end: however long a body takes, its slot is not free before its thread is.
_strangers = RequestSlots(OF_ADDRESS, OF_STRANGERS, lifetime=inf)
_known = RequestSlots(OF_KNOWN, OF_KNOWN, lifetime=inf)


def read(request: HttpRequest, length: int) -> HttpResponse | None:
    """Read the whole body; return an error page if it is cut off or no slot is free, else None."""
    if request.method != "POST" or not length:
        return None  # nothing reads what others bring
    release = _acquire_slot(request)
    if release is None:
        return errors.too_many_forms(request, RETRY_AFTER)
    try:
        arrived = len(request.body)
    except UnreadablePostError:
        arrived = 0
    finally:
        release()
    return None if arrived == length else errors.incomplete_body(request)


def _acquire_slot(request: HttpRequest) -> Callable[[], None] | None:
    if has_signed_in_before(request):
        return _known.acquire("")
    return _strangers.acquire(place(request.META.get("REMOTE_ADDR", "")))
