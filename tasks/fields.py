"""Timestamps as the store keeps them: RFC 3339 text in the column, aware datetimes in Python."""

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Self

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.functions import Extract
from django.db.models.functions.datetime import TruncBase
from django.utils import timezone

_CANONICAL = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3}|\.\d{6}|\.\d{9})?\+00:00", re.ASCII
)


def rfc3339(seconds: int, nanoseconds: int) -> str:
    """UTC text of a Unix time, with 0, 3, 6 or 9 fractional digits as needed, as chrono writes it.

    In this form, and only in this form, the order of the texts is the order of the times.
    """
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    fraction = f".{nanoseconds:09d}" if nanoseconds else ""
    while fraction.endswith("000"):
        fraction = fraction[:-3]
    return f"{whole}{fraction}+00:00"


def now_rfc3339() -> str:
    """The current time in UTC, to the nanosecond."""
    return rfc3339(*divmod(time.time_ns(), 10**9))


class Timestamp(datetime):
    """An aware datetime that remembers the stored text, which may hold nanoseconds."""

    text: str | None = None

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Raises ValueError for text that is no date and time with an offset."""
        stamp = cls.fromisoformat(text)
        if stamp.tzinfo is None or text[10] != "T":
            raise ValueError(f"{text!r} is no RFC 3339 timestamp")
        stamp = stamp.astimezone(UTC)
        stamp.text = text
        return stamp

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self).from_text, (self.text or to_text(self),))


def to_text(moment: datetime | str) -> str:
    """The stored form of a datetime; a naive one is taken in the current time zone."""
    if isinstance(moment, str):
        return moment
    if isinstance(moment, Timestamp) and moment.text is not None:
        return moment.text
    if timezone.is_naive(moment):
        moment = timezone.make_aware(moment)
    moment = moment.astimezone(UTC)
    return rfc3339(int(moment.replace(microsecond=0).timestamp()), moment.microsecond * 1000)


def now() -> Timestamp:
    return Timestamp.from_text(now_rfc3339())


class Rfc3339Field(models.DateTimeField):
    """A text column of RFC 3339 timestamps in UTC, compared and ordered as text.

    Values are aware datetimes; one read from the database carries its exact text and is written
    back unchanged. A stored value that is no timestamp comes back as its text: nothing is hidden.
    """

    def db_type(self, connection: Any) -> str:
        return 'text COLLATE "C"' if connection.vendor == "postgresql" else "TEXT"

    def get_internal_type(self) -> str:
        return "Rfc3339Field"  # keeps the backends' own datetime conversions away

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return Timestamp.from_text(value)
        except ValueError:
            return value

    def to_python(self, value: Any) -> Any:
        if isinstance(value, str) and _CANONICAL.fullmatch(value):
            try:
                return Timestamp.from_text(value)
            except ValueError as error:
                raise ValidationError(f"“{value}” is no date and time.") from error
        return super().to_python(value)

    def get_prep_value(self, value: Any) -> Any:
        value = self.to_python(value)
        return to_text(value) if isinstance(value, datetime) else value

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        return value if prepared else self.get_prep_value(value)

    def get_transform(self, lookup_name: str) -> Callable[..., Any] | None:
        """`__year`, `__date` and the like work on a database datetime made of the text."""
        transform = super().get_transform(lookup_name)
        return transform and (lambda lhs: transform(AsDateTime(lhs)))


class AsDateTime(models.Func):
    """The text as the database's own datetime, or NULL where it is no timestamp."""

    arity = 1
    output_field = models.DateTimeField()

    def as_sqlite(self, compiler: Any, connection: Any) -> Any:
        text, params = compiler.compile(self.source_expressions[0])
        form = "-".join(["[0-9]" * 4, "[0-9]" * 2, "[0-9]" * 2]) + "T"
        form += ":".join(["[0-9]" * 2] * 3) + "*+00:00"
        # "2026-11-02T11:07:52.161973069+00:00" → "2026-11-02 11:07:52.161973", Django's own form
        datetime_text = f"substr(replace(replace({text}, '+00:00', ''), 'T', ' '), 1, 26)"
        return f"CASE WHEN {text} GLOB '{form}' THEN {datetime_text} END", (*params, *params)

    def as_postgresql(self, compiler: Any, connection: Any) -> Any:
        text, params = compiler.compile(self.source_expressions[0])
        date = r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
        time_of_day = r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6})?"
        form = rf"^({date}T{time_of_day})\d*\+00:00$"
        return f"(substring({text} from '{form}')::timestamp AT TIME ZONE 'UTC')", params


def _on_datetime(self: Any, compiler: Any, connection: Any, **context: Any) -> Any:
    """Compile Trunc… and Extract… of a text timestamp on the datetime made of it."""
    if not isinstance(self.lhs.output_field, Rfc3339Field):
        return self.as_sql(compiler, connection, **context)
    if self.output_field is self.lhs.output_field:
        self.output_field = models.DateTimeField()  # the result is the database's, not our text
    clone = self.copy()
    clone.set_source_expressions([AsDateTime(self.lhs)])
    return clone.as_sql(compiler, connection, **context)


def support_datetime_functions() -> None:
    """Teach Django's datetime functions about Rfc3339Field; called once when the app is ready."""
    for function in (Extract, TruncBase):
        function.as_sqlite = function.as_postgresql = _on_datetime  # type: ignore[union-attr]
