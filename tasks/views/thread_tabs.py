"""The tabs of the thread page. Each one is built from the request, the thread and its steps."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, ClassVar

from django.core.paginator import Page, Paginator
from django.http import HttpRequest, QueryDict

from tasks.addresses import parse_number
from tasks.fields import to_text
from tasks.large_values import is_unusable_key
from tasks.models import DISPLAY_LENGTH, STORED_TEXTS, TaskRecord
from tasks.secrets import request_masking
from tasks.store.statements import TaskRow
from tasks.transcript import find, large_history, paging, resume
from tasks.transcript.history import Message, Thread
from tasks.transcript.search import Hit
from tasks.transcript.step_messages import fill_outcomes, messages_by_step, steps_by_message
from tasks.transcript.steps import Outline, Step, build_steps
from tasks.views.common import requested_tasks

MAX_OUTLINED_HISTORY = large_history.MIN_SIZE  # bytes; only their tab reads larger histories
MAX_OUTCOMES_SOURCE = 4_000_000  # characters of step items to read to fill in missing outcomes
ENTRY_OVERHEAD = 800  # characters added to the weight of each entry for its markup
STEP_DISPLAY_LENGTH = 2 * DISPLAY_LENGTH  # a step shows two values: arguments and output
HITS_PER_PAGE = 50
SHORT_COLUMNS = tuple(name for name in TaskRow._fields if name not in STORED_TEXTS)


@dataclass(frozen=True)
class Pager:
    """Where the adjacent pages start, how many entries are before and after, and the outermost."""

    earlier: int | None
    earlier_count: int
    later: int | None
    later_count: int
    first: int
    last: int


@dataclass(frozen=True)
class Search:
    """The hits of a search in the thread, and the number of the current hit, counting from 1."""

    query: str
    hits: find.Hits
    number: int

    @property
    def page(self) -> Page[Hit]:
        return Paginator(self.hits, HITS_PER_PAGE).get_page(-(-self.number // HITS_PER_PAGE))

    @property
    def previous(self) -> int:
        return (self.number - 2) % len(self.hits) + 1

    @property
    def next(self) -> int:
        return self.number % len(self.hits) + 1

    @property
    def previous_message(self) -> int:
        return self.hits[self.previous - 1].number

    @property
    def next_message(self) -> int:
        return self.hits[self.next - 1].number


@dataclass(frozen=True)
class TranscriptTab:
    entry_query: ClassVar = "message"
    entry_name: ClassVar = "message"

    entries: Sequence[tuple[Message, Step | None]]
    pager: Pager
    search: Search | None
    caller: tuple[Message, Step | None] | None  # before these entries, but results may be later


@dataclass(frozen=True)
class CheckpointsTab:
    entry_name: ClassVar = "step"

    entries: Sequence[tuple[Step, Message | None]]
    pager: Pager
    only_failed: bool

    @property
    def entry_query(self) -> str:
        return f"show=checkpoints{'&failed=1' if self.only_failed else ''}&step"


@dataclass(frozen=True)
class ResumeTab:
    entry_query: ClassVar = "show=resume&turn"
    entry_name: ClassVar = "turn"

    entries: Sequence[resume.Turn]
    pager: Pager
    turn_count: int
    source_count: int


@dataclass(frozen=True)
class StoredText:
    """The start of a long column and its length in bytes; both are None if the column is null."""

    name: str
    start: Any
    length: int | None

    @property
    def display(self) -> Any:
        is_text = isinstance(self.start, str)
        return request_masking.truncate(self.start, DISPLAY_LENGTH) if is_text else self.start

    @property
    def is_cut(self) -> bool:
        return (self.length or 0) > DISPLAY_LENGTH


@dataclass(frozen=True)
class RawTab:
    short_values: Sequence[tuple[str, str]]
    texts: Sequence[StoredText]


Tab = TranscriptTab | CheckpointsTab | ResumeTab | RawTab


def transcript(request: HttpRequest, thread: Thread, outlines: Sequence[Outline]) -> TranscriptTab:
    """Build the page of messages that contains the requested message or search hit."""
    messages = thread.messages
    search = _search(request, thread)
    hit = search.hits[search.number - 1] if search and search.hits else None
    number = _number(request.GET, "message", hit.number if hit else 1)
    page, on_page, caller = _messages_at(thread, number)
    requested = next((message for message in on_page if message.number == number), None)
    if "piece" not in request.GET and caller and requested and requested.is_absorbed:
        page, on_page, caller = _messages_at(thread, caller.number)  # its result is shown there
    displayed = [message for message in on_page if not message.is_absorbed]
    step_of = _steps_with_outcomes(thread, outlines, [caller, *displayed] if caller else displayed)
    return TranscriptTab(
        entries=[(message, step_of.get(message.number)) for message in displayed],
        pager=_pager(page, range(1, len(messages) + 1)),
        search=search,
        caller=(caller, step_of.get(caller.number)) if caller else None,
    )


def _messages_at(
    thread: Thread, number: int
) -> tuple[paging.Page, Sequence[Message], Message | None]:
    """Return the page that has a message, and the one before it whose results may be on it."""
    messages = thread.messages
    position = min(number, len(messages)) - 1
    page = paging.page_at(position, thread.weights, thread.may_hold_results)
    on_page = messages[page.start : page.end]
    first = on_page[0].exchange.messages[0] if on_page else None
    is_caller = first and first.number <= page.start and first.calls
    return page, on_page, first if is_caller else None


def _steps_with_outcomes(
    thread: Thread, outlines: Sequence[Outline], messages_on_page: Sequence[Message]
) -> dict[int, Step]:
    """Map message numbers to steps, and fill in missing outcomes in the messages on the page."""
    sizes = list(accumulate(outline.length for outline in reversed(outlines)))
    latest = outlines[len(outlines) - bisect_right(sizes, MAX_OUTCOMES_SOURCE) :]
    if not latest or thread.length > MAX_OUTLINED_HISTORY:
        return {}
    steps = build_steps(latest, thread.checkpoints_since(latest[0].id))
    step_of = steps_by_message(steps, thread.messages)
    for message in messages_on_page:
        if message.number in step_of:
            fill_outcomes(message, step_of[message.number])
    return step_of


def _search(request: HttpRequest, thread: Thread) -> Search | None:
    query = request.GET.get("find", "")
    if not query:
        return None
    hits = find.find_hits(query, thread.read_all())
    # the current hit defaults to the first one at or after the requested message
    message = _number(request.GET, "message", 0)
    default = 1 + bisect_left(hits, message, key=lambda hit: hit.number)
    number = min(max(_number(request.GET, "hit", default), 1), max(len(hits), 1))
    return Search(query, hits, number)


def checkpoints(
    request: HttpRequest, thread: Thread, outlines: Sequence[Outline]
) -> CheckpointsTab:
    """Build the page that contains the requested step. Each step is paired with its message."""
    only_failed = shows_only_failed(request)
    chosen = [step for step in outlines if step.failed] if only_failed else outlines
    position = _index(chosen, _number(request.GET, "step", 0))
    weights = (min(step.length, STEP_DISPLAY_LENGTH) + ENTRY_OVERHEAD for step in chosen)
    page = paging.page_at(position, weights)
    on_page = chosen[page.start : page.end]
    needed = _with_previous(outlines, on_page)
    rows = thread.checkpoints(needed)
    ids = {outline.id for outline in on_page}
    steps = [step for step in build_steps(needed, rows) if step.outline.id in ids]
    message_of: dict[int, Message] = {}
    if thread.length <= MAX_OUTLINED_HISTORY:
        are_last = not (page.has_later or only_failed)
        message_of = messages_by_step(steps, thread.messages, are_last=are_last)
    entries = [(step, message_of.get(step.checkpoint.id)) for step in steps]
    pager = _pager(page, [outline.id for outline in chosen])
    return CheckpointsTab(entries, pager, only_failed)


def shows_only_failed(request: HttpRequest) -> bool:
    return request.GET.get("failed") == "1"


def _index(outlines: Sequence[Outline], id_: int) -> int:
    return bisect_left(outlines, id_, key=lambda step: step.id)


def _with_previous(outlines: Sequence[Outline], chosen: Sequence[Outline]) -> list[Outline]:
    """Return the chosen steps, each after the one before it, with which it is compared."""
    indexes = {_index(outlines, step.id) for step in chosen}
    return [outlines[i] for i in sorted(indexes | {i - 1 for i in indexes if i})]


def resumable_turns(request: HttpRequest, thread: Thread, outlines: Sequence[Outline]) -> ResumeTab:
    """Build a page of the turns that the agent would resume with, each with its source messages."""
    history = [] if thread.resume_problem else thread.record.resumable_history
    turns = resume.build_turns(history)
    first = turns[0].number if turns else 0
    position = _number(request.GET, "turn", first) - first
    page = paging.page_at(position, (turn.weight + ENTRY_OVERHEAD for turn in turns))
    return ResumeTab(
        entries=turns[page.start : page.end],
        pager=_pager(page, [turn.number for turn in turns]),
        turn_count=sum(turn.message is not None for turn in turns),
        source_count=len(history),
    )


def raw(request: HttpRequest, thread: Thread, outlines: Sequence[Outline]) -> RawTab:
    """Return the task's columns, with long values truncated."""
    tasks = requested_tasks(request)
    if not is_unusable_key(thread.record.pk):
        tasks = tasks.filter(pk=thread.record.pk)
    record = tasks.with_stored_texts()[:1].get()
    return RawTab(short_values(record), stored_texts(record))


def short_values(record: TaskRecord) -> list[tuple[str, str]]:
    values = [(name, getattr(record, name)) for name in SHORT_COLUMNS]
    return [(name, to_text(value)) for name, value in values if value is not None]


def stored_texts(record: TaskRecord) -> list[StoredText]:
    """Return the long columns of a task that was read using `with_stored_texts()`."""
    return [
        StoredText(name, getattr(record, f"{name}_start"), getattr(record, f"{name}_length"))
        for name in STORED_TEXTS
    ]


TABS: dict[str, Callable[[HttpRequest, Thread, Sequence[Outline]], Tab]] = {
    "transcript": transcript,
    "checkpoints": checkpoints,
    "resume": resumable_turns,
    "raw": raw,
}


def _number(query: QueryDict, name: str, default: int) -> int:
    number = parse_number(query.get(name, ""))
    return default if number is None else number


def _pager(page: paging.Page, numbers: Sequence[int]) -> Pager:
    """Return the pager for a page of entries, which links identify by their numbers."""
    return Pager(
        earlier=numbers[page.previous_start] if page.has_earlier else None,
        earlier_count=page.start,
        later=numbers[page.end] if page.has_later else None,
        later_count=page.count - page.end,
        first=numbers[0] if numbers else 0,
        last=numbers[-1] if numbers else 0,
    )
