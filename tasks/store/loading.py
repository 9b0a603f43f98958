"""Load a thread's latest task: fetch its rows, check and decode them, and return structs."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar, get_args

from tasks.engines import engine
from tasks.messages import ChatMessage, decode_items, load_all_items, load_history
from tasks.models import TaskStatus
from tasks.store import driver, statements, transactions
from tasks.store.driver import Execute
from tasks.store.errors import CorruptRecordError
from tasks.store.records import StoredCheckpoint, StoredResumable, StoredTask
from tasks.store.statements import ResumableRow, StepRow, TaskRow
from tasks.store.workspace import store_connection

T = TypeVar("T")
Row = tuple[Any, ...]
Columns = Sequence[Sequence[Any]]  # the values of each column of a table

# The types that each column may have, since SQLite can store any type in any column.
_TYPES = {
    kind: [frozenset(get_args(hint) or (hint,)) for hint in kind.__annotations__.values()]
    for kind in (TaskRow, StepRow, ResumableRow)
}


def load_task(thread_id: str) -> StoredTask | None:
    """Return the thread's latest task and its checkpoints, read from one consistent snapshot.

    Returns None if the thread has no tasks. Raises CorruptRecordError if a row cannot be decoded.
    """
    connection = store_connection()
    if engine(connection).has_snapshot_reads:
        fetch, begin = partial(_fetch_task, thread_id), driver.READ
    else:
        fetch, begin = partial(_fetch_task_at_once, thread_id), None
    try:
        found = transactions.run_in_transaction(connection, begin, fetch)
        return _stored_task(*found) if found else None
    except CorruptRecordError:
        return _load_task_by_name(fetch)


def _load_task_by_name(fetch: Callable[[Execute], tuple[Row, Columns] | None]) -> StoredTask | None:
    """Load a task that cannot be decoded again, to raise an error that names the row."""
    with transactions.reading_as_stored() as cursor:
        execute = partial(driver.run, cursor)
        found = fetch(execute)
        if found is None:
            return None
        row, steps = found
        ids = execute(statements.LOAD_CHECKPOINT_IDS, {"task_id": row[0]}).fetchall()
    return _stored_task(row, steps, [f"task_checkpoints {id_!r}" for (id_,) in ids])


def load_resumable(thread_id: str) -> StoredResumable | None:
    """Return the data needed to resume a thread, or None. Raises CorruptRecordError."""
    fetch = partial(_fetch_resumable, thread_id)
    try:
        raw = transactions.run_in_transaction(store_connection(), None, fetch)
    except CorruptRecordError:
        with transactions.reading_as_stored() as cursor:
            raw = fetch(partial(driver.run, cursor))
    if raw is None:
        return None
    row = ResumableRow._make(raw)
    _check_types([f"task_records {row.task_id!r}"], [(value,) for value in raw], ResumableRow)
    return StoredResumable(_history(row, "resumable_history_json"), row.latest_checkpoint_note)


def _fetch_task(thread_id: str, execute: Execute) -> tuple[Row, Columns] | None:
    row = execute(statements.LOAD_TASK, {"thread_id": thread_id}).fetchone()
    if row is None:
        return None
    steps = execute(statements.LOAD_CHECKPOINTS, {"task_id": row[0]})
    return row, list(zip(*steps, strict=True))


def _fetch_task_at_once(thread_id: str, execute: Execute) -> tuple[Row, Columns] | None:
    values = {"thread_id": thread_id}
    rows = execute(statements.LOAD_TASK_AND_CHECKPOINTS, values).fetchall()
    if not rows:
        return None
    width = len(TaskRow._fields)
    columns = list(zip(*rows[1:], strict=True))
    return rows[0][:width], columns[width:-1]


def _fetch_resumable(thread_id: str, execute: Execute) -> Row | None:
    row: Row | None = execute(statements.LOAD_RESUMABLE, {"thread_id": thread_id}).fetchone()
    return row


def _stored_task(row: Row, steps: Columns, names: Sequence[str] = ()) -> StoredTask:
    """Return the task with its checkpoints, whose `names` are only needed for an error."""
    task = TaskRow._make(row)
    _check_types([f"task_records {task.task_id!r}"], [(value,) for value in row], TaskRow)
    return StoredTask(
        task_id=task.task_id,
        thread_id=task.thread_id,
        channel=task.channel,
        provider=task.provider,
        model=task.model,
        status=TaskStatus.read(task.status),
        execution_history=_history(task, "execution_history_json"),
        resumable_history=_history(task, "resumable_history_json"),
        latest_checkpoint_note=task.latest_checkpoint_note,
        checkpoint_count=max(task.checkpoint_count, 0),
        final_response=task.final_response,
        last_error=task.last_error,
        created_at=task.created_at,
        updated_at=task.updated_at,
        completed_at=task.completed_at,
        checkpoints=_stored_checkpoints(steps, names) if any(steps) else [],
    )


def _stored_checkpoints(columns: Columns, names: Sequence[str]) -> list[StoredCheckpoint]:
    step_indexes, notes, raws, times = columns
    names = names or [""] * len(raws)
    _check_types(names, columns, StepRow)
    items = load_all_items(raws) or [
        _decoded(decode_items, raw, f"{name}, items_json")
        for name, raw in zip(names, raws, strict=True)
    ]
    return list(map(StoredCheckpoint, step_indexes, notes, items, times))


def _history(row: TaskRow | ResumableRow, column: str) -> list[ChatMessage]:
    where = f"task_records {row.task_id!r}, {column}"
    return _decoded(load_history, getattr(row, column), where)


def _decoded(decode: Callable[[str], list[T]], raw: str, where: str) -> list[T]:
    try:
        return decode(raw)
    except ValueError as error:
        raise CorruptRecordError(f"{where}: {error}") from error


def _check_types(names: Iterable[str], columns: Columns, kind: Any) -> None:
    """Raise CorruptRecordError for the first of the named rows with a value of a wrong type."""
    expected = _TYPES[kind]
    kinds = [frozenset(map(type, values)) for values in columns]
    if all(map(frozenset.issubset, kinds, expected)):
        return
    [first, *_] = [
        f"{name}, {column}: a value of type {type(value).__name__}"
        for name, row in zip(names, zip(*columns, strict=True), strict=True)
        for column, types, value in zip(kind._fields, expected, row, strict=True)
        if type(value) not in types
    ]
    raise CorruptRecordError(first)
