"""The query parameters that the thread list accepts."""

from datetime import UTC, datetime

from django import forms

from tasks.models import TaskStatus
from tasks.store.daemon import STALLED
from tasks.transcript import time_zones

STATES = {
    TaskStatus.RUNNING: "running",
    STALLED: "stalled",
    TaskStatus.COMPLETED: "completed",
    TaskStatus.FAILED: "failed",
    TaskStatus.TIMED_OUT: "timed out",
    TaskStatus.CANCELLED: "cancelled",
}
ANY = "any"  # the filter for threads with any error, or any finding
CHECKS = {
    "repeated": "repeated call",
    "varied": "same failure",
    "failing": "failing tool",
    "slow": "slow step",
    "unanswered": "no answer",
    "restarted": "restarted",
}
PERIODS = {"1h": "last hour", "24h": "last 24 hours", "7d": "last 7 days", "30d": "last 30 days"}
RETURNED = "reappeared after being cleared"
SEARCH_SCOPES = {
    "": "everywhere",
    "ids": "in IDs",
    "messages": "in messages",
    "user": "in user messages",
    "assistant": "in assistant messages",
    "tool": "in tool results",
    "system": "in system prompts",
}
SORTS = {
    "activity": "last active first",
    "-activity": "longest inactive first",
    "age": "newest first",
    "-age": "oldest first",
    "steps": "most steps first",
    "-steps": "fewest steps first",
    "size": "largest first",
    "-size": "smallest first",
    "duration": "longest first",
    "-duration": "shortest first",
}


class FilterForm(forms.Form):
    """Validates the thread list's query string. Unknown keys are ignored.

    Dates are in the time zone that the query string names in `zone`, or else in UTC. They never
    depend on who reads them, so that all viewers of a link see the same threads.
    """

    zone = forms.CharField(max_length=100, required=False)
    status = forms.ChoiceField(choices=list(STATES.items()), required=False)
    channel = forms.CharField(max_length=300, strip=False, required=False)
    provider = forms.CharField(max_length=300, strip=False, required=False)
    model = forms.CharField(max_length=300, strip=False, required=False)
    tool = forms.CharField(max_length=300, strip=False, required=False)
    error = forms.RegexField(rf"{ANY}|[0-9]{{1,18}}", max_length=19, required=False)
    check = forms.ChoiceField(choices=[(ANY, ANY), *CHECKS.items()], required=False)
    period = forms.ChoiceField(choices=list(PERIODS.items()), required=False)
    start = forms.CharField(max_length=100, required=False)
    end = forms.CharField(max_length=100, required=False)
    resume = forms.ChoiceField(choices=[("no", "cannot resume")], required=False)
    returned = forms.ChoiceField(choices=[("yes", RETURNED)], required=False)
    q = forms.CharField(max_length=200, required=False)
    where = forms.ChoiceField(choices=list(SEARCH_SCOPES.items()), required=False)
    sort = forms.ChoiceField(choices=list(SORTS.items()), required=False)

    def clean_zone(self) -> str:
        name = str(self.cleaned_data["zone"])
        if name and not time_zones.find(name):
            raise forms.ValidationError("Unknown time zone.")
        return name

    def clean_start(self) -> datetime | None:
        return self._moment("start")

    def clean_end(self) -> datetime | None:
        return self._moment("end", is_end=True)

    def _moment(self, name: str, *, is_end: bool = False) -> datetime | None:
        text = self.cleaned_data[name]
        zone = time_zones.find(self.cleaned_data.get("zone", "")) or UTC
        try:
            return time_zones.parse(text, zone, is_end=is_end) if text else None
        except ValueError:
            raise forms.ValidationError("Enter a valid date/time.") from None
