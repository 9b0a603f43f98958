import copy
import pickle
from datetime import UTC, date, datetime, timedelta, timezone
from io import StringIO
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db.models import Count, Max, Min
from django.db.models.functions import (
    ExtractDay,
    ExtractHour,
    ExtractIsoWeekDay,
    ExtractMinute,
    ExtractMonth,
    ExtractSecond,
    ExtractYear,
    Trunc,
    TruncDate,
    TruncDay,
    TruncHour,
    TruncMonth,
    TruncTime,
    TruncYear,
)
from hypothesis import example, given
from hypothesis import strategies as st

from tasks.engines import storable
from tasks.fields import (
    Rfc3339Field,
    Timestamp,
    check_rfc3339,
    is_canonical,
    next_nanosecond,
    now,
    now_rfc3339,
    rfc3339,
    to_text,
)
from tasks.models import TaskRecord
from tests.support.factories import overwrite, rows, task

pytestmark = pytest.mark.django_db(databases="__all__")

TOKYO = ZoneInfo("Asia/Tokyo")
STORED = {  # in chronological order, which must also be the alphabetical order
    "a": "2025-12-31T23:59:59.999999999+00:00",
    "b": "2026-11-02T11:07:52+00:00",
    "c": "2026-11-02T11:07:52.161+00:00",
    "d": "2026-11-02T11:07:52.161973+00:00",
    "e": "2026-11-02T11:07:52.161973069+00:00",
    "f": "2026-11-02T20:30:00+00:00",
    "g": "2028-02-29T00:00:00.000000001+00:00",
}
CORRUPT = [
    "",
    "yesterday",
    "2026-11-02",
    "2026-11-02 11:07:52+00:00",
    "2026-11-02T11:07:52",
    "2026-13-02T11:07:52+00:00",
    "2026-02-29T11:07:52+00:00",
    "2026-04-31T11:07:52+00:00",
    "1900-02-29T11:07:52+00:00",
    "2026-11-00T11:07:52+00:00",
    "2026-11-02T24:07:52+00:00",
    "2026-11-02T11:60:52+00:00",
    "2026-11-02T11:07:52.+00:00",
    "2026-11-02T11:07:52.x+00:00",
    "2026-11-02T11:07:52161+00:00",
    "2026-11-02T11:07:52 and more+00:00",
    "2026-11-02T11:07:52+00:00 and more",
    "0000-01-01T00:00:00+00:00",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
]


@pytest.fixture
def stored(store):
    """Tasks with the ids and update times from STORED, inserted out of order."""
    for letter in "dgafceb":
        task(letter, updated_at=STORED[letter])


def letters(queryset):
    return "".join(queryset.order_by("updated_at").values_list("task_id", flat=True))


def at(year, month, day, *time):
    return datetime(year, month, day, *time).replace(tzinfo=UTC)


# Timestamps as text

EPOCH = at(1970, 1, 1)
datetimes = st.datetimes(timezones=st.just(UTC))  # from year 1 to year 9999
seconds = datetimes.map(lambda moment: (moment - EPOCH) // timedelta(seconds=1))
nanoseconds = st.integers(0, 10**9 - 1) | st.sampled_from([0, 1, 1000, 10**6, 999_999_999])
moments = st.tuples(seconds, nanoseconds)


@given(moments, moments)
@example((-30610224001, 0), (-30610224000, 0))  # last second of year 999, first second of 1000
def test_texts_sort_as_their_times(one, other):
    assert (rfc3339(*one) < rfc3339(*other)) == (one < other)


@given(seconds, nanoseconds, nanoseconds)
def test_texts_within_a_second_sort_as_their_times(second, one, other):
    assert (rfc3339(second, one) < rfc3339(second, other)) == (one < other)


@given(datetimes)
def test_datetime_round_trips_through_its_text(moment):
    assert Timestamp.from_text(to_text(moment)) == moment


@given(moments)
def test_timestamp_preserves_nanoseconds(moment):
    text = rfc3339(*moment)
    assert to_text(Timestamp.from_text(text)) == text


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        ((0, 0), "1970-01-01T00:00:00+00:00"),
        ((1793617672, 161973069), "2026-11-02T11:07:52.161973069+00:00"),
        ((1793617672, 161973000), "2026-11-02T11:07:52.161973+00:00"),
        ((1793617672, 161000000), "2026-11-02T11:07:52.161+00:00"),
        ((1793617672, 100000000), "2026-11-02T11:07:52.100+00:00"),
        ((1793617672, 1), "2026-11-02T11:07:52.000000001+00:00"),
        ((-1, 999999999), "1969-12-31T23:59:59.999999999+00:00"),
        ((-62135596800, 0), "0001-01-01T00:00:00+00:00"),
    ],
)
def test_rfc3339_has_as_many_digits_as_it_needs(moment, text):
    assert rfc3339(*moment) == text


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (at(2026, 11, 2, 11, 7, 52), "2026-11-02T11:07:52+00:00"),
        (at(2026, 11, 2, 11, 7, 52, 161000), "2026-11-02T11:07:52.161+00:00"),
        (at(2026, 11, 2, 11, 7, 52, 161973), "2026-11-02T11:07:52.161973+00:00"),
        (datetime(2026, 11, 2, 20, 7, 52, tzinfo=TOKYO), "2026-11-02T11:07:52+00:00"),
        (datetime(2026, 11, 2, 11, 7, 52), "2026-11-02T11:07:52+00:00"),
        ("2026-11-02T11:07:52.1+00:00", "2026-11-02T11:07:52.1+00:00"),
        (Timestamp(2026, 11, 2, tzinfo=UTC), "2026-11-02T00:00:00+00:00"),
    ],
)
def test_to_text_is_utc(moment, text):
    assert to_text(moment) == text


def test_to_text_interprets_a_naive_datetime_in_the_current_time_zone(settings):
    settings.TIME_ZONE = "Asia/Tokyo"
    assert to_text(datetime(2026, 11, 2, 11, 7, 52)) == "2026-11-02T02:07:52+00:00"


def test_now_is_now_to_the_nanosecond(monkeypatch):
    monkeypatch.setattr("time.time_ns", lambda: 1793617672_161973069)
    assert now_rfc3339() == "2026-11-02T11:07:52.161973069+00:00"
    assert (now(), now().text) == (at(2026, 11, 2, 11, 7, 52, 161973), now_rfc3339())


@pytest.mark.parametrize("text", CORRUPT)
def test_text_other_than_a_timestamp_raises(text):
    with pytest.raises(ValueError, match=r"."):
        Timestamp.from_text(text)


@pytest.mark.parametrize(
    "duplicate",
    [
        copy.copy,
        copy.deepcopy,
        lambda stamp: pickle.loads(pickle.dumps(stamp)),  # noqa: S301 (the data is ours)
    ],
    ids=["copy", "deepcopy", "pickle"],
)
@pytest.mark.parametrize("text", [STORED["e"], "2026-11-02T12:07:52.5+01:00"])
def test_copied_timestamp_has_the_same_text(duplicate, text):
    stamp = Timestamp.from_text(text)
    twin = duplicate(stamp)
    assert (type(twin), twin, twin.text, twin.tzinfo) == (Timestamp, stamp, text, UTC)
    restored = duplicate(Timestamp(2026, 1, 1, tzinfo=UTC))
    assert (restored, to_text(restored)) == (at(2026, 1, 1), "2026-01-01T00:00:00+00:00")


def test_timestamp_computed_from_another_has_its_own_text():
    stamp = Timestamp.from_text(STORED["e"])
    assert to_text(stamp + timedelta(days=1)) == "2026-11-03T11:07:52.161973+00:00"
    assert to_text(stamp.replace(microsecond=0)) == "2026-11-02T11:07:52+00:00"
    assert to_text(stamp.astimezone(timezone(timedelta(hours=2)))) == (
        "2026-11-02T11:07:52.161973+00:00"
    )


# The field


def test_field_deconstructs_to_its_public_path():
    field = Rfc3339Field(null=True, blank=True)
    field.set_attributes_from_name("completed_at")
    assert field.deconstruct() == (
        "completed_at",
        "tasks.fields.Rfc3339Field",
        [],
        {"null": True, "blank": True},
    )


def test_field_is_a_text_column_that_sorts_bytewise(store):
    expected = {"sqlite": "TEXT", "postgresql": 'text COLLATE "C"'}
    assert Rfc3339Field().db_type(store) == expected[store.vendor]


def test_makemigrations_finds_nothing_to_do():
    out = StringIO()
    call_command("makemigrations", "--check", "--dry-run", stdout=out)
    assert out.getvalue() == "No changes detected\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("2026-11-02T11:07:52.161973069+00:00", "2026-11-02T11:07:52.161973069+00:00"),
        ("2026-11-02T11:07:52Z", "2026-11-02T11:07:52+00:00"),
        ("2026-11-02T11:07:52.1619+00:00", "2026-11-02T11:07:52.161900+00:00"),
        ("2026-11-02 13:07:52.5+02:00", "2026-11-02T11:07:52.500+00:00"),
        (at(2026, 11, 2), "2026-11-02T00:00:00+00:00"),
        (None, None),
    ],
)
def test_field_writes_the_canonical_form(value, text):
    assert Rfc3339Field().get_prep_value(value) == text


@pytest.mark.parametrize("value", ["yesterday", "2026-02-30T00:00:00+00:00", ""])
def test_field_refuses_text_other_than_a_timestamp(value):
    with pytest.raises(ValidationError):
        Rfc3339Field().get_prep_value(value)


@pytest.mark.parametrize("text", STORED.values())
def test_stored_text_survives_a_load_and_a_save(store, text):
    task()
    overwrite(store, "task_records", "updated_at", text)
    record = TaskRecord.objects.get()
    assert record.updated_at == datetime.fromisoformat(text)
    record.save()
    TaskRecord.objects.update(created_at=record.updated_at, completed_at=record.updated_at)
    [row] = rows(store, "task_records")
    assert {row[name] for name in ("created_at", "updated_at", "completed_at")} == {text}


def test_default_is_now_in_the_canonical_form(store):
    record = task()
    [row] = rows(store, "task_records")
    assert row["updated_at"] == to_text(record.updated_at)
    assert abs(datetime.now(UTC) - record.updated_at) < timedelta(minutes=1)


@pytest.mark.parametrize("text", CORRUPT)
def test_stored_text_other_than_a_timestamp_is_returned_unchanged(store, text):
    task("bad")
    overwrite(store, "task_records", "updated_at", text)
    task("good", updated_at=at(2026, 11, 2, 11, 7, 52))
    records = TaskRecord.objects.all()
    assert records.get(task_id="bad").updated_at == text
    assert [row.task_id for row in records.filter(updated_at__year=2026)] == ["good"]
    assert [row.task_id for row in records.filter(updated_at__date=date(2026, 11, 2))] == ["good"]
    months = records.annotate(month=TruncMonth("updated_at"), hour=ExtractHour("updated_at"))
    assert list(months.order_by("task_id").values_list("task_id", "month", "hour")) == [
        ("bad", None, None),
        ("good", at(2026, 11, 1), 11),
    ]
    assert list(records.exclude(updated_at__year=None).values_list("task_id", flat=True)) == [
        "good"
    ]


# Queries on both databases


def test_rows_sort_chronologically(store, stored):
    assert letters(TaskRecord.objects.all()) == "abcdefg"


@pytest.mark.parametrize(
    ("lookup", "expected"),
    [
        ("exact", "d"),
        ("gt", "efg"),
        ("gte", "defg"),
        ("lt", "abc"),
        ("lte", "abcd"),
    ],
)
def test_loaded_value_is_compared_to_the_nanosecond(store, stored, lookup, expected):
    value = TaskRecord.objects.get(task_id="d").updated_at
    assert letters(TaskRecord.objects.filter(**{f"updated_at__{lookup}": value})) == expected


def test_loaded_values_work_in_range_and_in_lookups(store, stored):
    c, e = TaskRecord.objects.filter(task_id__in="ce").order_by("updated_at")
    between = TaskRecord.objects.filter(updated_at__range=(c.updated_at, e.updated_at))
    among = TaskRecord.objects.filter(updated_at__in=[c.updated_at, e.updated_at])
    assert (letters(between), letters(among)) == ("cde", "ce")


@pytest.mark.parametrize(
    ("lookups", "expected"),
    [
        ({"updated_at__gt": at(2026, 11, 2, 11, 7, 52, 161973)}, "efg"),
        ({"updated_at__lt": datetime(2026, 11, 2, 20, 7, 52, 1, tzinfo=TOKYO)}, "ab"),
        ({"updated_at": "2026-11-02T11:07:52Z"}, "b"),
        ({"updated_at__isnull": True}, ""),
        ({"completed_at__isnull": True}, "abcdefg"),
        ({"updated_at__year": 2026}, "bcdef"),
        ({"updated_at__year__gte": 2026}, "bcdefg"),
        ({"updated_at__year__in": [2025, 2028]}, "ag"),
        ({"updated_at__month": 12}, "a"),
        ({"updated_at__day": 29}, "g"),
        ({"updated_at__hour": 11}, "bcde"),
        ({"updated_at__minute__gt": 7}, "af"),
        ({"updated_at__second": 59}, "a"),
        ({"updated_at__week_day": 2}, "bcdef"),
        ({"updated_at__quarter": 4}, "abcdef"),
        ({"updated_at__date": date(2026, 11, 2)}, "bcdef"),
        ({"updated_at__date__lt": date(2026, 11, 2)}, "a"),
        ({"updated_at__date__range": (date(2026, 11, 1), date(2028, 2, 29))}, "bcdefg"),
        ({"updated_at__time__gt": datetime(2026, 1, 1, 20).time()}, "af"),
        ({"updated_at__startswith": "2026-11-02T11:07:52.161973"}, "de"),
    ],
    ids=str,
)
def test_lookups_match(store, stored, lookups, expected):
    assert letters(TaskRecord.objects.filter(**lookups)) == expected


@pytest.mark.parametrize(
    ("function", "answer"),
    [
        (TruncYear("updated_at"), at(2026, 1, 1)),
        (TruncMonth("updated_at"), at(2026, 11, 1)),
        (Trunc("updated_at", "week"), at(2026, 11, 2)),
        (TruncDay("updated_at"), at(2026, 11, 2)),
        (TruncHour("updated_at"), at(2026, 11, 2, 20)),
        (Trunc("updated_at", "minute"), at(2026, 11, 2, 20, 30)),
        (Trunc("updated_at", "second"), at(2026, 11, 2, 20, 30)),
        (TruncDay("updated_at", tzinfo=TOKYO), datetime(2026, 11, 3, tzinfo=TOKYO)),
        (TruncHour("updated_at", tzinfo=TOKYO), datetime(2026, 11, 3, 5, tzinfo=TOKYO)),
        (TruncDate("updated_at"), date(2026, 11, 2)),
        (TruncDate("updated_at", tzinfo=TOKYO), date(2026, 11, 3)),
        (TruncTime("updated_at"), datetime(2026, 11, 2, 20, 30).time()),
        (ExtractYear("updated_at"), 2026),
        (ExtractMonth("updated_at"), 11),
        (ExtractDay("updated_at"), 2),
        (ExtractDay("updated_at", tzinfo=TOKYO), 3),
        (ExtractHour("updated_at"), 20),
        (ExtractHour("updated_at", tzinfo=TOKYO), 5),
        (ExtractMinute("updated_at"), 30),
        (ExtractSecond("updated_at"), 0),
        (ExtractIsoWeekDay("updated_at"), 1),
        (Min("updated_at"), at(2026, 11, 2, 20, 30)),
    ],
    ids=lambda value: str(value),
)
def test_functions_return(store, stored, function, answer):
    annotated = TaskRecord.objects.filter(task_id="f").annotate(answer=function)
    assert annotated.values_list("answer", flat=True).get() == answer


def test_functions_return_none_for_other_text(store, stored):
    annotated = TaskRecord.objects.filter(task_id="f").annotate(
        day=TruncDay("completed_at"), hour=ExtractHour("completed_at")
    )
    [answers] = annotated.values_list("day", "hour")
    assert set(answers) == {None}


def test_extremes_are_loaded_values(store, stored):
    extremes = TaskRecord.objects.aggregate(first=Min("updated_at"), last=Max("updated_at"))
    assert [extremes["first"].text, extremes["last"].text] == [STORED["a"], STORED["g"]]


def test_dates_and_datetimes_are_distinct(store, stored):
    assert list(TaskRecord.objects.dates("updated_at", "month")) == [
        date(2025, 12, 1),
        date(2026, 11, 1),
        date(2028, 2, 1),
    ]
    assert list(TaskRecord.objects.datetimes("updated_at", "hour", order="DESC")) == [
        at(2028, 2, 29),
        at(2026, 11, 2, 20),
        at(2026, 11, 2, 11),
        at(2025, 12, 31, 23),
    ]
    in_tokyo = TaskRecord.objects.datetimes("updated_at", "year", tzinfo=TOKYO)
    assert list(in_tokyo) == [
        datetime(2026, 1, 1, tzinfo=TOKYO),
        datetime(2028, 1, 1, tzinfo=TOKYO),
    ]


def test_rows_are_counted_by_day(store, stored):
    days = TaskRecord.objects.annotate(day=TruncDay("updated_at")).values("day")
    assert list(days.annotate(count=Count("pk")).order_by("day").values_list("day", "count")) == [
        (at(2025, 12, 31), 1),
        (at(2026, 11, 2), 5),
        (at(2028, 2, 29), 1),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-30T00:00:00+00:00",
        "2026-01-01T24:00:00+00:00",
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00.1+00:00",
        "2026-01-01T00:00:00.123000+00:00",
        "soon",
    ],
)
def test_check_rfc3339_refuses_other_forms(text):
    with pytest.raises(ValueError, match="is not a timestamp in the store's format") as caught:
        check_rfc3339(text)
    assert str(caught.value).startswith(repr(text))
    assert not is_canonical(text)


@given(st.datetimes(timezones=st.just(UTC)))
def test_check_rfc3339_accepts_what_the_store_writes(moment):
    check_rfc3339(to_text(moment))


@pytest.mark.parametrize(
    ("text", "next_"),
    [
        ("2026-01-01T00:00:00+00:00", "2026-01-01T00:00:00.000000001+00:00"),
        ("2026-01-01T00:00:00.123+00:00", "2026-01-01T00:00:00.123000001+00:00"),
        ("2026-01-01T00:00:00.123456+00:00", "2026-01-01T00:00:00.123456001+00:00"),
        ("2026-01-01T00:00:00.000999999+00:00", "2026-01-01T00:00:00.001+00:00"),
        ("2026-12-31T23:59:59.999999999+00:00", "2027-01-01T00:00:00+00:00"),
        ("1969-12-31T23:59:59.999999999+00:00", "1970-01-01T00:00:00+00:00"),
        ("9999-12-31T23:59:59.999999999+00:00", "9999-12-31T23:59:59.999999999+00:00"),
    ],
)
def test_next_nanosecond(text, next_):
    assert next_nanosecond(text) == next_


@given(st.integers(-(10**10), 10**11), st.integers(0, 10**9 - 1))
def test_next_nanosecond_sorts_after_its_text(seconds, nanoseconds):
    text = rfc3339(seconds, nanoseconds)
    assert text < next_nanosecond(text)
    assert is_canonical(next_nanosecond(text))


@pytest.mark.parametrize(
    ("value", "vendor", "stored"),
    [
        ("a\0b\0", "postgresql", "a\ufffdb\ufffd"),
        ("a\0b", "sqlite", "a\0b"),
        ("plain", "postgresql", "plain"),
        (None, "postgresql", None),
        (5, "postgresql", 5),
    ],
)
def test_storable_is_what_the_database_can_hold(value, vendor, stored):
    assert storable(value, SimpleNamespace(vendor=vendor)) == stored
