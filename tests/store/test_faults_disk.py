"""Tests with disks that are full, read-only, or unsafe for SQLite's write-ahead log."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import Client

from tasks import service
from tasks.maintenance import read_sources, store_check
from tasks.service import StoreFullError, StoreReadOnlyError
from tasks.store import filesystem, workspace
from tests.support.factories import history, item, loaded, only_sqlite, snapshot, update
from tests.support.store_faults import contents, remount, small_disk, store_at, unchangeable

pytestmark = [pytest.mark.django_db(databases="__all__", transaction=True), only_sqlite]


def large(step_index: int) -> service.TaskCheckpointUpdate:
    text = "x" * 20_000
    return update(step_index=step_index, execution_history=history(text), items=[item(output=text)])


def status(store, client: Client) -> tuple[int, str]:
    """Return the list page's status and HTML, using a new connection as real requests do."""
    store.close()
    response = client.get("/")
    store.close()
    return response.status_code, response.content.decode()


def test_full_store_is_readable_and_loses_nothing(store, store_file: Path):
    service.record_checkpoint(large(1))
    with store.cursor() as cursor:
        cursor.execute("VACUUM")  # removes free pages that earlier tests may have left
        cursor.execute("PRAGMA page_count")
        cursor.execute(f"PRAGMA max_page_count = {cursor.fetchone()[0]}")

    with pytest.raises(StoreFullError, match="is on a full disk"):
        service.record_checkpoint(large(2))

    assert contents(store_file) == [("telegram_42", 1, 1)]
    service.record_checkpoint(large(2))
    assert contents(store_file) == [("telegram_42", 2, 2)]


def test_full_disk_loses_no_acknowledged_write_and_works_once_there_is_room(
    store, viewer: Client, tmp_path: Path
):
    disk = tmp_path / "disk"
    with small_disk(disk, "1m"), store_at(disk / "tasks.db", store):
        count = 0
        with pytest.raises(StoreFullError, match=f"The store at {disk}/tasks.db is on a full disk"):
            while True:
                service.record_checkpoint(large(count))
                count += 1
        with pytest.raises(StoreFullError):
            service.save_snapshot(snapshot(final_response="x" * 100_000))
        assert [step.step_index for step in loaded().checkpoints] == list(range(count))
        assert status(store, viewer)[0] == 200

        fill(disk)
        assert loaded().checkpoint_count == count
        assert status(store, viewer)[0] in (200, 503)  # 503 if no space is left for the -shm file

        remount(disk, "size=8m")
        service.record_checkpoint(large(count))
        assert contents(disk / "tasks.db") == [("telegram_42", count + 1, count + 1)]
        assert status(store, viewer)[0] == 200


def test_disk_without_room_to_open_a_store_is_reported_as_full(store, tmp_path: Path):
    disk = tmp_path / "disk"
    with small_disk(disk, "1m"), store_at(disk / "tasks.db", store):
        service.record_checkpoint(update())
        store.close()  # so that SQLite has to recreate its -shm file
        fill(disk)
        with pytest.raises(StoreFullError, match="is on a full disk"):
            service.load_by_thread_id("telegram_42")

        (disk / "filler").unlink()
        assert loaded().checkpoint_count == 1


def fill(disk: Path) -> None:
    with (disk / "filler").open("wb", buffering=0) as filler, pytest.raises(OSError, match="space"):
        while True:
            filler.write(b"x" * 4096)


@pytest.fixture(params=["file", "folder", "disk"])
def read_only(request: pytest.FixtureRequest, store, tmp_path: Path) -> Iterator[Path]:
    """A folder whose store is read-only during the test and becomes writable again afterwards."""
    folder = tmp_path / "state"
    if request.param == "disk":
        with small_disk(folder, "8m"), store_at(folder / "tasks.db", store):
            service.record_checkpoint(update())
            store.close()
            remount(folder, "ro")
            yield folder
            store.close()
            remount(folder, "rw")
            check_mended(folder)
        return
    folder.mkdir()
    with store_at(folder / "tasks.db", store):
        service.record_checkpoint(update())
        store.close()
        with unchangeable(folder if request.param == "folder" else folder / "tasks.db"):
            yield folder
        check_mended(folder)


def check_mended(folder: Path) -> None:
    service.record_checkpoint(update(step_index=2))
    assert contents(folder / "tasks.db") == [("telegram_42", 2, 2)]


def test_read_only_store_refuses_writes_with_a_clear_message(
    store, viewer: Client, read_only: Path
):
    for _ in range(2):
        for write in (
            lambda: service.record_checkpoint(update(step_index=2)),
            lambda: service.save_snapshot(snapshot()),
            lambda: service.delete_by_thread_id("telegram_42"),
        ):
            with pytest.raises(
                StoreReadOnlyError, match=f"at {read_only.parent} cannot be written"
            ):
                write()
    code, content = status(store, viewer)
    assert code == 200 or (code == 503 and "cannot be written" in content)
    try:  # if this read succeeds, later writes must replace its read-only connection
        assert loaded().checkpoint_count == 1
    except StoreReadOnlyError:
        assert code == 503


MOUNTS = r"""
1 0 8:1 / / rw,relatime shared:1 - ext4 /dev/vda rw
2 1 0:30 / /home/ops/my\040share rw - nfs4 server:/export rw,vers=4.2
3 1 0:31 / /mnt/c rw - 9p C: rw
4 1 0:32 / /mnt/c/local rw - tmpfs tmpfs rw
5 1 0:33 / /srv rw - ext4 /dev/vdb rw
6 1 0:34 / /srv rw master:5 - fuse.sshfs me@there:/ rw
""".lstrip()


@pytest.fixture
def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "mountinfo"
    file.write_text(MOUNTS)
    monkeypatch.setattr(filesystem, "MOUNTS", file)
    return file


@pytest.mark.parametrize(
    ("folder", "kind", "is_safe"),
    [
        ("/home/ops", "ext4", True),
        ("/home/ops/my share", "nfs4", False),
        ("/home/ops/my share/a/b", "nfs4", False),
        ("/home/ops/my sharerer", "ext4", True),
        ("/mnt/c/x", "9p", False),
        ("/mnt/c/local", "tmpfs", True),
        ("/srv/state", "fuse.sshfs", False),
    ],
)
def test_file_system_is_that_of_the_deepest_mount_point(
    store, mounts: Path, folder: str, kind: str, is_safe: bool
):
    assert filesystem.kind(Path(folder)) == kind
    assert (filesystem.warning(Path(folder)) == "") is is_safe


def test_file_system_is_unknown_without_mountinfo(store, mounts: Path):
    mounts.unlink()

    assert filesystem.kind(Path("/srv")) == filesystem.warning(Path("/srv")) == ""


def test_store_on_a_network_file_system_gets_a_warning(store, mounts: Path, store_file: Path):
    folder = store_file.parent
    mounts.write_text(f"1 0 0:1 / {folder} rw - nfs4 server:/ rw\n")
    warning = (
        f"{folder} is on nfs4, a network or virtual file system. SQLite's WAL keeps only programs"
        " of one machine in step: open the store from one machine alone, or use PostgreSQL."
    )

    notes = [f for f in store_check.findings(read_sources.open_store()) if f.kind == "filesystem"]

    assert workspace.warning() == f"{warning}\n"
    assert [(note.text, note.wrong) for note in notes] == [(warning, False)]
    workspace.check_store()


def test_store_on_a_file_system_without_wal_is_refused_with_the_reason(
    store, mounts: Path, store_file: Path
):
    mounts.write_text(f"1 0 0:1 / {store_file.parent} rw - vboxsf share rw\n")
    with store.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode = DELETE")

    with pytest.raises(workspace.WorkspaceError, match="SQLite on vboxsf has journal_mode = del"):
        workspace.check_store()
    store.close()
