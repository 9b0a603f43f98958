"""Settings of the task browser. What may differ between machines is read from the environment here.

GLOAMY_WORKSPACE     the agent's workspace; its store is state/tasks.db (~/.gloamy/workspace)
TASKS_DATABASE_URL   the store elsewhere, such as postgres://user:password@host/tasks
GLOAMY_LINKED_STORE  1 where the store's file may be a link to elsewhere, or have one
SITE_DATABASE_URL    accounts and sessions elsewhere (site.sqlite3 beside manage.py)
SECRET_KEY           for several web hosts; made once and kept beside manage.py otherwise
GLOAMY_STALLED_MINUTES  how long a running thread may be silent before it counts as stalled (10)
GLOAMY_ARCHIVE_DAYS  how long cleared threads are kept, to be restored (30)
GLOAMY_LARGEST_MB    megabytes of a history that is read into memory, where it takes several times
                     as much; of a larger one the beginning is shown (128)
ALLOWED_HOSTS        names the browser may use for this server, separated by commas
SITE_URL             its public address, such as https://tasks.example.org
TRUSTED_PROXY        addresses or networks of the reverse proxy in front, separated by commas
"""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dj_database_url
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from gloamy_site import proxy
from gloamy_site.logs import keep_short
from gloamy_site.secret_key import secret_key
from tasks.store.sqlite_uri import read_only_address

BASE_DIR = Path(__file__).resolve().parent.parent

# How long a server that has gone away is waited for; an address may name its own, such as
# ?connect_timeout=20. For locks, tasks.store.workspace.bound_waits has the time.
POSTGRESQL_WAITS = {
    "connect_timeout": 5,  # seconds
    "keepalives_idle": 10,  # seconds
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # milliseconds
}


def _workspace() -> Path:
    given = os.environ.get("GLOAMY_WORKSPACE")
    folder = Path(given or "~/.gloamy/workspace").expanduser()
    if given and not folder.is_dir():
        raise ImproperlyConfigured(
            f"There is no workspace {folder}; GLOAMY_WORKSPACE or --workspace must name the"
            " agent's folder."
        )
    return folder


def _database(variable: str, default: Path) -> dict[str, Any]:
    url = os.environ.get(variable)
    if not url:
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": default}
    return _parsed(url, variable)


def _parsed(url: str, name: str) -> dict[str, Any]:
    try:
        database: dict[str, Any] = dict(dj_database_url.parse(url))
    except ValueError as error:
        raise ImproperlyConfigured(f"{name}: {error}") from None
    if "sqlite3" not in database["ENGINE"] and "postgresql" not in database["ENGINE"]:
        raise ImproperlyConfigured(f"{name}: use a sqlite:// or a postgres:// address.")
    return database


def database_at(url: str, name: str) -> dict[str, Any]:
    """An entry for DATABASES; `name` is what an error calls the address."""
    database = _parsed(url, name)
    return _read_only(database) if _is_read_only(database) else _with_options(database)


def _is_read_only(database: dict[str, Any]) -> bool:
    """Whether the file is there but cannot be written; SQLite also writes files beside it."""
    if "sqlite3" not in database["ENGINE"]:
        return False
    file = Path(database["NAME"])
    # os.path.exists: a folder that may not be looked into is a matter for the check at the start
    writable = os.access(file, os.W_OK) and os.access(file.parent, os.W_OK)
    return os.path.exists(file) and not writable


def _with_options(database: dict[str, Any]) -> dict[str, Any]:
    """SQLite as the daemon opens it. BEGIN stays deferred: a page must not take the write lock."""
    if "sqlite3" not in database["ENGINE"]:
        options = POSTGRESQL_WAITS | database.get("OPTIONS", {})
        return database | {"CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True, "OPTIONS": options}
    options = {
        "timeout": 30,  # seconds that a write waits for the lock
        "init_command": (
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA temp_store = MEMORY"
        ),
    }
    return database | {"OPTIONS": options}


def _read_only(database: dict[str, Any]) -> dict[str, Any]:
    return database | {
        "NAME": read_only_address(Path(database["NAME"])),
        "OPTIONS": {"timeout": 30, "uri": True},
    }


def _minutes(variable: str, default: int) -> timedelta:
    given = os.environ.get(variable) or str(default)
    if not (given.isascii() and given.isdecimal() and int(given[:9]) > 0 and len(given) < 7):
        raise ImproperlyConfigured(f"{variable} must be a number of minutes, not “{given}”.")
    return timedelta(minutes=int(given))


def _days(variable: str, default: int) -> timedelta:
    given = os.environ.get(variable) or str(default)
    if not (given.isascii() and given.isdecimal() and len(given) < 6):
        raise ImproperlyConfigured(f"{variable} must be a number of days, not “{given}”.")
    return timedelta(days=int(given))


def _megabytes(variable: str, default: int) -> int:
    given = os.environ.get(variable) or str(default)
    if not (given.isascii() and given.isdecimal() and 0 < int(given[:9]) <= 900):
        raise ImproperlyConfigured(f"{variable} must be megabytes, from 1 to 900, not “{given}”.")
    return int(given) * 1_000_000


WORKSPACE = _workspace()
_tasks = _database("TASKS_DATABASE_URL", WORKSPACE / "state" / "tasks.db")
TASKS_READ_ONLY = _is_read_only(_tasks)
LINKED_STORE = os.environ.get("GLOAMY_LINKED_STORE") == "1"

STALLED_AFTER = _minutes("GLOAMY_STALLED_MINUTES", 10)
ARCHIVE_DAYS = _days("GLOAMY_ARCHIVE_DAYS", 30)
LARGEST_HISTORY = _megabytes("GLOAMY_LARGEST_MB", 128)  # bytes

DATABASES = {
    "default": _with_options(_database("SITE_DATABASE_URL", BASE_DIR / "site.sqlite3")),
    "tasks": _read_only(_tasks) if TASKS_READ_ONLY else _with_options(_tasks),
}
DATABASE_ROUTERS = ["gloamy_site.routers.TaskStoreRouter"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

SECRET_KEY = secret_key(BASE_DIR / "secret_key")
DEBUG = False  # and nothing turns it on: its pages show what a visitor must not see

SITE_URL = proxy.origin(os.environ.get("SITE_URL", ""))
TRUSTED_PROXY = proxy.networks(os.environ.get("TRUSTED_PROXY", ""))
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]"]
ALLOWED_HOSTS += proxy.hosts(os.environ.get("ALLOWED_HOSTS", ""))
ALLOWED_HOSTS += [host] if (host := urlsplit(SITE_URL).hostname) else []
CSRF_TRUSTED_ORIGINS = [SITE_URL] if SITE_URL else []  # where the proxy changes the Host header
if TRUSTED_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
IS_HTTPS = SITE_URL.startswith("https:")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = IS_HTTPS
SECURE_SSL_HOST = urlsplit(SITE_URL).netloc if IS_HTTPS else None  # whatever Host was asked for
SECURE_HSTS_SECONDS = 30 * 24 * 3600 if IS_HTTPS else 0
SILENCED_SYSTEM_CHECKS = [
    "security.W005",  # HSTS for subdomains: other hosts under this name are not ours to bind
    "security.W021",  # and neither is the browsers' preload list
]

INSTALLED_APPS = [
    "gloamy_site",
    "tasks",
    "archive",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "csp",
    "django_htmx",
]

MIDDLEWARE = [
    "gloamy_site.proxy.ProxyMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "gloamy_site.middleware.RequestMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "gloamy_site.middleware.SignInMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "gloamy_site.middleware.PageMiddleware",
]

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}

ROOT_URLCONF = "gloamy_site.urls"
WSGI_APPLICATION = "gloamy_site.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "tasks.store.workspace.context",
                "tasks.store.daemon.context",
            ],
        },
    },
]

STATIC_URL = "static/"
WHITENOISE_USE_FINDERS = True  # the files are few: served from where they lie, with an ETag

LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "threads"
LOGOUT_REDIRECT_URL = "sign-in"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "sesame.backends.ModelBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
SESAME_TOKEN_NAME = "token"
SESAME_ONE_TIME = True
SESAME_MAX_AGE = 15 * 60  # seconds
SESSION_COOKIE_NAME = "gloamy_session"
SESSION_COOKIE_AGE = 7 * 24 * 3600  # seconds
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"  # a link from elsewhere opens signed in
CSRF_COOKIE_NAME = "gloamy_csrf"
CSRF_FAILURE_VIEW = "tasks.views.errors.csrf_failure"
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
SECURE_REFERRER_POLICY = "same-origin"  # no-referrer would make the Origin of a form null

# What a request may hold; tasks/views/limits.py bounds heavy work.
LONGEST_QUERY = 60_000  # characters; an id may be 9,000 bytes, each as %XX and more
DATA_UPLOAD_MAX_MEMORY_SIZE = 2_500_000  # bytes of a body
DATA_UPLOAD_MAX_NUMBER_FIELDS = 1_000
DATA_UPLOAD_MAX_NUMBER_FILES = 0  # no page takes one
FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.MemoryFileUploadHandler"]

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"escaped": {"()": "gloamy_site.logs.Formatter"}},
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": "escaped",
            "filters": [keep_short],
        }
    },
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "django": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
        "django.request": {"level": "ERROR"},  # a wrong address is the visitor's matter
    },
}

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True
