"""Makes the index follow the store.

Every write by an agent sets a task's `updated_at`, adds a task or adds a checkpoint, so a look at
what is newest finds it, in a time that does not grow with the store. It cannot find tasks that
were deleted by others, or that were changed while the clock was set back or without a new time.
A comparison of everything finds those: at each look on a small store, in the background on others.
"""

import fcntl
import logging
import os
import threading
import time
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

from django.core.management import CommandError, call_command
from django.db import DatabaseError, connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

import masking
from tasks.engines import engine
from tasks.fields import to_text
from tasks.index import entries, indexed_texts
from tasks.index.models import UNMERGED, IndexedTask, IndexState, StatusCount
from tasks.store import workspace
from tasks.store.errors import StoreError

logger = logging.getLogger(__name__)

SMALL = 1_000  # rows that are compared at each look
CHUNK = 1_000  # rows that are read or compared while pages wait
BATCH = 400  # rows per statement
BUILD_SECONDS = 0.7  # how long a page waits for an index that is not complete
STEP_SECONDS = 0.05  # how long the background works while pages wait
PAUSE = 0.01  # seconds in which pages may go ahead of the background
COMPARE_SECONDS = 60  # the shortest time between two comparisons of everything
COMPARE_SHARE = 50  # comparisons take at most 1/50 of the time
# A write's time is from before it waited for the store's lock, and clocks of two machines differ.
SLACK = timedelta(seconds=120)
_UNWRITABLE = ("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_READONLY")  # starts of SQLite's error names

_MARK_LATEST = """
    UPDATE task_index_indexedtask AS task SET is_latest = NOT is_latest
    WHERE thread_id IN ({}) AND is_latest <> (task_id IS NULL OR key = (
        SELECT key FROM task_index_indexedtask AS other
        WHERE other.thread_id = task.thread_id ORDER BY updated_at DESC, task_id DESC LIMIT 1))"""

_ORIGIN = ("task_id", "created_at")  # a write changes neither

T = TypeVar("T")

_following = indexed_texts.WRITING  # held by the one thread that follows the store
_seen: tuple[object, ...] | None = None  # the store's files at the last look
_background: threading.Thread | None = None
_is_building = False  # whether the background thread is adding rows
problem = ""  # why the index is not in its file, if so


def catch_up(*, background: bool = True) -> IndexState:
    """Bring the index up to date with the store, and return its state.

    If it is not complete, this builds it further for up to BUILD_SECONDS, newest rows first, and
    leaves the rest to a thread in the background. Raises StoreError if the store cannot be read.
    """
    state = _repairing(partial(_catch_up, 0 if is_building() else BUILD_SECONDS))
    if background and (_has_work(state) or _is_comparison_due(state)):
        _in_background(follow)
    return state


def _truncate_log() -> None:
    """Leave nothing that was erased in the log."""
    with connections[_alias()].cursor() as cursor:
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _has_work(state: IndexState) -> bool:
    has_texts = problem or not indexed_texts.is_behind()
    return not (state.is_complete and has_texts) or indexed_texts.has_removed()


def refresh(keys: Collection[str]) -> None:
    """Read these rows of the store again."""
    with _following, transaction.atomic(_alias()):
        _refresh(keys)


def refresh_threads(thread_ids: Collection[str]) -> None:
    """Read the rows of these threads again, after they were cleared or restored.

    Does nothing if there is no index, such as in an agent's process. A failure is only logged,
    since a comparison of everything will find the change.
    """
    index: Any = connections[_alias()]
    has_index = index.is_in_memory_db() or workspace.file_of(index).exists()
    if not (thread_ids and has_index):
        return
    try:
        indexed = IndexedTask.objects.filter(thread_id__in=thread_ids)
        stored = entries.keys(entries.of_threads(thread_ids))
        keys = stored | set(indexed.values_list("key", flat=True))
        refresh(keys)
        newest = IndexState.objects.filter(last_rowid__in=filter(str.isdecimal, keys))
        with _following:  # or a store without its newest row would look like another one
            last = entries.last_ids()[0]
            newest.filter(last_rowid__gt=last).update(last_rowid=last)
        _truncate_log()
    except (DatabaseError, StoreError) as error:
        logger.warning("The index does not follow: %s", error)


def erase(seconds: float) -> None:
    """Overwrite what is left of threads that were erased.

    If that takes longer than `seconds`, the background does the rest.
    """
    try:
        with _following:
            IndexState.objects.update(merging=UNMERGED)
        indexed_texts.purge(seconds)
        _truncate_log()
    except DatabaseError as error:
        logger.warning("The index does not follow: %s", error)


def is_building() -> bool:
    """Return whether the index gets more rows in the background."""
    return _is_building and _is_in_background()


def _is_in_background() -> bool:
    return _background is not None and _background.is_alive()


def follow() -> None:
    """Build the index to its end, and compare it with the store if that is due. Takes a while."""
    global _is_building
    _is_building = True
    while not (state := _repairing(partial(_catch_up, STEP_SECONDS))).is_complete:
        time.sleep(PAUSE)
    _is_building = False  # texts come next, for which lists need not wait
    while indexed_texts.is_behind() and not problem:
        catch_up_texts(STEP_SECONDS)
        time.sleep(PAUSE)
    while indexed_texts.has_removed():
        indexed_texts.purge(STEP_SECONDS)
        time.sleep(PAUSE)
    if _is_comparison_due(state):
        compare_all()


def catch_up_texts(seconds: float, *parts: int) -> None:
    """Bring the texts of the indexed tasks up to date; arguments as of `indexed_texts.catch_up`.

    An index in memory has no texts, which would take too much of it.
    """
    if problem:
        return
    if wrong := _repairing(partial(indexed_texts.catch_up, seconds, *parts)):
        refresh(wrong)


def compare_all() -> None:
    """Compare every row with the store, a chunk at a time."""
    _repairing(_compare_all)


def _compare_all() -> None:
    began, files = timezone.now(), _file_state()
    _compare_after(began, files)  # so that no other process begins
    top, is_end = None, False
    while not is_end:
        low = entries.chunk_start(top, CHUNK)
        with _following, transaction.atomic(_alias()):
            _refresh(_differing(low, top))
        top, is_end = low, low is None
        time.sleep(PAUSE)
    _compare_after(began, files)


def _compare_after(began: datetime, files: object) -> None:
    """Record which state of the store a comparison has seen, and when the next one may begin."""
    now = timezone.now()
    pause = max(timedelta(seconds=COMPARE_SECONDS), COMPARE_SHARE * (now - began))
    with _following:
        IndexState.objects.update(compared=repr(files), compare_after=now + pause)


def _is_comparison_due(state: IndexState) -> bool:
    files = _file_state()
    has_changed = files is None or repr(files) != state.compared
    is_time = state.compare_after is None or timezone.now() > state.compare_after
    return has_changed and is_time and not state.is_small


def _catch_up(seconds: float) -> IndexState:
    """Look for changes, and build for some seconds if the index is not complete."""
    global _seen
    with _following:
        _reopen_if_replaced()
        seen, state = _file_state(), _state()
        if seen is None or (seen, state.is_complete) != (_seen, True):
            with transaction.atomic(_alias()):
                state = _state()
                _look(state)
            _seen = seen
        deadline = time.monotonic() + seconds  # after the look, so that there is progress
        while not state.is_complete and time.monotonic() < deadline:
            with transaction.atomic(_alias()):
                state = _state()  # another process may have been at work
                _build(state)
    return state


def _reopen_if_replaced() -> bool:
    """Close this thread's connection if its file was deleted, or replaced by another thread."""
    connection: Any = connections[_alias()]
    name = str(connection.settings_dict["NAME"])
    inode = _stat(Path(name))
    file = (name, inode and inode[:2])
    is_replaced = getattr(connection, "index_file", file) != file
    if is_replaced and not connection.in_atomic_block:
        BaseDatabaseWrapper.close(connection)  # its own method does not close one in memory
    connection.index_file = file
    return is_replaced


def _file_state() -> tuple[object, ...] | None:
    """Return what any commit to the store changes, or None if there is nothing of that kind."""
    store = workspace.store_connection()
    if not engine(store).is_file or store.in_atomic_block:
        return None
    file = workspace.store_file()
    return _stat(file), _stat(file.with_name(f"{file.name}-wal"))


def _identity() -> str:
    """Return a value that identifies this store, and no other file in its place."""
    if not engine(workspace.store_connection()).is_file:
        return workspace.identity()
    file = workspace.store_file()
    inode = _stat(file)
    return f"{os.path.realpath(file)} {inode and inode[:2]}"


def _stat(file: Path) -> tuple[int, ...] | None:
    try:
        stat = os.stat(file)
    except OSError:
        return None
    return stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size


def _state() -> IndexState:
    """Return how far the index is, emptying it if it is of another store or program version."""
    expected = {"store": _identity(), "version": _version()}
    if state := IndexState.objects.filter(**expected).first():
        return state
    connection: Any = connections[_alias()]
    if not (_is_of_this_version() or connection.in_atomic_block or connection.is_in_memory_db()):
        raise DatabaseError("The index is of another version of this program.")
    with transaction.atomic(_alias()):
        if state := IndexState.objects.filter(**expected).first():
            return state  # another process was faster, and its index must not be emptied
        indexed_texts.empty()
        for model in (IndexedTask, StatusCount, IndexState):
            model.objects.all().delete()
    return IndexState(**expected)


@cache
def _version() -> int:
    """Return a number that changes with all that entries depend on, such as rules for masking."""
    folders = (Path(masking.__file__).parent, Path(__file__).parent)
    files = sorted(file for folder in folders for file in folder.rglob("*.py"))
    return zlib.crc32(b"".join(file.read_bytes() for file in files))


def _is_of_this_version() -> bool:
    states = IndexState.objects.values_list("version", flat=True)
    return all(version == _version() for version in states)


def _look(state: IndexState) -> None:
    """Find what changed since the last look, in the part of the store that is in the index."""
    now, last_ids = timezone.now(), entries.last_ids()
    state.is_small = len(IndexedTask.objects.values_list("key")[: SMALL + 1]) <= SMALL
    low = None if state.is_complete else state.frontier
    if state.is_complete or low:
        if not state.is_small:
            low = max(low or "", to_text(min(state.looked_at or now, now) - SLACK))
            _refresh(entries.added_since(state.last_rowid, state.last_checkpoint))
        keys = _differing(low, None)
        was_replaced = last_ids[0] < state.last_rowid  # as by a backup
        if len(keys) > CHUNK or was_replaced:  # everything has to be compared, newest rows first
            state.is_complete, state.frontier = False, ""
        else:
            _refresh(keys)
    state.last_rowid, state.last_checkpoint = last_ids
    state.looked_at = now
    state.save()


def _build(state: IndexState) -> None:
    """Add the next chunk of rows, newest first."""
    top = state.frontier or None
    low = entries.chunk_start(top, CHUNK)
    _refresh(_differing(low, top))
    state.frontier, state.is_complete = low or "", low is None
    if state.is_complete:  # SQLite then knows which of its indexes are selective
        with connections[_alias()].cursor() as cursor:
            cursor.execute("PRAGMA analysis_limit = 1000")
            cursor.execute("ANALYZE")
    state.save()


def _differing(low: str | None, top: str | None) -> set[str]:
    """Return the keys of the rows between two times whose versions in the index are not right."""
    bounds = {"updated_at__gte": low, "updated_at__lt": top}
    limits = {lookup: bound for lookup, bound in bounds.items() if bound is not None}
    indexed = IndexedTask.objects.filter(**limits).values_list("key", "updated_at", "task_id")
    versions = {(key, (updated_at, id_)) for key, updated_at, id_ in indexed}
    return {key for key, _ in entries.versions(low, top).items() ^ versions}


def _refresh(keys: Collection[str]) -> None:
    """Read these rows again, and correct which tasks are the latest of their threads."""
    every = list(keys)
    for start in range(0, len(every), BATCH):
        batch = every[start : start + BATCH]
        before = IndexedTask.objects.filter(key__in=batch)
        threads = set(before.values_list("thread_id", flat=True))
        rows = entries.read(batch)
        origins = {key: tuple(rest) for key, *rest in before.values_list("key", *_ORIGIN)}
        same = [r.key for r in rows if (r.task_id, r.created_at) == origins.get(r.key)]
        before.exclude(key__in=same).delete()  # also those in whose place there is another task
        IndexedTask.objects.bulk_create(
            rows, update_conflicts=True, unique_fields=["key"], update_fields=entries.FIELDS
        )
        _mark_latest(list(threads | {row.thread_id for row in rows}))


def _mark_latest(thread_ids: list[str | None]) -> None:
    marks = ", ".join(["%s"] * len(thread_ids))
    with connections[_alias()].cursor() as cursor:
        cursor.execute(_MARK_LATEST.format(marks), thread_ids)


def _alias() -> str:
    return router.db_for_write(IndexedTask)


def _in_background(work: Callable[[], object]) -> None:
    """Start a thread for the work, unless one runs or it could not see an open transaction."""
    global _background
    if _is_in_background() or workspace.store_connection().in_atomic_block:
        return

    def run() -> None:
        try:
            work()
        except (DatabaseError, StoreError) as error:
            logger.warning("The index does not follow: %s", error)
        finally:
            connections.close_all()

    _background = threading.Thread(target=run, name="index", daemon=True)
    _background.start()


def _repairing(work: Callable[[], T]) -> T:
    """Do the work, again with a new index if this one is damaged, and then with one in memory."""
    for _ in range(2):
        try:
            return work()
        except DatabaseError as error:  # errors of the store are StoreErrors
            if not repair(error):
                raise
    return work()


def repair(error: Exception) -> bool:
    """Replace the index if it is missing or damaged, if need be by one in memory.

    `error` is the one that it caused. Returns whether the index can be used now.
    """
    with _following:  # or another thread could open an index that has no tables yet
        return _repair(error)


def _repair(error: Exception) -> bool:
    global problem
    connection: Any = connections[_alias()]
    if connection.in_atomic_block:
        return False
    if connection.is_in_memory_db():  # another thread has replaced it
        return _reopen_if_replaced()
    try:
        file = workspace.file_of(connection)
        with _only_process(file.parent):
            connection.close()
            if _is_sound():  # another process has replaced it, or it was only busy
                if not _is_unwritable(error):
                    return True
                raise error
            connection.close()
            for end in ("", "-wal", "-shm"):
                file.with_name(file.name + end).unlink(missing_ok=True)
            workspace.make_private_file(file)
            _create_tables()
    except (OSError, DatabaseError, CommandError) as reason:
        problem = str(getattr(reason, "strerror", None) or reason)
        logger.warning("The index is kept in memory: %s", reason)
        connection.close()
        connection.settings_dict["NAME"] = f"file:index-{os.getpid()}?mode=memory&cache=shared"
        _reopen_if_replaced()
        _create_tables()
    return True


def _is_unwritable(error: Exception) -> bool:
    """Return whether the error means that the index cannot be written, as on a full disk."""
    return getattr(error.__cause__, "sqlite_errorname", "").startswith(_UNWRITABLE)


def _is_sound() -> bool:
    try:
        with connections[_alias()].cursor() as cursor:
            [result] = cursor.execute("PRAGMA quick_check(1)").fetchone()
        return bool(result == "ok") and _is_of_this_version()
    except DatabaseError:
        return False


@contextmanager
def _only_process(folder: Path) -> Iterator[None]:
    """Hold a lock on the folder, so that two processes do not make the same file."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _create_tables() -> None:
    call_command("migrate", "task_index", database=_alias(), verbosity=0)
