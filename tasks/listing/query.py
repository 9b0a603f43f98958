"""Parses what a person searches for: words in texts, and fields such as `status:failed`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Self

from django.core.exceptions import BadRequest

from tasks.fields import to_value
from tasks.index.conditions import Condition
from tasks.index.models import TEXT_FILTERS
from tasks.index.search import CONDITION_FIELDS, Word, parse
from tasks.listing.forms import STATES
from tasks.transcript import time_zones
from tasks.transcript.search import Term

# the fields that words without one get, by the list's scope
_FIELDS = {"messages": "message", "tool": "result"}


@dataclass(frozen=True)
class Query:
    words: list[Word]  # to look for in texts
    fields: list[Word]  # to look for in columns

    @classmethod
    def parse(cls, text: str, scope: str) -> Self:
        words = [] if scope == "ids" else parse(text, _FIELDS.get(scope, scope))
        return cls(
            [word for word in words if word.field not in CONDITION_FIELDS],
            [word for word in words if word.field in CONDITION_FIELDS],
        )

    @property
    def asks_for_tools(self) -> bool:
        return any(word.field == "tool" for word in self.fields)

    def conditions(
        self, state: Callable[[str], Condition], zone: tzinfo
    ) -> Mapping[str, Condition]:
        """Return the conditions of the fields, by a name of each. `state` makes those of states."""
        return {f"{word.field}:{word.text}": _condition(word, state, zone) for word in self.fields}


def _condition(word: Word, state: Callable[[str], Condition], zone: tzinfo) -> Condition:
    if word.field in TEXT_FILTERS:
        return Condition.contains(word.field, Term(word.text))
    if word.field == "tool":
        return Condition.tool(Term(word.text))
    if word.field == "status":
        name = word.text.lower().replace(" ", "_")
        if name not in STATES:
            raise BadRequest(
                f"“status:{word.text}” is not a status. Use one of {', '.join(STATES)}."
            )
        return state(name)
    lookup = "lt" if word.field == "before" else "gte"
    return Condition.times(**{lookup: to_value(_time(word, zone))})


def _time(word: Word, zone: tzinfo) -> datetime:
    try:
        return time_zones.parse(word.text, zone, is_end=word.field == "before")
    except ValueError:
        raise BadRequest(
            f"“{word.field}:{word.text}” is not a date. Use one such as 2026-11-01."
        ) from None
