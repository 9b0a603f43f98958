"""What the checks of the index found in a thread."""

from dataclasses import dataclass, field

from tasks.index import checks
from tasks.index.models import PLACES, Finding, IndexedTask
from tasks.listing.forms import CHECKS
from tasks.models import TaskRecord
from tasks.templatetags.threads import duration

LOOKED_FOR = {
    "repeated": f"the same call {checks.ALIKE} times or more, always with the same result",
    "varied": f"the same failure {checks.ALIKE} times or more, with different arguments",
    "failing": f"a tool that was called {checks.ALIKE} times or more and failed every time",
    "slow": (
        f"a step of {checks.SLOW_SECONDS} seconds or more that took more than"
        f" {checks.SLOW_TIMES} times as long as the thread's other calls of its tool"
    ),
    "unanswered": "a task that completed without a final response",
    "restarted": f"{checks.ATTEMPTS} attempts or more",
}


@dataclass(frozen=True)
class ToldFinding:
    name: str
    label: str
    tool: str
    text: str  # follows the tool's name, if there is one
    checkpoint: int | None


@dataclass
class Checks:
    """The findings of a task, or why there are none."""

    is_known: bool  # whether the index has read the task's calls
    findings: list[ToldFinding] = field(default_factory=list)
    looked_for = LOOKED_FOR


def of_task(record: TaskRecord) -> Checks:
    """Return what was found in a task when its calls were last read."""
    task = IndexedTask.objects.filter(task_id=record.task_id).first()
    if task is None:
        return Checks(is_known=False)
    start = task.pk * PLACES
    rows = Finding.objects.filter(pk__gte=start, pk__lt=start + PLACES).order_by("pk")
    told = [ToldFinding(r.name, CHECKS[r.name], r.tool, _tell(r), r.checkpoint) for r in rows]
    return Checks(task.has_texts, told)


def _tell(finding: Finding) -> str:
    n = finding.n
    return {
        "repeated": f"was called {n:,} times with the same arguments and the same result",
        "varied": f"failed {n:,} times in the same way, with different arguments",
        "failing": f"was called {n:,} times and failed every time",
        "slow": f"took {duration(n)}, far longer than its other calls",
        "unanswered": "It completed without a final response",
        "restarted": f"This is attempt {n:,}; the earlier ones did not finish",
    }[finding.name]
