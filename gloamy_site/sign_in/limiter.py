"""Limits password attempts, so that nobody can guess a password or lock others out.

Attempts are counted per network, per account and network, and per account. A browser that has
signed in to the account before carries a cookie and is counted separately, so strangers' attempts
do not affect it. Sign-ins with one-time links are never counted.
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

# Maximum password attempts per window
PER_KNOWN_BROWSER = 10
PER_NETWORK = 20
PER_ACCOUNT_AND_NETWORK = 5
PER_ACCOUNT = 50  # attempts by all unknown browsers together


class Limit(NamedTuple):
    key: str
    attempts: int


def seconds_to_wait(request: HttpRequest, username: str) -> int:
    """Count a sign-in attempt. Return 0 if the password may be checked, else seconds to wait."""
    for limit in _limits(request, username):  # counting stops at the first exceeded limit
        attempt = Attempt.objects.count_one(limit.key, WINDOW)
        if attempt.count > limit.attempts:
            return max(1, int((attempt.until - timezone.now()).total_seconds()) + 1)
    return 0


def reset(request: HttpRequest, username: str) -> None:
    """After a successful sign-in, undo its counts and clear the strictest counter that applies."""
    limits = _limits(request, username)
    Attempt.objects.take_back([limit.key for limit in limits])
    strictest = min(limits, key=lambda limit: limit.attempts)
    Attempt.objects.filter(key=strictest.key).delete()


def _limits(request: HttpRequest, username: str) -> list[Limit]:
    account = _account_key(username)
    browser, _, browser_account = _cookie(request).partition(":")
    if browser and browser_account == account:
        return [Limit(_digest("browser", browser), PER_KNOWN_BROWSER)]
    network = client_network(request)
    return [
        Limit(_digest("address", network), PER_NETWORK),
        Limit(_digest("both", network, account), PER_ACCOUNT_AND_NETWORK),
        Limit(account, PER_ACCOUNT),
    ]


def remember_browser(request: HttpRequest, response: HttpResponse, username: str) -> None:
    """Set a cookie that marks the browser as having signed in to this account."""
    value = f"{get_random_string(22)}:{_account_key(username)}"
    response.set_signed_cookie(
        COOKIE, value, max_age=COOKIE_AGE, secure=request.is_secure(), httponly=True, samesite="Lax"
    )


def has_signed_in_before(request: HttpRequest) -> bool:
    """Return whether this browser has signed in to any account."""
    return bool(_cookie(request))


def client_network(request: HttpRequest) -> str:
    return network_of(request.META.get("REMOTE_ADDR", ""))


def network_of(text: str) -> str:
    """Return an IPv4 address, or the /64 network of an IPv6 address, which one visitor may own."""
    try:
        address = ip_address(text)
    except ValueError:
        return ""
    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or ip_network((int(address), 64), strict=False))
    return str(address)


def _cookie(request: HttpRequest) -> str:
    return request.get_signed_cookie(COOKIE, default="", max_age=COOKIE_AGE) or ""


def _account_key(username: str) -> str:
    return _digest("account", unicodedata.normalize("NFKC", username[:200]).strip().casefold())


def _digest(*parts: str) -> str:
    return salted_hmac("gloamy.sign-in-limit", "\n".join(parts), algorithm="sha256").hexdigest()
