"""Tests that text from agents and visitors never breaks out into markup, headers or file names."""

import json
import re
from typing import Any
from urllib.parse import quote, unquote

import pytest
from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import reverse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archive.models import ClearedThread, Clearing
from gloamy_site.middleware import MaskingMiddleware
from tasks.addresses import id_to_path, thread_url
from tasks.clearing import clear_threads
from tasks.models import TaskCheckpoint, TaskRecord
from tasks.store.workspace import store_connection
from tasks.transcript import rendering
from tasks.transcript.export import FORMATS
from tasks.transcript.invisible import INVISIBLE, escape_invisible, escape_invisible_in_html
from tasks.transcript.rendering import Budget
from tasks.transcript.steps import build_outlines
from tasks.transcript.timeline_labels import label_of
from tests.support import payloads
from tests.support.factories import only_sqlite
from tests.support.html_audit import HtmlAudit
from tests.support.payload_store import fill_huge, fill_mixed, fill_site, fill_store

pytestmark = pytest.mark.django_db(databases="__all__")

ALL = [*map(payloads.aimed, payloads.ALL)]
SHARP = [*map(payloads.aimed, [*payloads.POLYGLOTS, *payloads.LINES, *payloads.UNSEEN])]
# Payloads to put in URLs: one polyglot, and all of each of three kinds joined.
URL_PAYLOADS = [
    payloads.aimed(text)
    for text in (
        payloads.POLYGLOTS[2],
        *map("".join, (payloads.POLYGLOTS, payloads.LINES, payloads.UNSEEN)),
    )
]
TABS = ("transcript", "checkpoints", "resume", "raw")


def response_problems(answer: Any, address: str) -> list[str]:
    """Return the problems found in the response from this address."""
    problems = _header_problems(answer)
    if answer["Content-Type"].startswith("text/html"):
        is_admin = address.startswith("/admin/")
        problems += HtmlAudit(answer.content.decode(), is_admin=is_admin).problems
    return [f"{address[:200]}: {problem}" for problem in problems]


def _header_problems(answer: Any) -> list[str]:
    policy = answer.headers.get("Content-Security-Policy", "")
    checks = {
        "policy": "default-src 'self'" not in policy or "unsafe" in policy,
        "sniffing": answer.headers.get("X-Content-Type-Options") != "nosniff",
        "type": answer["Content-Type"].split(";")[0] not in PAGE_TYPES and not answer.streaming,
        "attachment": answer.streaming and not answer["Content-Disposition"].startswith("attach"),
        "line": any(set("\r\n\0") & set(value) for value in answer.headers.values()),
    }
    return [name for name, failed in checks.items() if failed]


PAGE_TYPES = ("text/html", "text/plain")


def scan(client: Client, addresses: list[str]) -> list[str]:
    return [
        problem
        for address in addresses
        for problem in response_problems(client.get(address), address)
    ]


def pages_of(record: TaskRecord) -> list[str]:
    """Return the addresses of a thread's pages, starting with the transcript, the fullest page."""
    thread_id, task_id = record.thread_id, record.task_id
    step = TaskCheckpoint.objects.filter(task_id=task_id).values_list("pk", flat=True)[0]
    key = id_to_path(task_id)
    return [
        *(thread_url("thread", thread_id, show=tab) for tab in TABS),
        thread_url("thread-live", thread_id),
        thread_url("thread", thread_id, task=task_id, piece="later", message=3),
        thread_url("thread", thread_id, find=thread_id[:100], list=f"q={thread_id[:50]}"),
        thread_url("clear", thread_id, list=thread_id),
        thread_url("raw", thread_id, task=task_id),
        thread_url("message", thread_id, message=1),
        f"/thread/checkpoint/?checkpoint={step}",
        f"/thread/step/?checkpoint={step}&list={quote(thread_id)}",
        f"/admin/tasks/taskrecord/{key}/change/",
        f"/admin/tasks/taskrecord/{key}/history/",
        f"/admin/tasks/taskcheckpoint/{step}/change/",
        *(thread_url("export", thread_id, format=name) for name in FORMATS),
    ]


def test_thread_pages_escape_stored_text(store, admin_client: Client):
    """Each field of a thread holds a different payload; each payload appears in several fields."""
    fill_mixed(store, ALL, threads=24 if store.vendor == "sqlite" else 4)

    for number, record in enumerate(TaskRecord.objects.without_histories()):
        transcript, *others = pages_of(record)
        assert scan(admin_client, [transcript, *others[number % 4 :: 4]]) == []


def test_cleared_threads_escape_stored_text(store, admin_client: Client):
    fill_mixed(store, ALL, threads=4)
    clear_threads(TaskRecord.objects.all(), with_running=True)

    threads = ClearedThread.objects.filter(archive__isnull=False)
    pages = [f"/cleared/{thread.clearing_id}/thread/?thread={thread.pk}" for thread in threads]
    assert len(pages) == 4
    assert scan(admin_client, [*pages, *(f"{page}&show=checkpoints" for page in pages)]) == []


@pytest.mark.parametrize("kind", payloads.KINDS)
def test_renderers_escape_text(kind: str):
    for text in map(payloads.aimed, payloads.KINDS[kind]):
        cell = f"- > {text}\n\n| {text} |\n|-|\n"
        for html in (
            rendering.plain(text),
            rendering.output(text),
            *(rendering.code(text, language, Budget()) for language in ("html", "python")),
            *(rendering.markdown(source, Budget()) for source in (text, cell)),
        ):
            assert HtmlAudit(escape_invisible_in_html(html)).problems == [], text


def test_lists_escape_stored_text(store, admin_client: Client):
    fill_store(store, ALL if store.vendor == "sqlite" else ALL[::8])

    for address in ("/?sort=steps", "/?q=pwned", "/?q=x&where=ids"):
        while address:
            answer = admin_client.get(address)
            assert response_problems(answer, address) == []
            address = answer.context["older_url"] or answer.context["continue_url"]
    for page in range(1, 7):
        assert scan(admin_client, [f"/admin/tasks/taskrecord/?p={page}&o=1"]) == []
        assert scan(admin_client, [f"/admin/tasks/taskcheckpoint/?p={page}&q=x"]) == []


@only_sqlite
def test_pages_escape_large_texts(store, admin_client: Client):
    fill_huge(store, [*map(payloads.aimed, payloads.HUGE)])

    for number in range(len(payloads.HUGE)):
        tabs = (TABS[0], TABS[1 + number % 2])
        pages = [thread_url("thread", f"huge {number}", show=tab) for tab in tabs]
        assert scan(admin_client, pages) == []
    assert scan(admin_client, ["/"]) == []


def test_site_pages_escape_names_and_reasons(admin_client: Client):
    fill_site(ALL[60], ALL[::9])
    addresses = ["/", "/cleared/", "/secrets/", "/admin/"]
    for clearing in Clearing.objects.all():
        addresses.append(reverse("clearing", args=[clearing.pk]))
    user = get_user_model().objects.get(username=ALL[60])
    for kind in ("auth/group", "auth/user"):
        addresses += [f"/admin/{kind}/", f"/admin/{kind}/{user.pk}/change/"]
        addresses += [f"/admin/{kind}/{user.pk}/{page}/" for page in ("history", "delete")]

    assert scan(admin_client, addresses) == []


PARAMETERS = {
    "/": "q where status channel provider model period start end resume sort after before task"
    " seen",
    "/thread/": "id task list find hit message step turn show piece",
    "/thread/live/": "id task list show step",
    "/thread/raw/": "id text task",
    "/thread/message/": "id message text",
    "/thread/checkpoint/": "checkpoint",
    "/thread/export/": "id format",
    "/thread/step/": "checkpoint list",
    "/thread/clear/": "id list",
    "/cleared/": "before",
    "/secrets/": "before",
    "/cleared/1/": "fate after go",
    "/cleared/1/thread/": "thread task show message step raw to",
    "/sign-in/": "next username",
    "/sign-in/link/": "token next",
    "/admin/login/": "next",
    "/admin/tasks/taskrecord/": "q status__exact o p e x",
    "/admin/tasks/taskcheckpoint/": "q o p e x",
}


@pytest.mark.parametrize("path", PARAMETERS)
def test_pages_escape_query_parameters(admin_client: Client, path: str):
    fill_store(store_connection(), [ALL[9]])
    thread_query = "" if path == "/" else f"&id={quote(ALL[9])}"
    visitor = Client()

    for name in PARAMETERS[path].split():
        for evil in SHARP if name == "next" else URL_PAYLOADS:
            address = f"{path}?{name}={quote(evil)}" + (thread_query if name != "id" else "")
            assert scan(visitor if path.startswith("/sign") else admin_client, [address]) == []


def test_pages_escape_form_values(admin_client: Client):
    fill_store(store_connection(), [ALL[9]])
    for evil in URL_PAYLOADS:
        form = dict.fromkeys(("version", "seen", "reason", "typed", "query", "all", "thread"), evil)
        credentials = {"username": evil, "password": evil, "next": evil}
        for client, address, data in (
            (admin_client, thread_url("clear", ALL[9]), form),
            (admin_client, "/clear/", form),
            (admin_client, "/cleared/1/restore/", form),
            (admin_client, "/admin/tasks/taskrecord/", form | {"action": evil, "index": 0}),
            (admin_client, "/admin/auth/group/add/", {"name": evil * 20}),
            (Client(), "/sign-in/", credentials),
            (Client(enforce_csrf_checks=True), "/sign-in/", credentials),
        ):
            assert response_problems(client.post(address, data), address) == []


def test_error_pages_escape_request_text(
    admin_client: Client, stranger: Client, monkeypatch: pytest.MonkeyPatch
):
    admin_client.raise_request_exception = False
    for evil in URL_PAYLOADS:
        path = f"/{quote(evil)}"
        printable = "".join(filter(str.isprintable, evil))
        assert scan(admin_client, [path, f"/admin{path}/", f"/admin/tasks/taskrecord{path}/"]) == []
        assert scan(stranger, [thread_url("thread", evil)]) == []
        for answer in (
            admin_client.get("/", headers={"Host": printable}),
            admin_client.generic("PUT", f"/{path}"),
            admin_client.get("/?" + quote(evil) + "x" * 61_000),
            admin_client.get("/", headers={"HX-Request": printable, "If-None-Match": printable}),
        ):
            assert response_problems(answer, "/") == []
        with monkeypatch.context() as patch:
            patch.setattr("tasks.views.threads.daemon", _raising(evil))
            answer = admin_client.get("/")
        assert (answer.status_code, response_problems(answer, "/")) == (500, [])


def _raising(text: str) -> Any:
    def fail(*args: Any) -> None:
        raise RuntimeError(text)

    return fail


NASTY = st.lists(
    st.sampled_from([*ALL, "<", ">", '"', "'", "&", "`", "[", "](", ")", "\n", "\x1b[", "|", "{{"])
    | st.text(max_size=20)
).map("".join)


@only_sqlite
@given(text=NASTY)
@settings(
    max_examples=settings().max_examples // 10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_pages_escape_any_text(store, admin_client: Client, text: str):
    TaskCheckpoint.objects.all().delete()
    TaskRecord.objects.all().delete()
    text = text.encode(errors="ignore").decode()
    fill_store(store, ["", text])

    addresses = [thread_url("thread", text, show=tab) for tab in TABS]
    assert scan(admin_client, ["/", *addresses]) == []


def test_exports_have_plain_file_names_and_complete_text(store, admin_client: Client):
    fill_store(store, SHARP if store.vendor == "sqlite" else SHARP[::4])
    for record in TaskRecord.objects.without_histories():
        for name, form in FORMATS.items():
            address = thread_url("export", record.thread_id, format=name)
            answer = admin_client.get(address)
            body = answer.getvalue().decode()
            header = answer["Content-Disposition"]
            plain = re.fullmatch(r'attachment; filename="([A-Za-z0-9._-]+)"', header)
            encoded = re.fullmatch(r"attachment; filename\*=utf-8''([A-Za-z0-9._%-]+)", header)
            filename = plain[1] if plain else unquote(encoded[1] if encoded else "")
            assert response_problems(answer, address) == []
            assert filename.startswith("gloamy-") and filename.endswith(f".{form.extension}")
            assert re.fullmatch(r"[\w.-]+", filename) and not INVISIBLE.search(filename)
            if "json" in form.content_type:
                assert [json.loads(line) for line in body.removesuffix("\n").split("\n")]
            else:
                assert not INVISIBLE.search(body)


def test_invisible_characters_are_escaped_by_name():
    assert escape_invisible("a\x1b\x1bb\u202ec") == "a[ESC \u00d7 2]b[U+202E]c"
    assert escape_invisible("क\u200dष 👩\u200d💻") == "क\u200dष 👩\u200d💻"


def test_bar_label_fits_after_escaping(store):
    fill_store(store, ["\u202e" + "x" * 200, "a\u202eb"])
    record = TaskRecord.objects.get(thread_id="a\u202eb")
    outlines = build_outlines(record.checkpoints.outline_rows())

    assert [label_of([step]) for step in outlines] == ["a[U+202E]b +"] * 2 + ["a[U+202E]b"] * 2


def test_page_escapes_invisible_characters_except_in_form_values():
    page = '<p title="\u202ea">b\x00\r\nc</p><input value="\u202ed" name="e">'
    escaped = '<p title="[U+202E]a">b[U+0000]\r\nc</p><input value="\u202ed" name="e">'
    assert escape_invisible_in_html(page) == escaped

    def render(kind: str) -> str:
        def view(request: HttpRequest) -> HttpResponse:
            return HttpResponse(page, content_type=kind)

        return MaskingMiddleware(view)(HttpRequest()).content.decode()

    assert render("text/html; charset=utf-8") == escaped
    assert [render("text/plain"), render("application/json")] == [page, page]
