"""The query parameters that the thread list accepts."""

from django import forms

from tasks.models import TaskStatus
from tasks.store.daemon import STALLED

STATES = {
    TaskStatus.RUNNING: "running",
    STALLED: "stalled",
    TaskStatus.COMPLETED: "completed",
    TaskStatus.FAILED: "failed",
    TaskStatus.TIMED_OUT: "timed out",
    TaskStatus.CANCELLED: "cancelled",
}
PERIODS = {"1h": "last hour", "24h": "last 24 hours", "7d": "last 7 days", "30d": "last 30 days"}
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
    """Validates the thread list's query string. Unknown keys are ignored."""

    status = forms.ChoiceField(choices=list(STATES.items()), required=False)
    channel = forms.CharField(max_length=300, strip=False, required=False)
    provider = forms.CharField(max_length=300, strip=False, required=False)
    model = forms.CharField(max_length=300, strip=False, required=False)
    period = forms.ChoiceField(choices=list(PERIODS.items()), required=False)
    start = forms.DateTimeField(required=False)
    end = forms.DateTimeField(required=False)
    resume = forms.ChoiceField(choices=[("no", "cannot resume")], required=False)
    q = forms.CharField(max_length=200, required=False)
    where = forms.ChoiceField(choices=list(SEARCH_SCOPES.items()), required=False)
    sort = forms.ChoiceField(choices=list(SORTS.items()), required=False)
