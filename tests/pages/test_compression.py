"""Tests of which responses are compressed, and of how much a first visit transfers."""

import gzip
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin

import pytest
from django.test import Client
from django.urls import reverse

from tasks import demo, large_values
from tasks.addresses import thread_url
from tasks.models import TaskRecord
from tests.support.factories import task

pytestmark = pytest.mark.django_db(databases="__all__")

FIRST_VISIT = 60_000  # bytes, without headers
LINKED = re.compile(r'(?:href|src)="(/static/[^"?]+)|(?:from|import) "(\./[^"]+)"')
STYLES = "/static/tasks/css/base.css"


def fetch(client: Client, address: str, **headers: str) -> tuple[Any, bytes]:
    """Request a page as browsers do, and return the response and the bytes of its body."""
    response: Any = client.get(address, headers={"Accept-Encoding": "gzip", **headers})
    return response, response.getvalue()


def transferred(client: Client, address: str) -> dict[str, int]:
    """Return the size in bytes of a page, and of each file it links to or imports, by URL."""
    sizes: dict[str, int] = {}
    waiting = [address]
    while waiting:
        url = waiting.pop()
        response, body = fetch(client, url)
        assert response.status_code == 200, url
        sizes[url] = len(body)
        text = gzip.decompress(body).decode()
        found = {urljoin(url, "".join(groups)) for groups in LINKED.findall(text)}
        waiting += found - sizes.keys() - set(waiting)
    return sizes


@pytest.mark.parametrize("page", ["list", "thread"])
def test_first_visit_transfers_less_than_60_kilobytes(operator: Client, page: str):
    demo.fill()
    for number in range(50 - len(TaskRecord.objects.values("thread_id").distinct())):
        task(f"another-{number}")
    longest = TaskRecord.objects.order_by("-checkpoint_count")[0]
    address = {"list": "/", "thread": thread_url("thread", longest.thread_id)}[page]

    sizes = transferred(operator, address)

    assert {STYLES, "/static/tasks/js/morph.js"} <= sizes.keys()
    assert sum(sizes.values()) < FIRST_VISIT, sizes


def test_response_is_not_compressed_unless_requested(viewer: Client):
    for address in ("/", STYLES):
        response, body = fetch(viewer, address, **{"Accept-Encoding": "identity"})

        assert "Content-Encoding" not in response
        assert "Accept-Encoding" in response["Vary"]
        assert int(response["Content-Length"]) == len(body)


@pytest.mark.parametrize("address", ["/", STYLES])
def test_compressed_response_has_its_own_length(viewer: Client, address: str):
    response, body = fetch(viewer, address)

    assert response["Content-Encoding"] == "gzip"
    assert int(response["Content-Length"]) == len(body) < len(gzip.decompress(body))


def test_compressed_static_file_is_the_original_and_keeps_its_headers(client: Client):
    plain, original = fetch(client, STYLES, **{"Accept-Encoding": ""})
    response, body = fetch(client, STYLES)
    head = client.head(STYLES, headers={"Accept-Encoding": "gzip"})

    assert gzip.decompress(body) == original
    assert head.getvalue() == b""
    assert head["Content-Length"] == response["Content-Length"] != plain["Content-Length"]
    for name in ("ETag", "Cache-Control", "Content-Type", "Vary", "Last-Modified"):
        assert head[name] == response[name] == plain[name]


def test_unchanged_static_file_is_not_sent_again(client: Client):
    etag = fetch(client, STYLES)[0]["ETag"]

    response, body = fetch(client, STYLES, **{"If-None-Match": etag})

    assert (response.status_code, body) == (304, b"")
    assert "Content-Encoding" not in response
    assert "Accept-Encoding" in response["Vary"]


def test_part_of_a_static_file_is_not_compressed(client: Client):
    response, body = fetch(client, STYLES, Range="bytes=0-9")

    assert (response.status_code, len(body)) == (206, 10)
    assert "Content-Encoding" not in response


def test_static_file_is_compressed_once(client: Client, monkeypatch: pytest.MonkeyPatch):
    fetch(client, STYLES)
    monkeypatch.setattr(gzip, "compress", None)

    assert fetch(client, STYLES)[0]["Content-Encoding"] == "gzip"


def test_poll_without_changes_has_no_body(viewer: Client):
    task()
    live = thread_url("thread-live", "telegram_42")
    token = viewer.get("/").context["change_token"]
    etag = fetch(viewer, live)[0]["ETag"]

    polled, nothing = fetch(viewer, f"{reverse('threads')}?seen={token}")
    unchanged, empty = fetch(viewer, live, **{"If-None-Match": etag})

    assert (polled.status_code, nothing) == (204, b"")
    assert (unchanged.status_code, empty) == (304, b"")
    assert unchanged["ETag"] == etag
    assert not {"Content-Encoding"} & {*polled.headers, *unchanged.headers}


def test_stream_is_compressed_as_it_is_read(viewer: Client, settings, monkeypatch):
    settings.MAX_HISTORY_SIZE = 0
    task(execution_history_json="[]")
    pieces = [" ".join(map(str, range(n, n + 50_000))).encode() for n in range(0, 500_000, 50_000)]
    read: list[bytes] = []

    def stream(*args: Any) -> Iterator[bytes]:
        for piece in pieces:
            read.append(piece)
            yield piece

    monkeypatch.setattr(large_values, "stream", stream)
    address = thread_url("raw", "telegram_42")

    response: Any = viewer.get(address, headers={"Accept-Encoding": "gzip"})
    sent = []
    for chunk in response.streaming_content:
        sent.append(chunk)
        assert len(read) <= len(sent) + 1

    assert response["Content-Encoding"] == "gzip" and "Content-Length" not in response
    assert gzip.decompress(b"".join(sent)) == b"".join(pieces)
