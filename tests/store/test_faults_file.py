"""Tests what happens if the store file is deleted, replaced or damaged while it is open."""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from django.db import transaction
from django.test import Client

from tasks import service
from tasks.service import (
    StoreDamagedError,
    StoreMissingError,
    StoreUnavailableError,
)
from tasks.store import file_identity
from tests.support.factories import loaded, only_sqlite, snapshot, update
from tests.support.store_faults import contents, store_at

pytestmark = [pytest.mark.django_db(databases="__all__", transaction=True), only_sqlite]


@pytest.fixture
def file(tmp_path: Path, store) -> Iterator[Path]:
    """The file of an open store with one checkpoint; an intact copy of the file is next to it."""
    file = tmp_path / "tasks.db"
    with store_at(file, store):
        service.record_checkpoint(update())
        store.close()  # moves the contents of the WAL into the file
        shutil.copyfile(file, tmp_path / "copy")
        assert loaded().checkpoint_count == 1
        yield file


def delete(file: Path) -> None:
    for path in file.parent.glob("tasks.db*"):
        path.rmdir() if path.is_dir() else path.unlink()


def replace(file: Path) -> None:
    delete(file)
    shutil.copyfile(file.parent / "copy", file)


def cut_off(file: Path, size: int = 9_000) -> None:
    os.truncate(file, size)


def spoil(file: Path) -> None:
    """Replace the store file with one that SQLite refuses to open."""
    delete(file)
    file.write_bytes(b"This is no database. " * 500)


def make_folder(file: Path) -> None:
    delete(file)
    file.mkdir()


def make_loop(file: Path) -> None:
    delete(file)
    file.symlink_to(file)


WRITES: list[Callable[[], None]] = [
    lambda: service.record_checkpoint(update(step_index=2)),
    lambda: service.save_snapshot(snapshot()),
    lambda: service.delete_by_thread_id("telegram_42"),
]
READS: list[Callable[[], object]] = [
    lambda: service.load_by_thread_id("telegram_42"),
    lambda: service.load_resumable_state("telegram_42"),
]
write = pytest.mark.parametrize("write", WRITES, ids=["record", "save", "delete"])


@write
@pytest.mark.parametrize(
    ("harm", "error", "reason"),
    [
        (
            delete,
            StoreMissingError,
            "the file was removed while it was open, and the write is not in",
        ),
        (
            replace,
            StoreMissingError,
            "the file was replaced while it was open, and the write is not in",
        ),
        (cut_off, StoreDamagedError, "the file was truncated while it was open|malformed"),
    ],
)
def test_write_to_a_replaced_file_raises(file: Path, write, harm, error, reason):
    harm(file)

    with pytest.raises(error, match=reason):
        write()


@write
def test_write_after_a_replacement_goes_to_the_new_file(file: Path, write):
    replace(file)
    with pytest.raises(StoreMissingError):
        write()

    write()

    assert (
        contents(file)
        == {
            0: [("telegram_42", 2, 2)],
            1: [("telegram_42", 1, 1)],
            2: [],
        }[WRITES.index(write)]
    )


@pytest.mark.parametrize("verb", [service.load_by_thread_id, service.load_resumable_state])
def test_read_reopens_a_replaced_file(file: Path, verb):
    replace(file)
    with closing(sqlite3.connect(file)) as other, other:
        other.execute("""UPDATE task_records SET resumable_history_json = '[["user","new"]]'""")

    assert "content='new'" in repr(verb("telegram_42"))


@pytest.mark.parametrize(
    ("harm", "error"),
    [
        (delete, StoreMissingError),
        (cut_off, StoreDamagedError),
        (lambda file: cut_off(file, 0), (StoreMissingError, StoreDamagedError)),
        (spoil, StoreDamagedError),
        (make_folder, StoreUnavailableError),
        (make_loop, StoreUnavailableError),
    ],
    ids=["deleted", "cut off", "emptied", "spoilt", "a folder", "a loop"],
)
def test_verbs_and_pages_report_a_bad_file_until_it_is_restored(
    store, file: Path, viewer: Client, harm, error
):
    harm(file)
    for _ in range(3):
        for verb in (*READS, *WRITES):  # the first verb has to reopen the file
            with pytest.raises(error, match=str(file)):
                verb()
        assert_unavailable(store, viewer, str(file))
    replace(file)

    assert loaded().checkpoint_count == 1
    service.record_checkpoint(update(step_index=2))
    assert contents(file) == [("telegram_42", 2, 2)]
    assert viewer.get("/").status_code == 200


def assert_unavailable(store, viewer: Client, *texts: str) -> None:
    store.close()  # the server does this after each request
    response = viewer.get("/")
    content = response.content.decode()
    assert (response.status_code, [text for text in texts if text not in content]) == (503, [])
    assert "Traceback" not in content
    store.close()


def test_file_deleted_while_being_opened_is_detected(store, file: Path):
    store.ensure_connection()
    delete(file)
    file_identity.record_file(store)

    with pytest.raises(StoreMissingError, match="there is no such file"):
        service.record_checkpoint(update(step_index=2))


def test_deleted_file_is_not_recreated(file: Path):
    delete(file)
    for _ in range(2):
        with pytest.raises(StoreMissingError):
            service.record_checkpoint(update())

    assert not file.exists()


def test_vacuumed_file_is_not_a_replaced_file(store, file: Path):
    service.record_checkpoint(update(items=[], checkpoint_note="x" * 1_000_000))
    with store.cursor() as cursor:
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    large = file.stat().st_size
    service.delete_by_thread_id("telegram_42")
    with store.cursor() as cursor:
        cursor.execute("VACUUM")
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    service.record_checkpoint(update())

    assert file.stat().st_size < large
    assert contents(file) == [("telegram_42", 1, 1)]  # opens and closes a second connection
    assert file.with_name(f"{file.name}-wal").exists()  # kept because our connection is open
    service.record_checkpoint(update(step_index=2))
    assert contents(file) == [("telegram_42", 2, 2)]


def test_deleted_wal_is_detected_before_a_write_is_acknowledged(store, file: Path):
    service.record_checkpoint(update())
    file.with_name(f"{file.name}-wal").unlink()

    with pytest.raises(StoreMissingError, match="WAL was removed"):
        service.record_checkpoint(update(step_index=2))
    service.record_checkpoint(update(step_index=3))

    assert loaded().checkpoints[-1].step_index == 3


def test_replaced_file_rolls_back_the_callers_transaction(store, file: Path):
    with pytest.raises(StoreMissingError), transaction.atomic(using=store.alias):
        replace(file)
        service.record_checkpoint(update(step_index=2))

    assert contents(file) == [("telegram_42", 1, 1)]


def test_damaged_page_is_reported(store, file: Path):
    store.close()
    with file.open("r+b") as opened:
        opened.seek(4096)
        opened.write(b"\xff" * (file.stat().st_size - 4096))

    with pytest.raises(StoreDamagedError, match="replace it with a good copy"):
        service.load_by_thread_id("telegram_42")
