"""Tests that no response contains a secret, not even truncated, re-encoded or as a search hit."""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import Client
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

import masking
from archive.models import Clearing
from gloamy_site.middleware import MaskingMiddleware
from masking import MASK
from tasks.addresses import id_to_path, thread_url
from tasks.messages import encode_history, encode_items
from tasks.models import TaskCheckpoint, TaskRecord
from tasks.secrets import request_masking, response_masking
from tasks.transcript.export import FORMATS
from tests.support.factories import checkpoint, history, item, only_sqlite, task
from tests.support.payload_store import checkpoint_rows, fill_site, insert, task_row
from tests.support.sample_secrets import (
    HEADER,
    KEY,
    LETTERS,
    PASSWORD,
    SECRETS,
    TOKEN,
    URL_PASSWORD,
    text_with,
)

pytestmark = pytest.mark.django_db(databases="__all__")

TABS = ("transcript", "checkpoints", "resume", "raw")
# Lengths at which pages truncate titles, ids, cells, snippets, notes, previews and long text.
CUTS = (0, 12, 40, 60, 70, 80, 100, 140, 200, 300, 340, 400, 500, 900, 1_000, 2_000, 2_400, 4_000)
FAR_CUTS = (16_384, 20_000, 400_000)


class PageText(HTMLParser):
    """Collects the text of a page, excluding form values, data attributes and local links."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            is_sent = name == "value" or name.startswith(("data-", "hx-"))
            is_local = name in ("href", "action") and str(value).startswith(("/", "?", "#"))
            if not is_sent and not is_local:
                self.texts.append(str(value))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def page_text(response: Any) -> str:
    if response.streaming:
        return b"".join(response.streaming_content).decode()
    content: str = response.content.decode()
    return "".join(PageText(content).texts) if "html" in response["Content-Type"] else content


def leaks(client: Client, address: str) -> list[str]:
    """Return one line for each secret whose first characters appear on the page."""
    response = client.get(address)
    assert response.status_code in (200, 302, 404), address  # 404: some rows cannot be read
    content = page_text(response)
    parts = {secret: secret.removeprefix("ghp_")[:10] for secret in SECRETS}
    return [f"{part} of {address[:200]}" for part in parts.values() if part in content]


def fill(store: Any, texts: list[str]) -> None:
    """Add one thread per given text, with that text in every column except the ids."""
    for number, text in enumerate(texts):
        row = task_row(text, number) | {"task_id": f"t{number}", "thread_id": f"t{number}"}
        insert(store, "task_records", row)
        for step in checkpoint_rows(text, row, number):
            insert(store, "task_checkpoints", step)


def pages_of(number: int, record: TaskRecord) -> list[str]:
    """Return URLs of all tabs of a thread and a quarter of its other pages, chosen by `number`."""
    id_, step = record.thread_id, TaskCheckpoint.objects.filter(task_id=record.task_id).first()
    assert step is not None
    key = id_to_path(record.task_id)
    others = [
        *(thread_url("thread-live", id_, show=tab) for tab in TABS),
        thread_url("thread", id_, find="x"),
        thread_url("thread", id_, piece="later", message=3),
        thread_url("clear", id_),
        *(thread_url("message", id_, message=number) for number in (1, 3, 4, 8)),
        *(thread_url("raw", id_, text=name) for name in ("final_response", "last_error")),
        thread_url("raw", id_),
        f"/thread/checkpoint/?checkpoint={step.pk}",
        *(f"/admin/tasks/taskrecord/{key}/change/?show={tab}" for tab in TABS),
        f"/admin/tasks/taskcheckpoint/{step.pk}/change/",
        *(thread_url("export", id_, format=name) for name in FORMATS),
    ]
    return [*(thread_url("thread", id_, show=tab) for tab in TABS), *others[number % 4 :: 4]]


def all_pages() -> list[str]:
    records = enumerate(TaskRecord.objects.without_histories())
    return [page for number, record in records for page in pages_of(number, record)]


LISTS = (
    *("/", "/?q=x", "/?q=example.org", "/?sort=steps", "/?q=password", "/?q=x&where=user"),
    "/?seen=",
    *("/admin/tasks/taskrecord/", "/admin/tasks/taskcheckpoint/", "/admin/"),
)


def cut_texts() -> list[str]:
    """Return strings to cut at each length in CUTS. Each cut splits every secret at least once."""
    pending = [(cut, secret) for cut in CUTS for secret in SECRETS]
    texts = []
    while pending:
        text = ""
        for cut, secret in list(pending):
            sentence = text_with(secret)
            middle = sentence.index(secret) + len(secret) // 2
            padding = cut - middle - len(text)
            if padding >= 2 or not text:
                text += (" " + "x" * (padding - 2) + " " if padding >= 2 else "") + sentence
                pending.remove((cut, secret))
        texts.append(text)
    return texts


def test_cut_texts_have_each_secret_at_each_cut():
    covered = {
        (cut, secret)
        for text in cut_texts()
        for secret in SECRETS
        for cut in CUTS
        if secret in text[max(0, cut - len(secret)) : cut + len(secret)]
    }
    assert covered >= {(cut, secret) for cut in CUTS[3:] for secret in SECRETS}
    assert all(
        any(text.startswith(text_with(secret)) for text in cut_texts()) for secret in SECRETS
    )


def test_pages_contain_no_part_of_a_secret(store, admin_client: Client):
    texts = cut_texts()
    fill(store, texts if store.vendor == "sqlite" else texts[::8])

    assert [leak for page in [*all_pages(), *LISTS] for leak in leaks(admin_client, page)] == []


@only_sqlite
@pytest.mark.parametrize("cut", FAR_CUTS)
def test_pages_of_a_long_text_contain_no_part_of_a_secret(store, admin_client: Client, cut: int):
    for number, secret in enumerate((TOKEN, PASSWORD)):
        text = "word " * (cut // 5 - 6) + text_with(secret)
        record = task(
            f"t{number}",
            execution_history_json=encode_history(history(text, text), "history"),
            resumable_history_json=encode_history(history(text), "history"),
            latest_checkpoint_note=text,
            final_response=text,
            last_error=text,
        )
        items = encode_items([item(arguments={"command": text}, output=text)], "items")
        checkpoint(record, checkpoint_note=text, items_json=items)

    assert [leak for page in ["/", *all_pages()] for leak in leaks(admin_client, page)] == []


def test_clearing_pages_contain_no_secret(admin_client: Client):
    fill_site("admin", [text_with(secret) for secret in SECRETS])
    addresses = ["/", "/cleared/", "/admin/"]
    addresses += [reverse("clearing", args=[clearing.pk]) for clearing in Clearing.objects.all()]

    assert [leak for page in addresses for leak in leaks(admin_client, page)] == []


def test_values_are_masked_by_their_keys(store, viewer: Client):
    secrets = {"password": "letmein", "api_key": HEADER, "path": "notes.txt"}
    record = task("t")
    steps = [
        {"user": "maya", **secrets, "passcode": 70707},
        {"password": "letmein2"},
        {"password": "letmein3"},
    ]
    for number, arguments in enumerate(steps):
        items = encode_items([item(arguments=arguments)], "items")
        stored = checkpoint(record, step_index=number, items_json=items)

    page = page_text(viewer.get(thread_url("thread", "t", show="checkpoints")))
    assert "maya" in page and "notes.txt" in page and "70707" not in page
    for text in (page, page_text(viewer.get(f"/thread/checkpoint/?checkpoint={stored.pk}"))):
        assert "letmein" not in text and HEADER not in text


def store_message(content: str) -> TaskRecord:
    """Store a thread with the id "t" and a single message."""
    return task("t", execution_history_json=encode_history(history(content), "history"))


@pytest.mark.parametrize("query", [PASSWORD, PASSWORD[:4], PASSWORD[-4:], f"password={PASSWORD}"])
def test_search_does_not_match_secrets(store, viewer: Client, query: str):
    store_message("try password=" + PASSWORD)

    assert viewer.get("/", {"q": query}).context["rows"] == []
    assert viewer.get("/thread/", {"id": "t", "find": query}).context["page"].tab.search.hits == []


def test_search_hit_masks_secrets_in_its_context(store, viewer: Client):
    store_message(f"zebra password={PASSWORD} zebra")

    [row] = viewer.get("/", {"q": "zebra"}).context["rows"]
    [(hit, _)] = row.hits
    assert (hit.match, hit.after) == ("zebra", f" password={MASK} zebra")
    hits = viewer.get("/thread/", {"id": "t", "find": "ZEBRA"}).context["page"].tab.search.hits
    assert [(hit.before, hit.after) for hit in hits] == [
        ("", f" password={MASK} zebra"),
        (f"zebra password={MASK} ", ""),
    ]


def test_export_masks_only_the_secrets(store, viewer: Client):
    store_message(f'say "hi" with {TOKEN} and\n{text_with(KEY)}')

    exported = json.loads(page_text(viewer.get(thread_url("export", "t", format="json"))))
    [message] = exported["tasks"][0]["execution_history"]
    assert message["content"].startswith(f'say "hi" with {MASK} and\n-----BEGIN RSA PRIVATE KEY')


# Masking an HTML page


WRAPPED_MASK = f'<span class="masked">{MASK}</span>'


def test_mask_is_wrapped_where_an_element_is_allowed():
    html = f"<title>{TOKEN}</title><option>{TOKEN}</option><p>a {TOKEN} b</p>"
    assert response_masking.mask_page(html) == (
        f"<title>{MASK}</title><option>{MASK}</option><p>a {WRAPPED_MASK} b</p>"
    )


def test_page_without_a_secret_is_unchanged():
    html = '<p title="a &amp; b">it&#x27;s <b>me</b> &lt;</p><a href="https://a.org/?b=%20">x</a>'
    assert response_masking.mask_page(html) == html


def test_secret_across_elements_is_masked():
    html = f"<pre><span class='x'>ghp_</span><span>{LETTERS}</span></pre><p>after</p>"
    masked = response_masking.mask_page(html)
    assert masked.count(MASK) == 2
    assert masked.replace(WRAPPED_MASK, "") == html.replace("ghp_", "").replace(LETTERS, "")


def test_token_beside_a_word_in_another_element_is_masked():
    html = f'<i>o4-mini</i><span class="path">{TOKEN}</span><b>openai</b>'
    assert response_masking.mask_page(html) == html.replace(TOKEN, WRAPPED_MASK)


def test_only_visible_attributes_are_masked():
    html = (
        f'<a title="{TOKEN}" href="https://maya:{URL_PASSWORD}@example.org/">x</a>'
        f'<a href="/thread/?id={TOKEN}">y</a><input value="{TOKEN}" aria-label="{TOKEN}">'
    )
    assert response_masking.mask_page(html) == (
        f'<a title="{MASK}" href="https://maya:{MASK}@example.org/">x</a>'
        f'<a href="/thread/?id={TOKEN}">y</a><input value="{TOKEN}" aria-label="{MASK}">'
    )


def test_secret_that_does_not_end_hides_no_row(viewer: Client, monkeypatch):
    def find_to_the_end(text: str) -> list[masking.Span]:
        start = text.find("BEGIN")
        return [masking.Span(start, len(text))] if start >= 0 else []

    monkeypatch.setattr(masking, "find_secrets", find_to_the_end)
    for number in range(3):
        task(f"t{number}", provider="BEGIN p", last_error=f"BEGIN MIIE{number}")

    page = viewer.get("/?provider=BEGIN+p").content.decode()
    assert page.count('<tr id="thread-') == 3
    assert "MIIE" not in page


TAGS = re.compile(r"<[^>]*>")
PIECES = st.one_of(
    st.sampled_from(["<b>", "</b>", "<p>", "</p>", '<i class="a">', "&amp;", "&#x27;", "\n", " "]),
    st.sampled_from([text_with(secret).replace("'", "&#x27;") for secret in SECRETS]),
    st.text("abc=: /&;", max_size=8).map(lambda text: text.replace("&", "&amp;")),
)


@given(st.lists(PIECES, max_size=12).map("".join))
def test_mask_page_preserves_tags_and_is_idempotent(html: str):
    masked = response_masking.mask_page(html)

    assert TAGS.findall(masked.replace(WRAPPED_MASK, MASK)) == TAGS.findall(html)
    assert response_masking.mask_page(masked) == masked


# Masking a streamed response


@given(
    st.lists(st.sampled_from([*map(text_with, SECRETS), "a", "ä\n", "word " * 40]), max_size=30),
    st.integers(1, 700),
)
def test_stream_is_masked_across_chunks(texts: list[str], size: int):
    content = "\n".join(texts).encode()
    pieces = [content[start : start + size] for start in range(0, len(content), size)]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(response_masking, "_HELD", 800)
        streamed = b"".join(response_masking.mask_stream(pieces))

    assert streamed == masking.mask(content.decode()).encode()


JSON_TEXTS = st.sampled_from(
    ["password=hunter22", "\\", '"', "ä\n", "\U0001f600", "word " * 40, "{}"]
)
JSON_VALUES = st.recursive(
    st.lists(JSON_TEXTS, max_size=9).map("".join) | st.integers() | st.booleans(),
    lambda inner: (
        st.lists(inner, max_size=9)
        | st.dictionaries(st.sampled_from(["password", "a"]), inner, max_size=4)
        | inner.map(json.dumps)
    ),
)


@given(st.lists(JSON_VALUES, min_size=9, max_size=30), st.booleans(), st.integers(1, 700))
def test_streamed_json_is_masked_and_valid(values: list[Any], ascii_only: bool, size: int):
    content = "\n".join(json.dumps(value, ensure_ascii=ascii_only) for value in values).encode()
    pieces = [content[start : start + size] for start in range(0, len(content), size)]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(response_masking, "_HELD", 100)
        patched.setattr(response_masking, "_NAME", 30)
        streamed = b"".join(response_masking.mask_stream(pieces, is_json=True))

    assert len(list(map(json.loads, streamed.decode().split("\n")))) == len(values)
    assert b"hunter22" not in streamed


def test_stream_buffers_only_what_it_needs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(response_masking, "_HELD", 1_000)
    consumed: list[int] = []

    def pieces() -> Iterator[bytes]:
        for number in range(100):
            consumed.append(number)
            yield b"word " * 100

    next(response_masking.mask_stream(pieces()))
    assert len(consumed) < 10


@pytest.mark.parametrize("content", [b"\xff\xfe\x00binary", b"", "ü".encode()[:1]])
def test_binary_content_is_unchanged(content: bytes):
    assert response_masking.mask_text(content) == content


# Views that lift the masking


def respond(view: Any) -> Any:
    return MaskingMiddleware(view)(HttpRequest())


def test_only_views_that_lift_the_masking_are_unmasked():
    def masked(request: HttpRequest) -> HttpResponse:
        return HttpResponse(TOKEN, content_type="application/anything")

    def lifted(request: HttpRequest) -> HttpResponse:
        request_masking.lift()
        return HttpResponse(TOKEN)

    def streamed(request: HttpRequest) -> Any:
        request_masking.lift()
        return StreamingHttpResponse(request_masking.truncate(TOKEN, 99) for _ in range(2))

    assert respond(masked).content.decode() == MASK
    assert respond(lifted).content.decode() == TOKEN
    assert b"".join(respond(streamed).streaming_content).decode() == TOKEN * 2
    assert respond(masked).content.decode() == MASK
    assert not request_masking.is_lifted()


def test_scripts_are_not_masked():
    def script(request: HttpRequest) -> HttpResponse:
        return HttpResponse("password='Letmein1'", content_type="text/javascript")

    assert respond(script).content == b"password='Letmein1'"


# Masking and truncating text


@given(st.text(max_size=60), st.integers(0, 80))
def test_truncated_text_is_short_and_masked(text: str, length: int):
    cut = request_masking.truncate(f"{text} {TOKEN} {text}", length)

    assert LETTERS[:3] not in cut.replace(text, "")
    assert len(cut) <= length + len(MASK)


@given(st.text("ab \n", max_size=200), st.integers(0, 200), st.integers(0, 50))
def test_context_is_the_surrounding_text(text: str, start: int, length: int):
    start, end = min(start, len(text)), min(start + length, len(text))
    context = request_masking.SearchedText(text).context(start, end, 10, 10)

    assert context == (text[max(0, start - 10) : start], text[start:end], text[end : end + 10])


@given(
    st.lists(st.sampled_from([*map(text_with, SECRETS), "word"]), min_size=1, max_size=4),
    st.integers(0, 2_000),
    st.integers(1, 9),
)
def test_context_masks_secrets(texts: list[str], start: int, length: int):
    text = "\n".join(texts)
    start %= len(text)
    end = min(start + length, len(text))
    is_secret = any(span.start < end and start < span.end for span in masking.find_secrets(text))
    context = request_masking.SearchedText(text).context(start, end, len(text), len(text))

    assert context is None if is_secret else "".join(context or ()) == masking.mask(text)


def test_context_omits_secrets_cut_at_its_edges():
    between = " and " * 16
    text = f"{TOKEN}{between}word{between}{TOKEN}"
    position = text.index("word")

    context = request_masking.SearchedText(text).context(position, position + 4, 85, 85)
    assert context == (f"{MASK}{between}", "word", f"{between}{MASK}")


def test_hit_inside_a_secret_that_begins_earlier_has_no_context(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(request_masking, "_WINDOW", 100)
    text = "word " * 30 + text_with(PASSWORD) + " word" * 30
    position = text.index(PASSWORD)

    assert request_masking.SearchedText(text).context(position + 2, position + 4, 10, 10) is None
    assert request_masking.SearchedText(text).context(0, 4, 0, 5) == ("", "word", " word")


# Revealing secrets to users who may see them


def test_reveal_unmasks_one_thread_for_one_user(store, admin_client: Client, viewer: Client):
    for name in ("t", "other"):
        record = task(name, execution_history_json=encode_history(history(TOKEN), "history"))
        items = encode_items([item(output=TOKEN)], "items")
        stored = checkpoint(record, items_json=items)
    revealed = [
        thread_url("thread", "other"),
        thread_url("thread-live", "other", show="checkpoints"),
        thread_url("message", "other", message=1),
        thread_url("raw", "other"),
        f"/thread/checkpoint/?checkpoint={stored.pk}",
        *(thread_url("export", "other", format=name) for name in FORMATS),
    ]
    others = ["/", thread_url("thread", "t"), "/admin/tasks/taskrecord/other/change/"]
    assert not any(TOKEN in page_text(admin_client.get(address)) for address in revealed)

    admin_client.post(thread_url("secrets", "other"), {"do": "show"})

    assert all(TOKEN in page_text(admin_client.get(address)) for address in revealed)
    assert not any(TOKEN in page_text(admin_client.get(address)) for address in others)
    assert not any(TOKEN in page_text(viewer.get(address)) for address in revealed)


def test_large_text_is_unmasked_while_revealed(store, admin_client: Client, monkeypatch):
    monkeypatch.setattr("django.conf.settings.MAX_HISTORY_SIZE", 100)
    task("t", execution_history_json=encode_history(history(f"{TOKEN} " * 9), "history"))
    address = thread_url("raw", "t")
    assert TOKEN not in page_text(admin_client.get(address))

    admin_client.post(thread_url("secrets", "t"), {"do": "show"})
    assert TOKEN in page_text(admin_client.get(address))


def test_search_does_not_match_the_middle_of_a_long_secret(store, viewer: Client):
    lines = "\n".join(f"{number:04}{LETTERS}" for number in range(900))
    store_message(
        f"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n{lines}\n-----END PGP PRIVATE KEY BLOCK-----"
    )

    assert viewer.get("/", {"q": "0850a1B2"}).context["rows"] == []
    assert (
        viewer.get("/thread/", {"id": "t", "find": "0850a1B2"}).context["page"].tab.search.hits
        == []
    )


def test_long_value_of_a_secret_key_is_masked(store, viewer: Client):
    record = task("t")
    items = encode_items([item(arguments={"password": "zx81" * 6_000, "text": "b" * 11_000})], "i")
    checkpoint(record, items_json=items)

    page = page_text(viewer.get(thread_url("thread", "t", show="checkpoints")))
    assert "zx81" not in page and "bbbb" in page


@pytest.mark.parametrize("note", ['{"password": "ab\\"yQ7Zk2Lm9Rt4Ws8Vb3"}', f"**{TOKEN}**"])
def test_text_is_masked_before_its_markup_is_rendered(store, viewer: Client, note: str):
    task("t", latest_checkpoint_note=note, final_response=note, last_error=note)

    page = page_text(viewer.get(thread_url("thread", "t")))
    assert "yQ7Zk2Lm9Rt4Ws8Vb3" not in page and LETTERS not in page
