"""Handles the site's public address and the reverse proxy in front of the site."""

import re
from collections.abc import Callable, Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.http.request import split_domain_port

Network = IPv4Network | IPv6Network

_WITH_PORT = re.compile(r"\[(?P<v6>[^]]+)\](:\d{1,5})?|(?P<v4>[\d.]+):\d{1,5}", re.ASCII)


def origin(text: str) -> str:
    """Parse SITE_URL. Raises ImproperlyConfigured unless it is empty or just a scheme and host."""
    url = text.strip().rstrip("/")
    if text and not _is_origin(url):
        raise ImproperlyConfigured("SITE_URL: use a URL such as https://tasks.example.org.")
    return url


def _is_origin(text: str) -> bool:
    """Return whether the text is just a scheme and host, without wildcards (`*`, leading dot)."""
    try:
        url = urlsplit(text)
        _ = url.port  # raises ValueError if the port is out of range
    except ValueError:
        return False
    host, _ = split_domain_port(url.netloc)  # an invalid host becomes ""
    is_bare = f"{url.scheme}://{url.netloc}" == text
    return is_bare and url.scheme in ("http", "https") and host.strip(".") == host != ""


def networks(text: str) -> list[Network]:
    """Parse TRUSTED_PROXY. Raises ImproperlyConfigured if it is invalid or matches everything."""
    try:
        parsed = [ip_network(part.strip()) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise ImproperlyConfigured(f"TRUSTED_PROXY: {error}.") from None
    if any(network.prefixlen == 0 for network in parsed):
        raise ImproperlyConfigured("TRUSTED_PROXY: list the proxy; this would trust everyone.")
    return parsed


def hosts(text: str) -> list[str]:
    """Parse ALLOWED_HOSTS. Raises ImproperlyConfigured for `*`, which would allow DNS rebinding."""
    names = [host.strip() for host in text.split(",") if host.strip()]
    if "*" in names:
        raise ImproperlyConfigured("ALLOWED_HOSTS: list the hosts; * would allow any.")
    return names


class ProxyMiddleware:
    """Apply X-Forwarded-For and X-Forwarded-Proto from a trusted proxy; otherwise, drop them."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        forwarded_for = request.META.pop("HTTP_X_FORWARDED_FOR", "")
        forwarded_proto = request.META.pop("HTTP_X_FORWARDED_PROTO", "")
        if _is_in(request.META.get("REMOTE_ADDR", ""), settings.TRUSTED_PROXY):
            request.META["HTTP_X_FORWARDED_PROTO"] = forwarded_proto
            # The trusted proxy appends the last entry; a client may have forged the earlier ones.
            client = _without_port(forwarded_for.rpartition(",")[2].strip())
            if _is_address(client):
                request.META["REMOTE_ADDR"] = client
        return self.get_response(request)


def _is_in(address: str, trusted: Iterable[Network]) -> bool:
    return _is_address(address) and any(ip_address(address) in network for network in trusted)


def _without_port(text: str) -> str:
    """Strip the port from text such as 192.0.2.1:5555 or [2001:db8::1]:443; keep other text."""
    match = _WITH_PORT.fullmatch(text)
    return (match["v6"] or match["v4"]) if match else text


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
