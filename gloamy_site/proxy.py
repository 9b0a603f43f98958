"""What a site has to know of its public address, and of a reverse proxy in front of it."""

from collections.abc import Callable, Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse

Network = IPv4Network | IPv6Network

FORWARDED = ("HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO")


def origin(url: str) -> str:
    """The origin that SITE_URL names, or "". Raises ImproperlyConfigured for what is none."""
    found = urlsplit(url.strip().rstrip("/"))
    named = f"{found.scheme}://{found.netloc}"
    if url and (named != url.strip().rstrip("/") or found.scheme not in ("http", "https")):
        raise ImproperlyConfigured("SITE_URL: use an address such as https://tasks.example.org.")
    return named if url else ""


def networks(text: str) -> list[Network]:
    """The addresses or networks that TRUSTED_PROXY lists."""
    try:
        return [ip_network(part.strip()) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise ImproperlyConfigured(f"TRUSTED_PROXY: {error}.") from None


def hosts(text: str) -> list[str]:
    """The names that ALLOWED_HOSTS lists; any name at all would let a foreign page in."""
    found = [host.strip() for host in text.split(",") if host.strip()]
    if "*" in found:
        raise ImproperlyConfigured("ALLOWED_HOSTS: name the hosts; * would allow any.")
    return found


class ProxyMiddleware:
    """Believes a reverse proxy that is trusted, and nobody else, about who asks and how."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        forwarded = {name: request.META.pop(name, "") for name in FORWARDED}
        if is_in(request.META.get("REMOTE_ADDR", ""), settings.TRUSTED_PROXY):
            request.META["HTTP_X_FORWARDED_PROTO"] = forwarded["HTTP_X_FORWARDED_PROTO"]
            # the last one is what the proxy saw; those before it are the visitor's own words
            last = forwarded["HTTP_X_FORWARDED_FOR"].rpartition(",")[2].strip()
            if is_address(last):
                request.META["REMOTE_ADDR"] = last
        return self.get_response(request)


def is_in(address: str, trusted: Iterable[Network]) -> bool:
    return is_address(address) and any(ip_address(address) in network for network in trusted)


def is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
