"""The project's settings for its tests: nothing outside a temporary folder is read or written."""

import os
import tempfile
from pathlib import Path

_temporary = tempfile.TemporaryDirectory(prefix="gloamy-tests-")  # gone when Python ends
FOLDER = Path(_temporary.name)
(FOLDER / "workspace").mkdir()

for _variable in ("TASKS_DATABASE_URL", "ALLOWED_HOSTS"):
    os.environ.pop(_variable, None)
os.environ |= {
    "GLOAMY_WORKSPACE": str(FOLDER / "workspace"),
    "SITE_DATABASE_URL": f"sqlite:///{FOLDER}/site.sqlite3",
    "SECRET_KEY": "of the tests",
}

from gloamy_site.settings import *  # noqa: E402, F403  the environment had to come first
from gloamy_site.settings import DATABASES  # noqa: E402  so here

for _alias in ("default", "tasks"):  # files, because memory knows neither WAL nor locks
    DATABASES[_alias]["TEST"] = {"NAME": FOLDER / f"test-{_alias}.sqlite3"}
# The store once more; where the server is, conftest.py fills in.
DATABASES["postgresql"] = {
    "ENGINE": "django.db.backends.postgresql",
    "NAME": "",
    "CONN_MAX_AGE": 60,
}

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
WHITENOISE_AUTOREFRESH = True  # else each test client looks through all static files
