"""Settings for the task browser. They read these environment variables (defaults in parentheses):

GLOAMY_WORKSPACE     the agent's workspace; its store is state/tasks.db (~/.gloamy/workspace)
GLOAMY_HEARTBEAT     the daemon's heartbeat file (daemon_state.json next to the workspace)
TASKS_DATABASE_URL   the store's URL if it is elsewhere, such as postgres://user:password@host/tasks
GLOAMY_LINKED_STORE  1 to allow a store file that is a symbolic link or has a second hard link
SITE_DATABASE_URL    URL of the database for accounts and sessions (site.sqlite3 next to manage.py)
SECRET_KEY           signs sessions; must be the same on all web hosts (generated next to manage.py)
GLOAMY_STALLED_MINUTES  minutes without an update before a running thread counts as stalled (10)
GLOAMY_ARCHIVE_DAYS  number of days during which cleared threads can be restored (30)
GLOAMY_LARGEST_MB    size in megabytes of the largest history to show, search and export (128);
                     of larger ones, only the start is shown. The transcript reads parts of a
                     history, but a search in it takes several times its size in memory
ALLOWED_HOSTS        additional host names of this server, separated by commas
SITE_URL             the public address of this server, such as https://tasks.example.org
TRUSTED_PROXY        IP addresses or networks of the reverse proxy, separated by commas
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
from gloamy_site.logs import truncate
from gloamy_site.secret_key import secret_key
from tasks.store.sqlite_uri import existing_uri, read_only_uri

BASE_DIR = Path(__file__).resolve().parent.parent

# Timeouts for an unreachable server. A URL can override them, for example with ?connect_timeout=20.
# Lock timeouts are set in tasks.store.workspace.prepare_server.
POSTGRESQL_TIMEOUTS = {
    "connect_timeout": 5,  # seconds
    "keepalives_idle": 10,  # seconds
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # milliseconds
}


def _workspace() -> Path:
    path = os.environ.get("GLOAMY_WORKSPACE")
    folder = Path(path or "~/.gloamy/workspace").expanduser()
    if path and not folder.is_dir():
        raise ImproperlyConfigured(
            f"There is no workspace {folder}; GLOAMY_WORKSPACE or --workspace must name the"
            " agent's folder."
        )
    return folder


def _database(variable: str, default: Path) -> dict[str, Any]:
    url = os.environ.get(variable)
    if not url:
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": default}
    return _parse_url(url, variable)


def _parse_url(url: str, name: str) -> dict[str, Any]:
    try:
        database: dict[str, Any] = dict(dj_database_url.parse(url))
    except ValueError as error:
        raise ImproperlyConfigured(f"{name}: {error}") from None
    if "sqlite3" not in database["ENGINE"] and "postgresql" not in database["ENGINE"]:
        raise ImproperlyConfigured(f"{name}: use a sqlite:// or postgres:// URL.")
    return database


def database_at(url: str, name: str) -> dict[str, Any]:
    """Return the DATABASES entry for this URL. Error messages refer to the URL as `name`."""
    database = _parse_url(url, name)
    return _read_only(database) if _is_read_only(database) else _with_options(database)


def _is_read_only(database: dict[str, Any]) -> bool:
    """Return whether an existing SQLite file or its folder, where the WAL goes, is read-only."""
    if "sqlite3" not in database["ENGINE"]:
        return False
    file = Path(database["NAME"])
    # Path.exists would raise an error for an inaccessible folder, which `serve` reports later.
    writable = os.access(file, os.W_OK) and os.access(file.parent, os.W_OK)
    return os.path.exists(file) and not writable


def _with_options(database: dict[str, Any]) -> dict[str, Any]:
    """Add the daemon's SQLite options. BEGIN stays deferred so that pages take no write lock."""
    if "sqlite3" not in database["ENGINE"]:
        options = POSTGRESQL_TIMEOUTS | database.get("OPTIONS", {})
        return database | {"CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True, "OPTIONS": options}
    options = {
        "timeout": 30,  # seconds to wait for the write lock
        "init_command": (
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA temp_store = MEMORY"
        ),
    }
    return database | {"OPTIONS": options}


def _site_database() -> dict[str, Any]:
    database = _with_options(_database("SITE_DATABASE_URL", BASE_DIR / "site.sqlite3"))
    # Stays open between requests, because opening a file takes as long as answering a poll.
    database["CONN_MAX_AGE"] = 60
    if "sqlite3" in database["ENGINE"]:
        options = database["OPTIONS"]
        # The first write of a transaction that has already read would fail instead of waiting.
        options["transaction_mode"] = "IMMEDIATE"
        # Each commit returns what it frees, such as archives, to the disk. This must come first. An
        # existing file has to be rewritten once, by `reclaim_space`.
        options["init_command"] = f"PRAGMA auto_vacuum = FULL; {options['init_command']}"
    return database


def _read_only(database: dict[str, Any]) -> dict[str, Any]:
    return database | {
        "NAME": read_only_uri(Path(database["NAME"])),
        "OPTIONS": {"timeout": 30, "uri": True},
    }


def _existing(database: dict[str, Any]) -> dict[str, Any]:
    """Keep SQLite from creating a missing file; `tasks.store.workspace.prepare` does that."""
    if "sqlite3" not in database["ENGINE"]:
        return database
    return database | {"NAME": existing_uri(Path(database["NAME"]))}


def _index() -> dict[str, Any]:
    """Return the DATABASES entry of the store's index, a file beside the site's database."""
    site = _database("SITE_DATABASE_URL", BASE_DIR / "site.sqlite3")
    beside = Path(site["NAME"]).parent if "sqlite3" in site["ENGINE"] else BASE_DIR
    file = {"ENGINE": "django.db.backends.sqlite3", "NAME": beside / "index.sqlite3"}
    database = _with_options(file)
    options = database["OPTIONS"] | {"transaction_mode": "IMMEDIATE"}
    options["init_command"] += "; PRAGMA secure_delete = ON"  # so that nothing erased stays in it
    # If it has to be in memory, its readers would otherwise fail while a thread writes.
    options["init_command"] += "; PRAGMA read_uncommitted = ON"
    return database | {"CONN_MAX_AGE": 60, "OPTIONS": options}


def _number(variable: str, default: int, description: str, allowed: range) -> int:
    text = os.environ.get(variable) or str(default)
    if not (text.isascii() and text.isdecimal() and len(text) < 7 and int(text) in allowed):
        raise ImproperlyConfigured(f"{variable} must be {description}, not “{text}”.")
    return int(text)


WORKSPACE = _workspace()
_heartbeat = os.environ.get("GLOAMY_HEARTBEAT")
HEARTBEAT_FILE = Path(_heartbeat).expanduser() if _heartbeat else None
_tasks = _database("TASKS_DATABASE_URL", WORKSPACE / "state" / "tasks.db")
TASKS_READ_ONLY = _is_read_only(_tasks)
ALLOW_LINKED_STORE = os.environ.get("GLOAMY_LINKED_STORE") == "1"

STALLED_AFTER = timedelta(
    minutes=_number("GLOAMY_STALLED_MINUTES", 10, "a number of minutes", range(1, 10**6))
)
ARCHIVE_RETENTION = timedelta(
    days=_number("GLOAMY_ARCHIVE_DAYS", 30, "a number of days", range(10**5))
)
MAX_HISTORY_SIZE = 1_000_000 * _number(  # bytes
    "GLOAMY_LARGEST_MB", 128, "megabytes, from 1 to 900", range(1, 901)
)

DATABASES = {
    "default": _existing(_site_database()),
    "tasks": _read_only(_tasks) if TASKS_READ_ONLY else _existing(_with_options(_tasks)),
    "index": _index(),
}
CACHES = {  # the latest lists, for polls, and their rows; see tasks.views.sharing
    name: {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "LOCATION": name,
        "OPTIONS": {"MAX_ENTRIES": size},
    }
    for name, size in {"default": 16, "parts": 2_000}.items()
}
DATABASE_ROUTERS = ["gloamy_site.routers.TaskStoreRouter"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

SECRET_KEY = secret_key(BASE_DIR / "secret_key")
DEBUG = False  # always off, because debug pages would show visitors confidential data

SITE_URL = proxy.origin(os.environ.get("SITE_URL", ""))
TRUSTED_PROXY = proxy.networks(os.environ.get("TRUSTED_PROXY", ""))
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]"]
ALLOWED_HOSTS += proxy.hosts(os.environ.get("ALLOWED_HOSTS", ""))
ALLOWED_HOSTS += [host] if (host := urlsplit(SITE_URL).hostname) else []
CSRF_TRUSTED_ORIGINS = [SITE_URL] if SITE_URL else []  # some proxies change the Host header
if TRUSTED_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
IS_HTTPS = SITE_URL.startswith("https:")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = IS_HTTPS
SECURE_SSL_HOST = urlsplit(SITE_URL).netloc if IS_HTTPS else None  # do not trust the Host header
SECURE_HSTS_SECONDS = 30 * 24 * 3600 if IS_HTTPS else 0
SILENCED_SYSTEM_CHECKS = [
    "security.W005",  # no HSTS for subdomains, which may belong to other sites
    "security.W021",  # no HSTS preload, because it would also cover subdomains
]

INSTALLED_APPS = [
    "gloamy_site",
    "tasks",
    "tasks.index",
    "archive",
    "django.contrib.admin.apps.SimpleAdminConfig",  # the URLs load its pages: agents need none
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
    "gloamy_site.compression.StaticFilesMiddleware",
    "gloamy_site.compression.CompressionMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "gloamy_site.middleware.TimeZoneMiddleware",
    "gloamy_site.middleware.RequestMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "gloamy_site.middleware.SignInMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "gloamy_site.middleware.MaskingMiddleware",
    "gloamy_site.middleware.DatabaseErrorMiddleware",
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
WHITENOISE_USE_FINDERS = True  # serve static files without running collectstatic

LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "overview"
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
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"  # so that links from other sites work
CSRF_COOKIE_NAME = "gloamy_csrf"
CSRF_FAILURE_VIEW = "tasks.views.errors.csrf_failure"
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
SECURE_REFERRER_POLICY = "same-origin"  # with no-referrer, forms would send a null Origin header

# Limits for each request; tasks/views/limits.py limits concurrent heavy requests.
MAX_QUERY_LENGTH = 60_000  # characters; a thread id may have 9,000 bytes, each escaped as %XX
DATA_UPLOAD_MAX_MEMORY_SIZE = 2_500_000  # bytes
DATA_UPLOAD_MAX_NUMBER_FIELDS = 1_000
DATA_UPLOAD_MAX_NUMBER_FILES = 0  # no page accepts file uploads
FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.MemoryFileUploadHandler"]

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"escaped": {"()": "gloamy_site.logs.Formatter"}},
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": "escaped",
            "filters": [truncate],
        }
    },
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "django": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
        "django.request": {"level": "ERROR"},  # 404s are not worth a warning
    },
}

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"  # in logs and for commands; pages use that of the viewer
USE_I18N = False
USE_TZ = True
