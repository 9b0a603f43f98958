"""The template context for the thread page."""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, cast
from urllib.parse import urlencode

from django.core.exceptions import BadRequest
from django.http import HttpRequest, QueryDict
from django.urls import reverse
from django.utils import timezone

from tasks.addresses import admin_task_url, thread_url, threads_url
from tasks.fields import to_text
from tasks.insights.checks import Checks, of_task
from tasks.insights.errors import same_error
from tasks.listing.filters import Filters
from tasks.listing.thread_list import neighbours
from tasks.models import USER_TURN, TaskRecord, TaskStatus
from tasks.secrets import reveal
from tasks.store.daemon import daemon
from tasks.transcript.export import FORMATS
from tasks.transcript.history import Thread
from tasks.transcript.steps import (
    UNREADABLE,
    Outline,
    error_lines,
    last_attempt_seconds,
    read_outlines,
)
from tasks.transcript.timeline import Timeline, build_timeline
from tasks.transcript.titles import Heading, heading
from tasks.views.thread_tabs import (
    MAX_OUTLINED_HISTORY,
    TABS,
    CheckpointsTab,
    Tab,
    shows_only_failed,
)

MAX_TASKS = 50  # the maximum number of tasks read per thread
MAX_FAILURES = 100  # the maximum number of failed steps listed in the sidebar
MAX_ERROR_LINE = 300  # characters to show of the error next to the status


class ListLinks(NamedTuple):
    """URLs of the list that the thread was opened from, and of the threads before and after it."""

    list: str
    previous: str | None
    next: str | None


class Failure(NamedTuple):
    step: Outline
    error: str  # the first line of its error, or ""


class Resumability(NamedTuple):
    can_resume: bool
    turn_count: int | None = None  # None if the history is too large to count its turns
    problem: str = ""


@dataclass
class ThreadPage:
    """The `page` variable of the `tasks/thread/` templates. Values are computed on first use."""

    request: HttpRequest
    record: TaskRecord
    url: str  # the page's URL; templates append parameters for a tab or an entry
    live_tag: str = ""  # the ETag for the page's contents

    export_formats: ClassVar = FORMATS
    is_archived: ClassVar = False

    @cached_property
    def thread(self) -> Thread:
        return Thread(self.record)

    @cached_property
    def outlines(self) -> list[Outline]:
        return read_outlines(self.record)

    @cached_property
    def tab_name(self) -> str:
        return tab_name(self.request)

    @cached_property
    def tab(self) -> Tab:
        return TABS[self.tab_name](self.request, self.thread, self.outlines)

    @property
    def direction(self) -> str | None:
        """The direction in which more entries are requested, "earlier" or "later", or None."""
        return self.request.GET.get("piece")

    @cached_property
    def heading(self) -> Heading:
        return heading(self.record)

    @property
    def step_count(self) -> int:
        return len(self.outlines)

    @property
    def attempt_count(self) -> int:
        return self.outlines[-1].attempt if self.outlines else 0

    @property
    def attempt(self) -> str:
        """Identifies the last attempt of the run, or "" if it has no step yet."""
        return f"{self.outlines[0].id}-{self.attempt_count}" if self.outlines else ""

    @cached_property
    def attempt_seconds(self) -> float | None:
        return last_attempt_seconds(self.outlines, self.record) if self.outlines else None

    @cached_property
    def timeline(self) -> Timeline | None:
        tab = self.tab if self.tab_name == "checkpoints" else None
        entries = tab.entries if isinstance(tab, CheckpointsTab) and not tab.only_failed else []
        detail = [step.outline for step, _ in entries]
        return build_timeline(self.outlines, self.record, self._now, detail)

    @property
    def _now(self) -> datetime:
        return timezone.now()

    @property
    def only_failed(self) -> bool:
        return self.tab_name == "checkpoints" and shows_only_failed(self.request)

    @cached_property
    def _last_steps(self) -> dict[int, Any]:
        """The number of the last step of each attempt."""
        return {step.attempt: step.step_index for step in self.outlines}

    def place_of(self, step: Outline) -> str:
        """Return which step of its attempt this is, such as "step 7 of 12"."""
        place = f"step {step.step_index} of {self._last_steps[step.attempt]}"
        return f"attempt {step.attempt}, {place}" if self.attempt_count > 1 else place

    @cached_property
    def all_failures(self) -> list[Outline]:
        return [step for step in self.outlines if step.failed]

    @cached_property
    def failures(self) -> list[Failure]:
        steps = self.all_failures[-MAX_FAILURES:]
        errors = error_lines(self.record, steps)
        return [Failure(step, errors.get(step.id, "")) for step in steps]

    @property
    def unreadable_steps(self) -> list[Outline]:
        return [step for step in self.outlines if step.outcome == UNREADABLE]

    @property
    def has_long_error(self) -> bool:
        record = cast(Any, self.record)
        is_long = (record.error_length or 0) > MAX_ERROR_LINE
        return is_long or "\n" in str(record.error_start or "").strip()

    @property
    def _reads_history(self) -> bool:
        return self.thread.length <= MAX_OUTLINED_HISTORY or self.tab_name == "transcript"

    @property
    def message_count(self) -> int | None:
        """The number of messages, or None if the history is unreadable or too large to count."""
        can_count = self._reads_history and not self.thread.problem
        return len(self.thread.messages) if can_count else None

    @property
    def is_unreadable(self) -> bool:
        thread = self.thread
        return self._reads_history and bool(thread.problem) and not thread.is_too_large

    @cached_property
    def resumability(self) -> Resumability:
        thread = self.thread
        is_long = thread.resumable_length > MAX_OUTLINED_HISTORY
        if thread.is_resume_too_large or (is_long and self.tab_name != "resume"):
            return Resumability(USER_TURN in str(cast(Any, self.record).resumable_start))
        count = len(thread.resumable_turns)
        return Resumability(count > 0, count, thread.resume_problem)

    @property
    def is_running(self) -> bool:
        return not TaskStatus.read(self.record.status).is_terminal

    @cached_property
    def is_stalled(self) -> bool:
        return daemon().is_stalled(self.record)

    @cached_property
    def other_tasks(self) -> list[TaskRecord]:
        tasks = TaskRecord.objects.for_thread(self.record.thread_id).exclude(pk=self.record.pk)
        others, now = list(tasks.only("thread_id", "status", "updated_at")[:MAX_TASKS]), daemon()
        for task in others:
            task.is_stalled = now.is_stalled(task)  # type: ignore[attr-defined]
        return others

    @cached_property
    def same_error(self) -> dict[str, Any]:
        shape, others = same_error(self.record)
        return {"others": others, "url": threads_url(urlencode({"error": shape}))}

    @cached_property
    def checks(self) -> Checks:
        return of_task(self.record)

    @property
    def is_task_chosen(self) -> bool:
        return "task" in self.request.GET

    @property
    def is_latest(self) -> bool:
        key = (to_text(self.record.updated_at), self.record.pk)
        return all((to_text(task.updated_at), task.pk) < key for task in self.other_tasks[:1])

    @cached_property
    def revealed_until(self) -> datetime | None:
        return reveal.lifted_until(self.request)

    @cached_property
    def list_links(self) -> ListLinks:
        try:
            filters = Filters.parse(QueryDict(self.list_query or ""))
        except BadRequest:
            filters = Filters()
        query = filters.query_string()
        params = {"list": query} if query else {}
        previous, following = (
            None if thread_id is None else thread_url("thread", thread_id, **params)
            for thread_id in neighbours(filters, self.record)
        )
        return ListLinks(threads_url(query), previous, following)

    @cached_property
    def list_query(self) -> str | None:
        return self.request.GET.get("list")

    @cached_property
    def step_url(self) -> str:
        """The start of every step's URL; templates append the checkpoint number."""
        params = {} if self.list_query is None else {"list": self.list_query}
        return f"{reverse('step')}?{urlencode(params | {'checkpoint': ''})}"

    def message_url(self, number: int) -> str:
        """Return the URL of a message's raw text."""
        ids = {"task": self.record.task_id, "message": number}
        return thread_url("message", self.record.thread_id, **ids)

    @property
    def latest_url(self) -> str:
        """The URL of the last message or step, or "" if the tab has no entries."""
        if self.tab_name == "transcript":
            last = len(self.thread.messages)
            return f"{self.url}&message={last}#message-{last}" if last else ""
        return "".join(f"{self.url}&step={s.id}#step-{s.id}" for s in self.outlines[-1:])

    @property
    def live_url(self) -> str:
        params = {"show": self.tab_name, **preserved_params(self.request)}
        if self.only_failed:
            params["failed"] = "1"
        return thread_url("thread-live", self.record.thread_id, **params)

    @property
    def return_url(self) -> str:
        """The URL to return to after the secrets are shown or hidden."""
        is_page = self.request.path == reverse("thread")
        return self.request.get_full_path() if is_page else f"{self.url}&show={self.tab_name}"

    @cached_property
    def admin_url(self) -> str:
        return admin_task_url(self.record.pk)


def tab_name(request: HttpRequest) -> str:
    name = request.GET.get("show", "")
    if name in TABS:
        return name
    return "checkpoints" if "step" in request.GET else "transcript"


def preserved_params(request: HttpRequest) -> dict[str, str]:
    """Return the query parameters that every link on the page preserves: `task` and `list`."""
    return {name: request.GET[name] for name in ("task", "list") if name in request.GET}
