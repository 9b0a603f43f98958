"""The store's column types: RFC 3339 timestamps, and JSON text with a typed view."""

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.functions import Extract
from django.db.models.functions.datetime import TruncBase
from django.utils import timezone

from tasks.engines import engine

if TYPE_CHECKING:
    DateTimeField = models.DateTimeField[Any, Any]
else:
    DateTimeField = models.DateTimeField

T = TypeVar("T")

_LONGEST_QUOTE = 1_000  # maximum characters of an invalid timestamp quoted in an error
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CANONICAL = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3}|\.\d{6}|\.\d{9})?\+00:00", re.ASCII
)
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)", re.ASCII)


def rfc3339(seconds: int, nanoseconds: int) -> str:
    """Format a Unix time in UTC with 0, 3, 6 or 9 fractional digits, as Rust's chrono does.

    Strings in this form sort chronologically.
    """
    whole = _to_seconds(seconds)
    fraction = f".{nanoseconds:09d}" if nanoseconds else ""
    while fraction.endswith("000"):
        fraction = fraction[:-3]
    return f"{whole}{fraction}+00:00"


@lru_cache(maxsize=16)
def _to_seconds(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()[:19]


def now_rfc3339() -> str:
    """Return the current UTC time as RFC 3339 text with nanosecond precision."""
    return rfc3339(*divmod(time.time_ns(), 10**9))


def next_nanosecond(text: str) -> str:
    """Return the timestamp plus one nanosecond, or unchanged if that would be out of range."""
    whole, _, fraction = text.removesuffix("+00:00").partition(".")
    seconds = (datetime.fromisoformat(f"{whole}+00:00") - _EPOCH) // timedelta(seconds=1)
    try:
        return rfc3339(*divmod(seconds * 10**9 + int(fraction.ljust(9, "0")) + 1, 10**9))
    except OverflowError:
        return text


class Timestamp(datetime):
    """An aware datetime that keeps its stored text, which may have nanosecond precision."""

    text: str | None = None

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Parse an RFC 3339 date and time with an offset. Raises ValueError for any other text."""
        if not _TIMESTAMP.fullmatch(text):
            raise ValueError(f"{text[:_LONGEST_QUOTE]!r} is not an RFC 3339 timestamp")
        try:
            stamp = cls.fromisoformat(text).astimezone(UTC)
        except OverflowError as error:
            raise ValueError(f"{text!r} is out of range in UTC") from error
        stamp.text = text
        return stamp

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return (type(self).from_text, (to_text(self),))


def parse_stored(text: str) -> Timestamp | str:
    """Parse stored text as a timestamp, or return the text unchanged if that fails."""
    try:
        return Timestamp.from_text(text)
    except ValueError:
        return text


def is_canonical(text: str) -> bool:
    """Return whether the text is a timestamp in exactly the form that `rfc3339` returns."""
    if not _CANONICAL.fullmatch(text) or text.endswith("000+00:00"):
        return False
    try:
        Timestamp.from_text(text)
    except ValueError:
        return False
    return True


def check_rfc3339(text: str) -> None:
    """Raise ValueError unless the text is a timestamp in the form that `rfc3339` returns."""
    if not is_canonical(text):
        raise ValueError(f"{text!r} is not a timestamp in the store's format")


def to_text(moment: Any) -> str:
    """Return a datetime's stored form; a naive datetime is assumed to be in the current time zone.

    A value of any other type is converted with `str`.
    """
    if not isinstance(moment, datetime):
        return str(moment)
    if isinstance(moment, Timestamp) and moment.text is not None:
        return moment.text
    if timezone.is_naive(moment):
        moment = timezone.make_aware(moment)
    moment = moment.astimezone(UTC)
    return rfc3339(int(moment.replace(microsecond=0).timestamp()), moment.microsecond * 1000)


def to_value(moment: Any) -> models.Value:
    """Return a datetime's stored form as a text expression for comparison with a column."""
    return models.Value(to_text(moment), output_field=models.TextField())


def now() -> Timestamp:
    return Timestamp.from_text(now_rfc3339())


class Rfc3339Field(DateTimeField):
    """A text column that holds RFC 3339 timestamps in UTC and is compared and sorted as text.

    Values are aware datetimes that keep their stored text, so saving them again changes nothing.
    A stored value that is not a timestamp is returned unchanged.
    """

    def db_type(self, connection: Any) -> str:
        return engine(connection).timestamp_type

    def get_internal_type(self) -> str:
        return "Rfc3339Field"  # keeps Django's database backends from converting the text

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return parse_stored(value) if isinstance(value, str) else value

    def to_python(self, value: Any) -> Any:
        if isinstance(value, str) and _CANONICAL.fullmatch(value):
            try:
                return Timestamp.from_text(value)
            except ValueError as error:
                raise ValidationError(f"“{value}” is not a date and time.") from error
        return super().to_python(value)

    def get_prep_value(self, value: Any) -> Any:
        value = self.to_python(value)
        return to_text(value) if isinstance(value, datetime) else value

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        return value if prepared else self.get_prep_value(value)

    def get_transform(self, lookup_name: str) -> Any:
        """Make `__year`, `__date` and other transforms treat the text as a datetime."""
        transform = super().get_transform(lookup_name)
        return transform and (lambda lhs: transform(AsDateTime(lhs)))


class AsDateTime(models.Func):
    """Converts a text timestamp to the database's native datetime, or to NULL if it is invalid."""

    arity = 1
    output_field = models.DateTimeField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        text, params = compiler.compile(self.get_source_expressions()[0])
        # "2026-11-02T11:07:52.161973069+00:00" → "2026-11-02 11:07:52.161973", as Django stores it
        sql = (
            # "+0 days" makes SQLite normalize dates, so 29 February in a non-leap year is rejected
            f"CASE WHEN strftime('%%Y-%%m-%%dT%%H:%%M:%%S', substr({text}, 1, 19), '+0 days')"
            f" = substr({text}, 1, 19)"
            f" AND (substr({text}, 20) = '+00:00' OR (substr({text}, 20) GLOB '.[0-9]*+00:00'"
            f" AND substr({text}, 21, length({text}) - 26) NOT GLOB '*[^0-9]*'))"
            f" THEN substr(replace(replace({text}, '+00:00', ''), 'T', ' '), 1, 26) END"
        )
        return sql, (*params,) * sql.count(text)

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        text, params = compiler.compile(self.get_source_expressions()[0])
        # Casting an impossible date would fail the query, so the pattern matches only real dates.
        leap_year = r"(?:\d\d(?:0[48]|[2468][048]|[13579][26])|(?:[2468][048]|[13579][26]|0[48])00)"
        date = (
            r"(?!0000)(?:\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])"
            r"|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)|02-(?:0[1-9]|1\d|2[0-8]))"
            rf"|{leap_year}-02-29)"
        )
        time_of_day = r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d"
        form = rf"^({date}T{time_of_day}(?:\.\d{{1,6}})?)(?:(?<=\.\d{{6}})\d*)?\+00:00$"
        return f"(substring({text} from '{form}')::timestamp AT TIME ZONE 'UTC')", params


def _on_datetime(self: Any, compiler: Any, connection: Any, **context: Any) -> Any:
    """Compile a Trunc or Extract function, converting a text timestamp to a datetime first."""
    if not isinstance(self.lhs.output_field, Rfc3339Field):
        return self.as_sql(compiler, connection, **context)
    if self.output_field is self.lhs.output_field:
        self.output_field = models.DateTimeField()  # the result is a native datetime, not text
    clone = self.copy()
    clone.set_source_expressions([AsDateTime(self.lhs)])
    return clone.as_sql(compiler, connection, **context)


def support_datetime_functions() -> None:
    """Make Django's datetime functions support Rfc3339Field. Called when the app is ready."""
    for function in (Extract, TruncBase):
        for vendor in ("as_sqlite", "as_postgresql"):
            setattr(function, vendor, _on_datetime)


class DecodedJson(Generic[T]):
    """A typed attribute for a raw JSON column, decoded on first access and cached until it changes.

    Reading it raises ValueError if the column cannot be decoded. Assigning to it sets the column.
    """

    def __init__(self, column: str, decode: Callable[[str], T], encode: Callable[[T, str], str]):
        self.column, self.decode, self.encode = column, decode, encode

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, row: None, owner: type) -> Self: ...
    @overload
    def __get__(self, row: models.Model, owner: type) -> T: ...
    def __get__(self, row: models.Model | None, owner: type) -> Self | T:
        if row is None:
            return self
        raw = getattr(row, self.column)
        cached = row.__dict__.get(self.name)
        if cached is None or cached[0] is not raw:
            cached = row.__dict__[self.name] = (raw, self.decode(raw))
        value: T = cached[1]
        return value

    def __set__(self, row: models.Model, value: T) -> None:
        setattr(row, self.column, self.encode(value, self.name))
