"""Simulates faults for tests, such as locks held by other programs, and full disks."""

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from django.db.backends.base.base import BaseDatabaseWrapper

from tasks.store import workspace
from tasks.store.sqlite_uri import existing_uri
from tests.support.factories import skip


@contextmanager
def store_at(file: Path, store: BaseDatabaseWrapper) -> Iterator[None]:
    """Use `file`, which may not exist yet, as the store, opened as the server would open it."""
    before = store.settings_dict["NAME"]
    store.close()
    store.settings_dict["NAME"] = existing_uri(file)
    workspace.open_store()
    try:
        yield
    finally:
        store.close()
        store.settings_dict["NAME"] = before


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold the store's write lock during the block, as another program might."""
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    folder.mkdir()
    _as_root("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)  # noqa: S607 - a system command


def remount(folder: Path, options: str) -> None:
    _as_root("mount", "-o", f"remount,{options}", str(folder))


@contextmanager
def unchangeable(path: Path) -> Iterator[None]:
    """Make a file or folder read-only for everybody, including root, during the block."""
    mode = path.stat().st_mode
    if os.geteuid() == 0:
        _as_root("chattr", "+i", str(path))
    else:
        path.chmod(mode & ~0o222)
    try:
        yield
    finally:
        if os.geteuid() == 0:
            subprocess.run(["chattr", "-i", path], check=True)  # noqa: S607 - a system command
        path.chmod(mode)


def _as_root(*command: str) -> None:
    """Run a command that needs root, or skip the test if the command fails."""
    if os.geteuid() == 0:
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode == 0:
            return
        skip(f"{command[0]}: {done.stderr.strip()}")
    skip(f"Only root can {command[0]}.")


def contents(file: Path) -> list[tuple[str, int, int]]:
    """Return each task's id, stored checkpoint count and actual count, using a new connection."""
    with closing(sqlite3.connect(file)) as other:
        assert other.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return other.execute(
            "SELECT task_id, checkpoint_count, (SELECT count(*) FROM task_checkpoints c"
            " WHERE c.task_id = t.task_id) FROM task_records t ORDER BY task_id"
        ).fetchall()
