"""Django settings for the tests, which use only files in a temporary folder."""

import os
import tempfile
from pathlib import Path

_temporary = tempfile.TemporaryDirectory(prefix="gloamy-tests-")  # deleted when Python exits
FOLDER = Path(_temporary.name)
(FOLDER / "workspace").mkdir()

for _variable in ("TASKS_DATABASE_URL", "ALLOWED_HOSTS"):
    os.environ.pop(_variable, None)
os.environ |= {
    "GLOAMY_WORKSPACE": str(FOLDER / "workspace"),
    "SITE_DATABASE_URL": f"sqlite:///{FOLDER}/site.sqlite3",
    "SECRET_KEY": "of the tests",
}

from gloamy_site.settings import *  # noqa: E402, F403 - needs the environment set above
from gloamy_site.settings import DATABASES  # noqa: E402 - needs the environment set above

for _alias in ("default", "tasks"):  # files, because in-memory databases have no WAL or locks
    DATABASES[_alias]["TEST"] = {"NAME": FOLDER / f"test-{_alias}.sqlite3"}
# A store on PostgreSQL. conftest.py fills in the name and address of the database.
DATABASES["postgresql"] = {
    "ENGINE": "django.db.backends.postgresql",
    "NAME": "",
    "CONN_MAX_AGE": 60,
}

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
WHITENOISE_AUTOREFRESH = True  # prevents every test client from scanning all static files
