"""What the tabs of a thread's page show: each a function of the request, the task, its steps."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from django.core.paginator import Paginator
from django.http import HttpRequest

from masking import MARGIN
from tasks.fields import to_text
from tasks.models import DISPLAY_LENGTH, STORED_TEXTS, TaskCheckpoint, TaskRecord
from tasks.secrets import request_masking
from tasks.transcript import find, resume
from tasks.transcript.history import Message, Thread
from tasks.transcript.paging import Page, page_at
from tasks.transcript.search import Hit
from tasks.transcript.step_messages import fill_outcomes, messages_by_step, steps_by_message
from tasks.transcript.steps import Outline, Step, build_steps

LONGEST_COUNTED = 4_000_000  # characters of a history that is read for no more than its outline
LONGEST_TOLD = 4_000_000  # characters of the steps that a transcript takes the outcomes from
OVERHEAD = 800  # characters that an entry takes besides its texts
SHOWN_OF_STEP = 2 * DISPLAY_LENGTH  # a step has texts of its own: arguments and output
HITS_PER_PAGE = 50
STORED_SHORT = (
    "task_id",
    "thread_id",
    "channel",
    "provider",
    "model",
    "status",
    "checkpoint_count",
    "created_at",
    "updated_at",
    "completed_at",
)

Context = dict[str, Any]


@dataclass(frozen=True)
class Stored:
    """A long column's start and its whole length in bytes; None and None where it is null."""

    name: str
    start: Any
    length: int | None

    @property
    def shown(self) -> Any:
        is_text = isinstance(self.start, str)
        return request_masking.truncate(self.start, DISPLAY_LENGTH) if is_text else self.start

    @property
    def is_cut(self) -> bool:
        return (self.length or 0) > DISPLAY_LENGTH


def transcript(request: HttpRequest, thread: Thread, found: Sequence[Outline]) -> Context:
    """The messages of a page, and where the text stands that is looked for."""
    context = _find(request, thread)
    entries = thread.messages
    hit = context.get("hit")
    number = _number(request, "message", hit.number if hit else 1)
    position = bisect_right(entries, number, key=lambda entry: entry.number) - 1
    sizes = (entry.weight for entry in entries)
    page = page_at(position, sizes)
    shown = _cut(entries, page)
    step_of = _told(thread, found, shown)
    return context | _around(page, entries, "number") | {"entries": shown, "step_of": step_of}


def _told(thread: Thread, found: Sequence[Outline], shown: Sequence[Message]) -> dict[int, Step]:
    """The steps of messages, for those shown to tell how their calls went."""
    sizes = list(accumulate(step.length for step in reversed(found)))
    latest = found[len(found) - bisect_right(sizes, LONGEST_TOLD) :]
    if not latest or thread.length > LONGEST_COUNTED:
        return {}
    rows = TaskCheckpoint.objects.filter(task_id=thread.record.task_id, id__gte=latest[0].id)
    made = build_steps(latest, rows.defer("checkpoint_note").in_bulk(), None)
    step_of = steps_by_message(made, thread.messages)
    for message in shown:
        if message.number in step_of:
            fill_outcomes(message, step_of[message.number])
    return step_of


def _find(request: HttpRequest, thread: Thread) -> Context:
    query = request.GET.get("find", "")
    if not query:
        return {}
    history = [] if thread.problem else thread.record.execution_history
    hits = find.find_hits(query, history)
    current = min(max(_number(request, "hit", _hit_at(request, hits)), 1), max(len(hits), 1))
    following, previous = (current % len(hits), (current - 2) % len(hits)) if hits else (0, 0)
    page = Paginator(hits, HITS_PER_PAGE).get_page(-(-current // HITS_PER_PAGE))
    return {
        "query": query,
        "hits": hits,
        "hit": hits[current - 1] if hits else None,
        "hit_number": current,
        "hit_page": page,
        "previous_hit": previous + 1,
        "next_hit": following + 1,
        "previous_number": hits[previous].number if hits else None,
        "next_number": hits[following].number if hits else None,
        "may_be_more": hits.is_truncated,
    }


def _hit_at(request: HttpRequest, hits: Sequence[Hit]) -> int:
    """The first hit, from 1, of the message that the address names, or after it."""
    number = _number(request, "message", 0)
    return 1 + bisect_left(hits, number, key=lambda hit: hit.number)


def checkpoints(request: HttpRequest, thread: Thread, found: Sequence[Outline]) -> Context:
    """The steps of a page, and what each changed."""
    position = bisect_left(found, _number(request, "step", 0), key=lambda step: step.id)
    page = page_at(position, (min(s.length, SHOWN_OF_STEP) + OVERHEAD for s in found))
    outlines = _cut(found, page)
    before = found[page.start - 1] if page.has_earlier else None
    wanted = [step for step in (before, *outlines) if step]
    rows = TaskCheckpoint.objects.in_bulk([s.id for s in wanted if not s.is_too_large])
    if large := [step.id for step in wanted if step.is_too_large]:
        rows |= TaskCheckpoint.objects.with_items_start(DISPLAY_LENGTH + MARGIN).in_bulk(large)
    shown = build_steps(outlines, rows, before)
    said = _said(thread, shown, to_the_end=not page.has_later)
    return _around(page, found, "id") | {"outlines": outlines, "steps": shown, "said": said}


def _said(thread: Thread, shown: Sequence[Step], *, to_the_end: bool) -> dict[int, Message]:
    """What the model said with each step; nothing of a history too long to look through."""
    if thread.length > LONGEST_COUNTED:
        return {}
    return messages_by_step(shown, thread.messages, are_last=to_the_end)


def resumed(request: HttpRequest, thread: Thread, found: Sequence[Outline]) -> Context:
    """The turns that the agent would get, each beside what it is made of."""
    if thread.resume_problem:
        return {"turns": [], "turn_count": 0}
    turns = resume.build_turns(thread.record.resumable_history)
    first = turns[0].number if turns else 0
    position = _number(request, "turn", first) - first
    page = page_at(position, (turn.weight + OVERHEAD for turn in turns))
    return {
        **_around(page, turns, "number"),
        "turns": _cut(turns, page),
        "turn_count": sum(turn.message is not None for turn in turns),
        "source_count": len(thread.record.resumable_history),
    }


def raw(request: HttpRequest, thread: Thread, found: Sequence[Outline]) -> Context:
    """The columns of the task, the long ones bounded."""
    record = TaskRecord.objects.filter(pk=thread.record.pk).with_stored_texts().get()
    texts = [
        Stored(name, getattr(record, f"{name}_start"), getattr(record, f"{name}_length"))
        for name in STORED_TEXTS
    ]
    short = [
        (name, to_text(value))
        for name in STORED_SHORT
        if (value := getattr(record, name)) is not None
    ]
    return {"stored_short": short, "stored_texts": texts}


TABS: dict[str, Callable[[HttpRequest, Thread, Sequence[Outline]], Context]] = {
    "transcript": transcript,
    "checkpoints": checkpoints,
    "resume": resumed,
    "raw": raw,
}


def _number(request: HttpRequest, parameter: str, otherwise: int) -> int:
    asked = request.GET.get(parameter, "")
    return int(asked) if asked.isascii() and asked.isdecimal() and len(asked) <= 18 else otherwise


def _cut(entries: Sequence[Any], page: Page) -> Sequence[Any]:
    return entries[page.start : page.end]


def _around(page: Page, entries: Sequence[Any], name: str) -> Context:
    """The page, and what the entries are called that the pieces beside it start with."""
    return {
        "page": page,
        "earlier": getattr(entries[page.previous_start], name) if page.has_earlier else None,
        "left_over": page.count - page.end,
        "later": getattr(entries[page.end], name) if page.has_later else None,
    }
