"""Tests for deployment settings: the secret key, allowed hosts and trusted proxies."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.utils import get_random_secret_key
from django.http import HttpRequest, HttpResponse
from django.test import Client

from gloamy_site import proxy
from gloamy_site import settings as settings_module
from gloamy_site.secret_key import secret_key

ROOT = Path(__file__).resolve().parents[2]
PRODUCTION = {
    "SITE_URL": "https://tasks.example.org",
    "TRUSTED_PROXY": "127.0.0.1",
    "SECRET_KEY": get_random_secret_key(),
}


def manage(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
    own = {"SITE_DATABASE_URL": f"sqlite:///{folder}/site.sqlite3"}
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=inherited | own | environment,
        capture_output=True,
        text=True,
    )


def test_deployment_check_passes_with_the_documented_settings(tmp_path: Path):
    check = ("check", "--deploy", "--fail-level", "WARNING")

    result = manage(*check, folder=tmp_path, **PRODUCTION)

    assert (result.returncode, result.stderr) == (0, "")
    assert "(2 silenced)" in result.stdout


def test_debug_cannot_be_enabled(tmp_path: Path):
    debug = {"DEBUG": "True", "DJANGO_DEBUG": "1", "GLOAMY_DEBUG": "on"}

    result = manage("diffsettings", folder=tmp_path, **PRODUCTION, **debug)

    assert result.returncode == 0, result.stderr
    assert "\nDEBUG =" not in result.stdout  # diffsettings omits defaults, so DEBUG is False
    assert "\nSESSION_COOKIE_SECURE = True\n" in result.stdout
    assert "\nCSRF_COOKIE_SECURE = True\n" in result.stdout


def test_debug_is_set_once():
    text = (ROOT / "gloamy_site" / "settings.py").read_text(encoding="utf-8")

    assert [line.split("#")[0].strip() for line in text.splitlines() if "DEBUG" in line] == [
        "DEBUG = False"
    ]


@pytest.fixture
def key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("SECRET_KEY")
    return tmp_path / "secret_key"


def test_key_is_generated_once_and_private(key_file: Path):
    key = secret_key(key_file)

    assert secret_key(key_file) == key
    assert len(key) >= 50
    assert [file.name for file in key_file.parent.iterdir()] == ["secret_key"]
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600


def test_readable_key_is_made_private(key_file: Path):
    key_file.write_text("x" * 50)
    key_file.chmod(0o644)

    assert secret_key(key_file) == "x" * 50
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600


def test_empty_key_is_rejected(key_file: Path):
    key_file.touch()

    with pytest.raises(ImproperlyConfigured, match="is empty; delete it to have a new one created"):
        secret_key(key_file)


def test_key_that_cannot_be_written_is_an_error(key_file: Path):
    with pytest.raises(ImproperlyConfigured, match=r"No such file.*Set SECRET_KEY instead"):
        secret_key(key_file.parent / "missing" / "secret_key")


HERE = ["127.0.0.1", "localhost", "[::1]", "127.0.0.1:8765", "LOCALHOST"]
OTHERS = [
    "evil.example",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "127.0.0.1@evil.example",
    "169.254.169.254",
    "0.0.0.0",  # noqa: S104 - browsers accept it as a name for this machine
    "",
    "evil.example/127.0.0.1",
]


@pytest.mark.django_db
@pytest.mark.parametrize("host", HERE + OTHERS)
def test_only_allowed_hosts_are_served(client: Client, settings, host: str):
    settings.ALLOWED_HOSTS = settings_module.ALLOWED_HOSTS

    response = client.get("/sign-in/", headers={"Host": host, "X-Forwarded-Host": "localhost"})

    assert response.status_code == (200 if host in HERE else 400)
    assert response.status_code == 200 or "Add it to ALLOWED_HOSTS" in response.content.decode()


@pytest.mark.parametrize(
    "url", ["", "https://a.example", "https://a.example:8443/", "http://[::1]:80"]
)
def test_site_url_is_an_origin(url: str):
    assert proxy.origin(url) == url.rstrip("/")


@pytest.mark.parametrize(
    ("read", "text", "name"),
    [
        (proxy.origin, "tasks.example.org", "SITE_URL"),
        (proxy.origin, "ftp://a.example", "SITE_URL"),
        (proxy.origin, "https://a.example/path", "SITE_URL"),
        (proxy.origin, "https://", "SITE_URL"),
        (proxy.origin, "https://*", "SITE_URL"),
        (proxy.origin, "https://*.example.org", "SITE_URL"),
        (proxy.origin, "https://.example.org", "SITE_URL"),
        (proxy.origin, "https://.", "SITE_URL"),
        (proxy.origin, "https://user@a.example", "SITE_URL"),
        (proxy.origin, "https://user:pw@a.example", "SITE_URL"),
        (proxy.origin, "https://@a.example", "SITE_URL"),
        (proxy.origin, "https://:8443", "SITE_URL"),
        (proxy.origin, "https://a.example:99999", "SITE_URL"),
        (proxy.origin, "https://a.example:x", "SITE_URL"),
        (proxy.origin, "https://[::1", "SITE_URL"),
        (proxy.origin, "https://a example", "SITE_URL"),
        (proxy.origin, "/", "SITE_URL"),
        (proxy.networks, "1", "TRUSTED_PROXY"),
        (proxy.networks, "proxy.example.org", "TRUSTED_PROXY"),
        (proxy.networks, "10.0.0.1/8", "TRUSTED_PROXY"),
        (proxy.networks, "127.0.0.1, 0.0.0.0/0", "TRUSTED_PROXY"),
        (proxy.networks, "::/0", "TRUSTED_PROXY"),
        (proxy.hosts, "a.example,*", "ALLOWED_HOSTS"),
    ],
)
def test_invalid_setting_is_named(read, text: str, name: str):
    with pytest.raises(ImproperlyConfigured, match=f"^{name}: "):
        read(text)


def trusted(peer: str, **headers: str) -> tuple[str, bool]:
    """Return the client IP address and whether Django considers the request secure."""
    request = HttpRequest()
    request.META = {"REMOTE_ADDR": peer, "wsgi.url_scheme": "http", **headers}
    proxy.ProxyMiddleware(lambda request: HttpResponse())(request)
    return request.META["REMOTE_ADDR"], request.is_secure()


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "address", "is_secure"),
    [
        ("127.0.0.1", "203.0.113.1", "203.0.113.1", True),
        ("10.1.2.3", "6.6.6.6, 203.0.113.1", "203.0.113.1", True),  # the first address is forged
        ("127.0.0.1", "2001:db8::1", "2001:db8::1", True),
        ("127.0.0.1", "6.6.6.6, 203.0.113.1:5555", "203.0.113.1", True),
        ("127.0.0.1", "[2001:db8::1]:443", "2001:db8::1", True),
        ("127.0.0.1", "[2001:db8::1]", "2001:db8::1", True),
        ("127.0.0.1", "[203.0.113.1:443", "127.0.0.1", True),
        ("127.0.0.1", "203.0.113.1:x", "127.0.0.1", True),
        ("127.0.0.1", "<script>", "127.0.0.1", True),
        ("127.0.0.1", "", "127.0.0.1", True),
        ("203.0.113.9", "203.0.113.1", "203.0.113.9", False),  # the peer is not a trusted proxy
        ("", "203.0.113.1", "", False),
    ],
)
def test_only_the_trusted_proxy_is_trusted(
    settings, peer: str, forwarded_for: str, address: str, is_secure: bool
):
    settings.TRUSTED_PROXY = proxy.networks("127.0.0.1, 10.0.0.0/8")
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    headers = {"HTTP_X_FORWARDED_FOR": forwarded_for, "HTTP_X_FORWARDED_PROTO": "https"}

    assert trusted(peer, **headers) == (address, is_secure)


def test_no_proxy_is_trusted_by_default():
    assert settings.TRUSTED_PROXY == []
    assert not settings.USE_X_FORWARDED_HOST
    assert settings.SECURE_PROXY_SSL_HEADER is None
    assert trusted("127.0.0.1", HTTP_X_FORWARDED_FOR="6.6.6.6") == ("127.0.0.1", False)


@pytest.mark.django_db
def test_site_behind_tls_has_secure_cookies_and_redirects_plain_http(client: Client, settings):
    settings.ALLOWED_HOSTS = ["tasks.example.org"]
    settings.TRUSTED_PROXY = proxy.networks("127.0.0.1")
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    settings.SECURE_SSL_REDIRECT = settings.CSRF_COOKIE_SECURE = True
    settings.SECURE_HSTS_SECONDS = 60
    host = {"Host": "tasks.example.org"}

    plain = client.get("/sign-in/", headers=host)
    secure = client.get("/sign-in/", headers=host | {"X-Forwarded-Proto": "https"})

    assert plain["Location"] == "https://tasks.example.org/sign-in/"
    assert secure["Strict-Transport-Security"] == "max-age=60"
    cookie = secure.cookies["gloamy_csrf"]
    assert (cookie["secure"], cookie["httponly"], cookie["samesite"]) == (True, True, "Lax")
