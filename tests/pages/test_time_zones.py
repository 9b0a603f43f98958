"""Tests of the time zones in which pages display times and read dates."""

import re
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tasks.addresses import thread_url
from tests.support.factories import checkpoint, task
from tests.unit.test_time_zones import HOSTILE

pytestmark = pytest.mark.django_db(databases="__all__")

BERLIN, TOKYO = "Europe/Berlin", "Asia/Tokyo"
MOMENT = "2026-10-25T00:30:00+00:00"  # clocks in Berlin are set back half an hour later
TRIMMED = [name for name in HOSTILE if name == name.strip() and len(name) < 50_000]
IN_ZONE = {
    "": "2026-10-25 00:30:00 UTC",
    BERLIN: "2026-10-25 02:30:00 CEST",
    TOKYO: "2026-10-25 09:30:00 JST",
}


def be_in(client: Client, zone: str) -> Client:
    client.cookies["gloamy_time_zone"] = zone
    return client


def listed(client: Client, **params: str) -> list[str]:
    response = client.get("/", params)
    assert response.status_code == 200, response.context["reason"]
    return [row.record.task_id for row in response.context["rows"]]


@pytest.fixture
def hourly() -> None:
    """Add threads that were active at each hour of the day on which Berlin sets its clocks back."""
    for hour in range(4):
        task(f"0{hour}", updated_at=f"2026-10-25T0{hour}:00:00+00:00")


def test_pages_display_the_time_in_the_viewers_zone(operator: Client, store):
    checkpoint(task(created_at=MOMENT, updated_at=MOMENT), created_at=MOMENT)

    for zone, text in IN_ZONE.items():
        be_in(operator, zone)
        steps = operator.get("/thread/?id=telegram_42&show=checkpoints").content.decode()
        assert f'title="{text}"' in operator.get("/").content.decode()
        assert f'title="{text}"' in steps and f">{text[11:]}<" in steps
        assert text in operator.get(thread_url("clear", "telegram_42")).content.decode()


def test_admin_displays_the_time_in_the_viewers_zone(admin_client: Client, store):
    row = checkpoint(task(created_at=MOMENT, updated_at=MOMENT), created_at=MOMENT)
    pages = {
        "admin:tasks_taskrecord_changelist": [],
        "admin:tasks_taskcheckpoint_changelist": [],
        "admin:tasks_taskcheckpoint_change": [row.pk],
    }
    for zone, text in IN_ZONE.items():
        be_in(admin_client, zone)
        for name, arguments in pages.items():
            assert text in admin_client.get(reverse(name, args=arguments)).content.decode(), name


@pytest.mark.parametrize("path", ["/", "/?seen="])
def test_viewers_in_different_zones_never_share_rows(viewer: Client, path: str):
    task(created_at=MOMENT, updated_at=MOMENT)

    for zone, text in [*IN_ZONE.items()] * 2:
        titles = re.findall(r'title="(2026[^"]+)"', be_in(viewer, zone).get(path).content.decode())
        assert set(titles) == {text}


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"start": "2026-10-25T02:00"}, ["03", "02", "01", "00"]),  # 02:00 occurs twice
        ({"end": "2026-10-25T02:30"}, ["01", "00"]),
        ({"start": "2026-10-25T03:00", "end": "2026-10-25T03:00"}, ["02"]),
        ({"q": "after:2026-10-25T03:00"}, ["03", "02"]),
        ({"q": "before:2026-10-25T03:00"}, ["01", "00"]),
    ],
)
def test_dates_in_an_address_are_in_the_zone_that_it_names_for_everyone(
    viewer: Client, store, hourly, params: dict[str, str], expected: list[str]
):
    for zone in IN_ZONE:
        assert listed(be_in(viewer, zone), **params, zone=BERLIN) == expected


def test_dates_in_an_address_without_a_zone_are_in_utc_for_everyone(viewer: Client, hourly):
    for zone in IN_ZONE:
        be_in(viewer, zone)
        assert listed(viewer, start="2026-10-25T02:00") == ["03", "02"]
        assert listed(viewer, q="before:2026-10-25T02:00") == ["01", "00"]


@pytest.mark.parametrize("params", [{"start": "2026-10-25T03:00"}, {"q": "after:2026-10-25T03:00"}])
def test_links_of_the_list_keep_the_meaning_of_its_dates(
    viewer: Client, hourly, params: dict[str, str]
):
    page = be_in(viewer, BERLIN).get("/", params | {"zone": BERLIN})

    be_in(viewer, TOKYO)
    for link in (page.context["sorts"][1].url, page.context["states"][0].url):
        again = viewer.get(link)
        assert {row.record.task_id for row in again.context["rows"]} == {"03", "02"}, link


def test_form_displays_dates_in_the_viewers_zone_and_reads_them_back(viewer: Client, hourly):
    params = {"start": "2026-10-25T03:00", "end": "2026-10-25T03:00", "zone": BERLIN}

    for zone, value in (("", "02:00:00"), (BERLIN, "03:00:00"), (TOKYO, "11:00:00")):
        page = be_in(viewer, zone).get("/", params)
        form = page.content.decode().split('<form class="filters"')[1]
        fields = dict(re.findall(r'name="(start|end|zone)"[^>]* value="([^"]*)"', form))
        local = f"2026-10-25T{value}"
        assert fields == {"start": local, "end": local} | ({"zone": zone} if zone else {})
        assert f"Active from ({zone or 'UTC'})<" in form
        chips = [chip["text"] for chip in page.context["active_filters"]]
        assert [chip[:19] for chip in chips] == [local.replace("T", " ")] * 2
        assert listed(viewer, **fields) == ["02"]


def test_zone_is_in_the_links_of_a_list_only_if_dates_need_it(viewer: Client):
    task()

    for params in ({}, {"q": "hello"}, {"start": "2026-01-01"}):
        page = viewer.get("/", params | {"zone": BERLIN})
        assert "zone" not in page.context["query"], params

    page = viewer.get("/", {"q": "after:2026-01-01", "zone": BERLIN})
    assert urlencode({"zone": BERLIN}) in page.context["query"]
    [chip] = page.context["active_filters"]
    assert (chip["text"], chip["url"]) == (f"“after:2026-01-01” ({BERLIN})", "/")


@pytest.mark.parametrize("zone", [z for z in TRIMMED if z not in ("", "\ud800")], ids=ascii)
def test_unknown_zone_in_an_address_is_rejected(viewer: Client, zone: str):
    response = viewer.get("/", {"zone": zone})

    assert response.status_code == 400
    assert response.context["reason"].startswith("Invalid “zone” in the URL: ")


@pytest.mark.parametrize(
    "params",
    [
        {"start": "0001-01-01", "zone": TOKYO},
        {"end": "9999-12-31T23:59", "zone": "America/New_York"},
        {"q": "after:0001-01-01", "zone": TOKYO},
    ],
)
def test_date_out_of_range_is_rejected(viewer: Client, params: dict[str, str]):
    assert viewer.get("/", params).status_code == 400


def test_date_out_of_range_in_the_viewers_zone_is_displayed(viewer: Client):
    page = be_in(viewer, TOKYO).get("/", {"end": "9999-12-31T23:59"})

    assert [chip["text"] for chip in page.context["active_filters"]] == ["9999-12-31 23:59:00 UTC"]


@pytest.mark.parametrize("zone", TRIMMED, ids=ascii)
def test_hostile_cookie_means_utc(viewer: Client, zone: str):
    task(created_at=MOMENT, updated_at=MOMENT)
    raw = zone.encode("utf-8", "surrogatepass").decode("latin-1")

    session = viewer.cookies["gloamy_session"].value
    header = f"gloamy_session={session}; gloamy_time_zone={raw}"
    page = viewer.get("/", headers={"cookie": header})

    assert page.status_code == 200
    assert IN_ZONE[""] in page.content.decode()


def test_zone_ends_with_its_request(viewer: Client, monkeypatch: pytest.MonkeyPatch):
    names: list[str] = []

    def fail() -> None:
        names.append(active())
        raise ArithmeticError

    monkeypatch.setattr("tasks.views.threads.daemon", fail)
    viewer.raise_request_exception = False

    assert be_in(viewer, BERLIN).get("/").status_code == 500
    assert (names, active()) == ([BERLIN], "UTC")


def active() -> str:
    return str(timezone.get_current_timezone())


@pytest.mark.parametrize("format", ["json", "md"])
def test_exports_are_in_utc(viewer: Client, format: str):
    checkpoint(task(created_at=MOMENT, updated_at=MOMENT), created_at=MOMENT)

    for zone in IN_ZONE:
        response: Any = be_in(viewer, zone).get(thread_url("export", "telegram_42", format=format))
        assert MOMENT in b"".join(response).decode()
