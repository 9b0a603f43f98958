"""Tests in a real browser that payloads in the store never run or send requests elsewhere."""

import json
import re
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest
from django.urls import Resolver404, get_resolver, resolve
from selenium import webdriver
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support import expected_conditions as expect

from tasks.addresses import id_to_path, thread_url
from tasks.fields import to_text
from tests.browser.pages import every, follow, one, strange_requests, wait
from tests.browser.site import Site, Snapshot
from tests.support import html_audit, payload_store, payloads

EXERCISE = """
    const all = [...document.querySelectorAll("body *")];
    for (const element of all) if (element.matches("details")) element.open = true;
    const end = performance.now() + 1500; // a page of a million characters takes long to lay out
    for (const element of all) {
      if (performance.now() > end) break;
      for (const name of ["pointerover", "pointerenter", "mouseover", "mouseenter", "mousemove"]) {
        element.dispatchEvent(new MouseEvent(name, { bubbles: true }));
      }
      if (element.tabIndex >= 0) element.focus({ preventScroll: true });
    }
    all.filter((e) => e.matches("button.copy")).slice(0, 5).forEach((e) => e.click());
    for (const key of ["j", "k", "n", "?", "Escape"]) {
      document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    }
    document.querySelector("dialog[open]")?.close();
    scrollTo(0, document.documentElement.scrollHeight);
"""
AUDIT = """
    const [tags, attributes] = [...arguments].map((names) => new Set(names));
    const found = [];
    const links = new Set();
    const say = (...what) => found.push(what.join(" ").slice(0, 300));
    const addresses = ["href", "src", "action", "formaction", "hx-get", "hx-post"];
    const ids = new Set();
    for (const element of document.querySelectorAll("*")) {
      if (element.id && ids.has(element.id)) say("repeated id", element.outerHTML);
      ids.add(element.id);
      if (!tags.has(element.localName)) say("element", element.outerHTML);
      for (const { name, value } of element.attributes) {
        if (!attributes.has(name.toLowerCase())) say("attribute", name, element.outerHTML);
        if (!addresses.includes(name) || value.startsWith("#")) continue;
        const address = new URL(value, location.href);
        if (address.origin === location.origin) {
          if (["A", "a"].includes(element.tagName)) links.add(address.href);
        } else if (!(element.localName === "a" && element.rel === "noopener noreferrer" &&
                     ["http:", "https:", "mailto:"].includes(address.protocol))) {
          say("address", element.outerHTML);
        }
      }
    }
    for (const script of document.scripts) if (script.text.trim()) say("script", script.text);
    if (window.gloamy && !(window.gloamy.keys instanceof Map)) say("clobbered", window.gloamy);
    return [found, [...links]];
"""
# True once every lazily loaded part of the page that is in view has arrived.
IS_LOADED = """
    const isInView = (element) => {
      const box = element.getBoundingClientRect();
      return box.height > 0 && box.top < innerHeight && box.bottom > 0;
    };
    return !document.querySelector(".htmx-request") &&
      ![...document.querySelectorAll("[hx-trigger*=revealed]")].some(isInView);
"""
WITH_OWN_PAGES = ("show", "format", "text")  # each value of these parameters opens a different page
# Attributes that the site's scripts set.
BY_SCRIPT = {"data-status", "data-theme", "data-hx-revealed"}
# Names of URLs that only accept form submissions, and of Django pages without text from agents.
NOT_OPENED = {
    *("clear-selected", "clearing-confirm", "clearing-go-on", "clearing-cancel"),
    *("clearing-restore", "sign-out", "logout", "jsi18n", "autocomplete", "view_on_site"),
    *("password_change_done", "login", "favicon"),
}


PARAMETERS = {
    "/": (
        *("q", "where", "status", "channel", "provider", "model", "period", "start", "end"),
        *("resume", "sort", "after", "before", "task", "seen"),
    ),
    "/thread/": ("id", "task", "list", "find", "hit", "message", "step", "turn", "show", "piece"),
    "/thread/raw/": ("id", "text", "message", "task"),
    "/thread/export/": ("id", "format"),
    "/thread/clear/": ("id", "list"),
    "/thread/step/": ("checkpoint", "list"),
    "/cleared/": ("before", "fate", "after"),
    "/secrets/": ("before",),
    "/sign-in/link/": ("token", "next"),
    "/admin/tasks/taskrecord/": (
        *("q", "status", "active", "channel", "provider", "model", "o", "p", "e", "after"),
        *("containing", "thread_id"),
    ),
}
SHOWN_AGAIN = {"id", "q", "find", "list", "token", "containing"}  # parameters also tested alone
IN_A_PATH = quote('"><img src=x onerror=pwned(1)>')
# Pages that no other page links to.
ODD_PAGES = (
    "/thread/live/?id=huge%203",
    "/thread/",  # 400
    "/clear/",  # 405
    "/thread/secrets/",  # 405
    "/cleared/999999/",
    f"/{IN_A_PATH}",
    "/?" + "a&" * 1_001,  # 413
    "/?" + "x" * 61_000,  # 414
    "/sign-in/",
    "/sign-in/link/",
    "/admin/login/",
    f"/admin/{IN_A_PATH}/",
    f"/admin/tasks/taskrecord/{IN_A_PATH}/change/",
    "/admin/password_change/",
    *(
        f"/admin/tasks/{table}/{page}/"
        for table, key in (("taskrecord", id_to_path("huge 3")), ("taskcheckpoint", "1"))
        for page in ("add", f"{key}/delete", f"{key}/history", f"{key}/change")
    ),
)
TABS = ("transcript", "checkpoints", "resume", "raw")
UPDATE = """
    UPDATE task_records SET last_error = ?, latest_checkpoint_note = ?, updated_at = ?
    WHERE thread_id = ?"""


def known_id(other: "Other") -> str:
    """Return the id of a running thread that was created by `payload_store.task_row()`."""
    return payloads.aimed(payloads.ALL[9], host=other.host)


class Other(ThreadingHTTPServer):
    """A second server. It records the requests it receives, and serves pages whose payloads run."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[str] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def page(self, path: str) -> str:
        """Return a page with one unescaped payload; `/teeth` shows all these pages in frames."""
        if path == "/teeth":
            frames = (f"<iframe src=/teeth/{n}></iframe>" for n in range(len(payloads.MARKUP)))
            return "".join(frames)
        number = int(path.removeprefix("/teeth/"))
        return "<p>x" + payloads.aimed(payloads.MARKUP[number], host=f"{self.host}/{number}")


class Handler(BaseHTTPRequestHandler):
    server: Other

    def do_GET(self) -> None:
        body = b""
        if re.fullmatch(r"/teeth(/\d+)?", self.path):
            body = self.server.page(self.path).encode()
        elif not self.path.startswith("/teeth"):  # ignore /teeth/x, which framed payloads request
            self.server.requests.append(self.path)
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *args: Any) -> None:
        """Do not log requests to the console."""


@pytest.fixture(scope="module")
def other() -> Iterator[Other]:
    with Other() as other:
        yield other
        other.shutdown()


@pytest.fixture(scope="module")
def payload_snapshot(running_site: Site, other: Other) -> Snapshot:
    """A snapshot of both databases, filled with payloads."""
    running_site.restore(running_site.new)
    with running_site.databases():
        payload_store.fill(other.host)
    return running_site.snapshot()


@pytest.fixture
def site(running_site: Site, payload_snapshot: Snapshot, other: Other) -> Site:
    running_site.restore(payload_snapshot)
    heartbeat = {"written_at": payloads.POLYGLOTS[1], "<script>": payloads.ALL}
    running_site.heartbeat.write_text(json.dumps(heartbeat))
    other.requests.clear()
    return running_site


class Visitor:
    """Opens pages, uses them the way a person would, and collects the problems found."""

    def __init__(self, browser: webdriver.Chrome, site: Site, other: Other) -> None:
        self.browser, self.site, self.other = browser, site, other
        self.problems: list[str] = []
        self.visited: set[str] = set()

    def open(self, address: str) -> list[str]:
        """Open a page, and return the addresses that it links to."""
        self.browser.get(self.site.origin + address)
        self.visited.add(address)
        return self.look()

    def look(self) -> list[str]:
        """Exercise and audit the open page, and return the addresses that it links to."""
        if self.browser.execute_script("return document.contentType") != "text/html":
            return []
        is_admin = urlsplit(self.browser.current_url).path.startswith("/admin/")
        self.browser.execute_script(EXERCISE)
        wait(self.browser).until(lambda b: b.execute_script(IS_LOADED))
        tags = html_audit.SITE_TAGS | html_audit.MARKDOWN_TAGS
        attributes = html_audit.ATTRIBUTES | BY_SCRIPT
        if is_admin:
            tags = tags | html_audit.ADMIN_TAGS
            attributes = attributes | html_audit.ADMIN_ATTRIBUTES | {"style"}
        problems, links = self.browser.execute_script(AUDIT, sorted(tags), sorted(attributes))
        self.problems += [f"{self.browser.current_url[:120]}: {problem}" for problem in problems]
        return [link.removeprefix(self.site.origin) for link in links]

    def read_on(self, address: str, next_page: str) -> None:
        """Open a page, then follow links that match `next_page` until there are no more."""
        url: str | None = address
        while url:
            self.open(url)
            links = [str(link.get_attribute("href")) for link in every(self.browser, next_page)]
            url = next((link.removeprefix(self.site.origin) for link in links), None)

    def crawl(self, *addresses: str) -> None:
        """Open these addresses, then each linked page with a trait that has not been seen yet."""
        queue = deque(addresses)
        visited_traits = {trait for address in addresses for trait in page_traits(address)}
        while queue:
            for link in self.open(queue.popleft()):
                if not (traits := page_traits(link)) <= visited_traits:
                    visited_traits |= traits
                    queue.append(link)

    def check(self) -> None:
        """Fail if there are any problems, and list them all."""
        refused = re.compile(r"^\S+ - Failed to load resource: the server responded with a status")
        entries = self.browser.get_log("browser")
        errors = [entry["message"] for entry in entries if entry["level"] == "SEVERE"]
        errors = [message for message in errors if not refused.match(message)]
        foreign_requests = strange_requests(self.browser, self.site)
        assert (self.problems, errors, foreign_requests, self.other.requests) == ([], [], [], [])


def page_traits(address: str) -> set[tuple[str, ...]]:
    """Return the traits that distinguish a page: its path and each of its query parameters."""
    parts = urlsplit(address)
    path = re.sub(r"(?<=taskrecord/)[^/]+(?=/)|\d+", "N", parts.path)
    query = parse_qs(parts.query, keep_blank_values=True)
    if path.startswith("/admin/"):
        return {(path,)}
    values = {(path, name, value) for name in WITH_OWN_PAGES for value in query.get(name, ())}
    return {(path,)} | {(path, name) for name in query} | values


def url_name(address: str) -> str | None:
    try:
        return resolve(unquote(urlsplit(address).path)).url_name
    except Resolver404:
        return None


def url_names(patterns: list[Any]) -> Iterator[str]:
    """Yield the names of all URL patterns, including those of the admin."""
    for pattern in patterns:
        if hasattr(pattern, "url_patterns"):
            yield from url_names(pattern.url_patterns)
        elif pattern.name:
            yield pattern.name


@pytest.fixture
def visitor(browser: webdriver.Chrome, site: Site, other: Other) -> Visitor:
    return Visitor(browser, site, other)


def test_payloads_run_on_an_unprotected_page(bare_browser: webdriver.Chrome, other: Other):
    other.requests.clear()
    bare_browser.get(f"http://{other.host}/teeth")
    for frame in bare_browser.find_elements(By.TAG_NAME, "iframe"):
        bare_browser.switch_to.frame(frame)
        bare_browser.execute_script(EXERCISE)
        bare_browser.switch_to.default_content()
    pending = set(range(len(payloads.MARKUP)))

    def have_all_run(browser: webdriver.Chrome) -> bool:
        errors = " ".join(entry["message"] for entry in browser.get_log("browser"))
        requests = " ".join(other.requests)
        logged = re.findall(r"SENTINEL pwned \S+/teeth/(\d+)", errors)
        pending.difference_update(map(int, logged + re.findall(r"(?<!\S)/(\d+)/", requests)))
        return not pending

    with suppress(TimeoutException):
        wait(bare_browser).until(have_all_run)
    assert [payloads.MARKUP[number] for number in pending] == []


def test_no_page_runs_payloads_or_contacts_other_hosts(visitor: Visitor):
    visitor.crawl("/", "/cleared/", "/admin/")
    for address in ODD_PAGES:
        visitor.open(address)
    visitor.check()

    visited_names = {url_name(address) for address in visitor.visited}
    assert set(url_names(get_resolver().url_patterns)) - visited_names - NOT_OPENED == set()


def test_large_texts_run_no_payloads(visitor: Visitor):
    # Skip the first text: Chromium renders its one long word slowly. tests/security covers it.
    for number in range(1, len(payloads.HUGE)):
        tab = TABS[number % len(TABS)]
        visitor.open(thread_url("thread", f"huge {number}", show=tab))
    visitor.check()


def test_thread_with_all_payloads_runs_none(visitor: Visitor):
    for tab in TABS:
        visitor.read_on(thread_url("thread", "together", show=tab), ".later a")
    visitor.open(f"/admin/tasks/taskrecord/{id_to_path('together')}/change/")
    visitor.check()


def test_lists_run_no_payloads(visitor: Visitor):
    for address in ("/?sort=steps", "/cleared/", "/secrets/", "/admin/tasks/taskrecord/?o=1"):
        visitor.read_on(address, "a[rel=next], .this-page ~ a")
    visitor.check()


def test_query_parameters_run_no_payloads(visitor: Visitor, other: Other):
    evil = [payloads.aimed(text, host=other.host) for text in payloads.POLYGLOTS]
    for path, parameters in PARAMETERS.items():
        id_parameter = "" if path == "/" else f"id={quote(known_id(other), safe='')}&"
        values = {name: quote(evil[number % 5]) for number, name in enumerate(parameters)}
        query = "&".join(f"{name}={value}" for name, value in values.items() if name != "id")
        visitor.open(f"{path}?{id_parameter}{query}")
        for name in values.keys() & SHOWN_AGAIN:
            visitor.open(f"{path}?{id_parameter if name != 'id' else ''}{name}={values[name]}")
    visitor.check()


def test_live_updates_run_no_payloads(visitor: Visitor, other: Other):
    for address in ("/", f"/thread/?id={quote(known_id(other), safe='')}"):
        visitor.open(address)
        marker = f"FRESH{len(address)}"
        note = f"{marker} " + payloads.aimed("\n".join(payloads.MARKUP))
        row = (note, note, to_text(datetime.now(UTC)), known_id(other))
        visitor.site.execute(UPDATE, [row])
        wait(visitor.browser).until(expect.text_to_be_present_in_element((By.ID, "main"), marker))
        visitor.look()
    visitor.check()


def test_forms_display_submitted_payloads_as_text(visitor: Visitor, other: Other):
    browser = visitor.browser
    evil = payloads.aimed(payloads.POLYGLOTS[1], host=other.host)

    def text(selector: str) -> str:
        wait(browser).until(lambda b: one(b, selector))
        visitor.look()
        return one(browser, selector).text

    visitor.open(f"/thread/clear/?id={quote(known_id(other), safe='')}")
    one(browser, "#reason").send_keys(evil)
    follow(browser, one(browser, "button.main"))
    assert text("[role=alert]") != ""
    browser.find_element(By.NAME, "with_running").click()
    follow(browser, one(browser, "button.main"))
    assert text(".notice.success").startswith("Cleared")
    visitor.open("/cleared/")
    follow(browser, one(browser, ".cleared .title"))
    assert evil in text(".record")

    one(browser, "#menu").click()
    follow(browser, one(browser, "#menu form button"))
    visitor.open(f"/sign-in/?next={quote(evil)}")
    browser.find_element(By.NAME, "username").send_keys(evil)
    browser.find_element(By.NAME, "password").send_keys(evil, Keys.ENTER)
    assert text("[role=alert]") != ""
    visitor.check()
