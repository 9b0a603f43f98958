"""What a site has to know of its public address, and of a reverse proxy in front of it."""

import re
from collections.abc import Callable, Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.http.request import split_domain_port

Network = IPv4Network | IPv6Network

WITH_PORT = re.compile(r"\[(?P<v6>[^]]+)\](:\d{1,5})?|(?P<v4>[\d.]+):\d{1,5}", re.ASCII)
FORWARDED = ("HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO")


def origin(url: str) -> str:
    """The origin that SITE_URL names, or "". Raises ImproperlyConfigured for what is none."""
    named = url.strip().rstrip("/")
    if url and not is_origin(named):
        raise ImproperlyConfigured("SITE_URL: use an address such as https://tasks.example.org.")
    return named


def is_origin(text: str) -> bool:
    """Whether it names a scheme and one host: `*` or a leading dot would stand for any."""
    try:
        found = urlsplit(text)
        _ = found.port  # raises for one that is out of range
    except ValueError:
        return False
    host, _ = split_domain_port(found.netloc)  # "" for what no Host header may hold
    is_whole = f"{found.scheme}://{found.netloc}" == text
    return is_whole and found.scheme in ("http", "https") and host.strip(".") == host != ""


def networks(text: str) -> list[Network]:
    """The addresses or networks that TRUSTED_PROXY lists.

    Raises ImproperlyConfigured for what is none, and for all there are: that would be anybody.
    """
    try:
        found = [ip_network(part.strip()) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise ImproperlyConfigured(f"TRUSTED_PROXY: {error}.") from None
    if any(network.prefixlen == 0 for network in found):
        raise ImproperlyConfigured("TRUSTED_PROXY: name the proxy; this would trust anybody.")
    return found


def hosts(text: str) -> list[str]:
    """The names that ALLOWED_HOSTS lists.

    Raises ImproperlyConfigured for any name at all, which would let a foreign page in.
    """
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
            last = without_port(forwarded["HTTP_X_FORWARDED_FOR"].rpartition(",")[2].strip())
            if is_address(last):
                request.META["REMOTE_ADDR"] = last
        return self.get_response(request)


def is_in(address: str, trusted: Iterable[Network]) -> bool:
    return is_address(address) and any(ip_address(address) in network for network in trusted)


def without_port(text: str) -> str:
    """The address of 192.0.2.1:5555 or [2001:db8::1]:443; anything else as it is."""
    found = WITH_PORT.fullmatch(text)
    return (found["v6"] or found["v4"]) if found else text


def is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
