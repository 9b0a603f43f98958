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
from tasks.views.limits import THREADS, Places

OF_ADDRESS = 4
OF_STRANGERS = THREADS // 2
OF_KNOWN = THREADS // 4  # of browsers that have signed in: no stranger takes these
RETRY_AFTER = 5  # seconds

# Without an end: however long a body takes, its place is not free before its thread is.
_strangers = Places(OF_ADDRESS, OF_STRANGERS, longest=inf)
_known = Places(OF_KNOWN, OF_KNOWN, longest=inf)


def read(request: HttpRequest, length: int) -> HttpResponse | None:
    """Keep the whole body with the request; the answer where it did not come, or has no place."""
    if request.method != "POST" or not length:
        return None  # nothing reads what others bring
    give_back = _place_of(request)
    if give_back is None:
        return errors.too_busy(request, RETRY_AFTER)
    try:
        arrived = len(request.body)
    except UnreadablePostError:
        arrived = 0
    finally:
        give_back()
    return None if arrived == length else errors.cut_off(request)


def _place_of(request: HttpRequest) -> Callable[[], None] | None:
    if has_signed_in_before(request):
        return _known.take("")
    return _strangers.take(place(request.META.get("REMOTE_ADDR", "")))
