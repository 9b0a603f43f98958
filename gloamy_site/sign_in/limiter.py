"""How often a password may be tried, so that nobody guesses one and no stranger locks anybody out.

Tries are counted for an address, for an account from one address, and for an account from
everywhere. A browser that has signed in to the account before carries a cookie, and is counted for
itself alone: whatever strangers try does not concern it. One-time links are never counted.
"""

import unicodedata
from datetime import timedelta
from ipaddress import IPv6Address, ip_address, ip_network
from typing import NamedTuple

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.crypto import get_random_string, salted_hmac

from gloamy_site.models import Attempt

WINDOW = timedelta(minutes=15)
COOKIE = "gloamy_known"
COOKIE_AGE = 90 * 24 * 3600  # seconds

OF_KNOWN_BROWSER = 10  # tries within the window
OF_ADDRESS = 20
OF_ACCOUNT_AT_ADDRESS = 5
OF_ACCOUNT = 50  # from all browsers that it does not know


class Limit(NamedTuple):
    key: str
    most: int


def seconds_to_wait(request: HttpRequest, username: str) -> int:
    """Count a try before the password is looked at; 0 if it may be, else how long to wait."""
    for limit in limits(request, username):  # one that is over leaves those after it alone
        attempt = Attempt.objects.count_one(limit.key, WINDOW)
        if attempt.count > limit.most:
            return max(1, int((attempt.until - timezone.now()).total_seconds()) + 1)
    return 0


def succeeded(request: HttpRequest, username: str) -> None:
    """Take the try back; what was counted for this account at this place is forgotten."""
    counted = limits(request, username)
    Attempt.objects.take_back([limit.key for limit in counted])
    Attempt.objects.of(min(counted, key=lambda limit: limit.most).key).delete()


def limits(request: HttpRequest, username: str) -> list[Limit]:
    account = digest("account", canonical(username))
    if browser := known_browser(request, account):
        return [Limit(digest("browser", browser), OF_KNOWN_BROWSER)]
    address = place(request.META.get("REMOTE_ADDR", ""))
    return [
        Limit(digest("address", address), OF_ADDRESS),
        Limit(digest("both", address, account), OF_ACCOUNT_AT_ADDRESS),
        Limit(account, OF_ACCOUNT),
    ]


def remember_browser(request: HttpRequest, response: HttpResponse, username: str) -> None:
    value = f"{get_random_string(22)}:{digest('account', canonical(username))}"
    response.set_signed_cookie(
        COOKIE, value, max_age=COOKIE_AGE, secure=request.is_secure(), httponly=True, samesite="Lax"
    )


def known_browser(request: HttpRequest, account: str) -> str:
    """The name of a browser that has signed in to this account before, or ""."""
    browser, _, of_account = _cookie(request).partition(":")
    return browser if of_account == account else ""


def has_signed_in_before(request: HttpRequest) -> bool:
    """Whether this browser has signed in, to any account."""
    return bool(_cookie(request))


def _cookie(request: HttpRequest) -> str:
    return request.get_signed_cookie(COOKIE, default="", max_age=COOKIE_AGE) or ""


def canonical(username: str) -> str:
    return unicodedata.normalize("NFKC", username[:200]).strip().casefold()


def place(address: str) -> str:
    """An address; of IPv6 the network, of which one visitor has all addresses."""
    try:
        found = ip_address(address)
    except ValueError:
        return ""
    if isinstance(found, IPv6Address):
        return str(found.ipv4_mapped or ip_network((int(found), 64), strict=False))
    return str(found)


def digest(*parts: str) -> str:
    return salted_hmac("gloamy.sign-in-limit", "\n".join(parts), algorithm="sha256").hexdigest()
