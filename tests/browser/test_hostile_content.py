"""A store full of payloads in a real browser: nothing runs, and nobody else is asked."""

import json
import os
import re
import sqlite3
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest
from django.urls import Resolver404, get_resolver, resolve
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support import expected_conditions as expect
from selenium.webdriver.support.wait import WebDriverWait

from tasks.addresses import id_to_path, thread_url
from tasks.fields import to_text
from tests.browser.conftest import opened_browser
from tests.browser.pages import sign_in
from tests.support import html_audit, payload_store, payloads
from tests.support.processes import ROOT
from tests.support.server import Server

FOLDER = "ws'\"><img src=x onerror=pwned(1)>\u202e"  # even the workspace is called something
# Whatever runs, or is kept from running by the browser alone, becomes an error of the console.
SENTINEL = """
    const tell = (what) => console.error(`SENTINEL ${what} ${location.href}`);
    for (const name of ["pwned", "alert", "confirm", "prompt", "print", "open"]) {
      Object.defineProperty(window, name, { value: () => tell(name) });
    }
    addEventListener("securitypolicyviolation",
      (event) => tell(`${event.effectiveDirective} ${event.blockedURI}`), true);
    addEventListener("unhandledrejection", (event) => tell(`rejection ${event.reason}`));
"""
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
    for (const element of document.querySelectorAll("*")) {
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
FILL = """
import sys, django
django.setup()
from tests.support import payload_store
payload_store.fill(sys.argv[1])
"""
TOLD_APART = ("show", "format", "text")  # parameters whose values make other pages
# What the pages' own scripts set.
BY_SCRIPT = {"data-told", "data-theme", "data-hx-revealed"}
# Only for sending, or of Django's own without a word of an agent's.
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
IN_A_PATH = quote('"><img src=x onerror=pwned(1)>')
# What no page leads to.
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


def huge(number: int) -> str:
    return thread_url("thread", f"huge {number}", show=TABS[number % len(TABS)])


def known_id(other: "Other") -> str:
    """The id of a thread that runs, as `payload_store.task_row()` makes it."""
    return payloads.aimed(payloads.ALL[9], host=other.host)


class Other(ThreadingHTTPServer):
    """Another server, which keeps the paths that it was asked for, and has pages that do run."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.asked: list[str] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def page(self, path: str) -> str:
        """A page that has a payload as it is, or all of these pages in frames."""
        if path == "/teeth":
            frames = (f"<iframe src=/teeth/{n}></iframe>" for n in range(len(payloads.MARKUP)))
            return "".join(frames)
        number = int(path.removeprefix("/teeth/"))
        return "<p>x" + payloads.aimed(payloads.MARKUP[number], host=f"{self.host}/{number}")


class Answers(BaseHTTPRequestHandler):
    server: Other

    def do_GET(self) -> None:
        body = b""
        if re.fullmatch(r"/teeth(/\d+)?", self.path):
            body = self.server.page(self.path).encode()
        elif not self.path.startswith("/teeth"):  # a frame asks for its own x
            self.server.asked.append(self.path)
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *args: Any) -> None:
        """Nothing: what was asked is kept."""


@pytest.fixture(scope="module")
def other() -> Iterator[Other]:
    with Other() as other:
        yield other
        other.shutdown()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, other: Other) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with Server.on_free_port(folder) as server:
        server.workspace = folder / FOLDER
        server.store_file = server.workspace / "state" / "tasks.db"
        server.store_file.parent.mkdir(parents=True)
        state = {"written_at": payloads.POLYGLOTS[1], "<script>": payloads.ALL}
        (folder / "daemon_state.json").write_text(json.dumps(state))
        server.start()
        yield server


@pytest.fixture(scope="module")
def browser(
    server: Server, other: Other, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[webdriver.Chrome]:
    """Signed in, and watched; the store is filled by then."""
    folder = tmp_path_factory.mktemp("browser")
    with opened_browser(folder, with_requests=True) as browser:
        browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": SENTINEL})
        browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "deny"})
        sign_in(browser, server.link())
        fill(server, other)
        yield browser


def fill(server: Server, other: Other) -> None:
    own = {
        "DJANGO_SETTINGS_MODULE": "gloamy_site.settings",
        "SITE_DATABASE_URL": f"sqlite:///{server.folder}/site.sqlite3",
        "GLOAMY_WORKSPACE": str(server.workspace),
        "SECRET_KEY": "of the tests",
    }
    subprocess.run(
        [sys.executable, "-c", FILL, other.host],
        cwd=ROOT,
        env=os.environ | own,
        check=True,
    )


class Visitor:
    """Opens pages, does there what a person may do, and keeps what was wrong."""

    def __init__(self, browser: webdriver.Chrome, server: Server) -> None:
        self.browser = browser
        self.origin = f"http://127.0.0.1:{server.port}"
        self.wrong: list[str] = []
        self.opened: set[str] = set()

    def open(self, address: str) -> list[str]:
        """The addresses that the page leads to."""
        self.browser.get(self.origin + address)
        self.opened.add(address)
        return self.look()

    def look(self) -> list[str]:
        """The same of the page that is open."""
        if self.browser.execute_script("return document.contentType") != "text/html":
            return []
        is_admin = urlsplit(self.browser.current_url).path.startswith("/admin/")
        self.browser.execute_script(EXERCISE)
        if self.browser.find_elements(By.CSS_SELECTOR, "[hx-trigger*=revealed]"):
            time.sleep(0.3)
        tags = (
            html_audit.OURS | html_audit.OF_MARKDOWN | (html_audit.OF_ADMIN if is_admin else set())
        )
        attributes = html_audit.ATTRIBUTES | BY_SCRIPT
        attributes |= html_audit.OF_ADMIN_ATTRIBUTES | {"style"} if is_admin else set()
        found, links = self.browser.execute_script(AUDIT, sorted(tags), sorted(attributes))
        self.wrong += [f"{self.browser.current_url[:120]}: {problem}" for problem in found]
        return [link.removeprefix(self.origin) for link in links]

    def crawl(self, *addresses: str) -> None:
        """Open these, and of what pages lead to whatever differs from all before."""
        waiting = deque(addresses)
        seen = {trait for address in addresses for trait in traits_of(address)}
        while waiting:
            for link in self.open(waiting.popleft()):
                if not (traits := traits_of(link)) <= seen:
                    seen |= traits
                    waiting.append(link)

    def check(self, other: Other) -> None:
        """Fail with all that was wrong."""
        refused = re.compile(r"^\S+ - Failed to load resource: the server responded with a status")
        logged = self.browser.get_log("browser")
        said = [entry["message"] for entry in logged if entry["level"] == "SEVERE"]
        said = [message for message in said if not refused.match(message)]
        asked = [url for url in requests_of(self.browser) if not url.startswith(self.origin + "/")]
        assert (self.wrong, said, asked, other.asked) == ([], [], [], [])


def requests_of(browser: webdriver.Chrome) -> list[str]:
    """Every address that the browser asked for since it was last asked."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [event for event in events if event["method"] == "Network.requestWillBeSent"]
    urls = [event["params"]["request"]["url"] for event in sent]
    return [url for url in urls if not url.startswith("data:")]  # the browser's own icons


def traits_of(address: str) -> set[tuple[str, ...]]:
    """What tells an address apart from others: its page, and each of its parameters."""
    parts = urlsplit(address)
    path = re.sub(r"\d+|id-[\w=-]+", "N", parts.path)
    query = parse_qs(parts.query, keep_blank_values=True)
    if path.startswith("/admin/"):
        return {(path,)}
    values = {(path, name, value) for name in TOLD_APART for value in query.get(name, ())}
    return {(path,)} | {(path, name) for name in query} | values


def name_of(address: str) -> str | None:
    try:
        return resolve(unquote(urlsplit(address).path)).url_name
    except Resolver404:
        return None


def names(patterns: list[Any]) -> Iterator[str]:
    """The names of all addresses, the admin's too."""
    for pattern in patterns:
        if hasattr(pattern, "url_patterns"):
            yield from names(pattern.url_patterns)
        elif pattern.name:
            yield pattern.name


@pytest.fixture
def visitor(browser: webdriver.Chrome, server: Server, other: Other) -> Visitor:
    browser.get_log("browser")
    requests_of(browser)
    other.asked.clear()
    return Visitor(browser, server)


def test_payloads_run_where_nothing_stops_them(browser: webdriver.Chrome, other: Other):
    browser.get_log("browser")
    other.asked.clear()
    browser.get(f"http://{other.host}/teeth")
    for frame in browser.find_elements(By.TAG_NAME, "iframe"):
        browser.switch_to.frame(frame)
        browser.execute_script(EXERCISE)
        browser.switch_to.default_content()

    ran: set[int] = set()
    deadline = time.monotonic() + 20
    while len(ran) < len(payloads.MARKUP) and time.monotonic() < deadline:
        time.sleep(0.1)
        logged = " ".join(entry["message"] for entry in browser.get_log("browser"))
        asked = " ".join(other.asked)
        told = re.findall(r"SENTINEL pwned \S+/teeth/(\d+)", logged)
        ran |= set(map(int, told + re.findall(r"(?<!\S)/(\d+)/", asked)))

    assert [text for number, text in enumerate(payloads.MARKUP) if number not in ran] == []


def test_nothing_runs_and_nobody_else_is_asked(visitor: Visitor, other: Other):
    visitor.crawl("/", "/cleared/", "/admin/", *ODD_PAGES, *map(huge, range(len(payloads.HUGE))))
    visitor.check(other)

    names_opened = {name_of(address) for address in visitor.opened}
    assert set(names(get_resolver().url_patterns)) - names_opened - NOT_OPENED == set()


def test_nothing_runs_on_the_pages_of_threads_that_would(visitor: Visitor, other: Other):
    for number, text in enumerate(payloads.MARKUP):
        thread_id = payload_store.thread_id_of(payloads.aimed(text, host=other.host), number)
        visitor.open(thread_url("thread", thread_id, show=TABS[number % len(TABS)]))
    visitor.check(other)


def test_nothing_runs_in_the_lists(visitor: Visitor, other: Other, browser: webdriver.Chrome):
    for address in ("/?sort=steps", "/cleared/", "/secrets/", "/admin/tasks/taskrecord/?o=1"):
        following: str | None = address
        while following:
            visitor.open(following)
            found = browser.find_elements(By.CSS_SELECTOR, "a[rel=next], .this-page ~ a")
            addresses = [str(link.get_attribute("href")) for link in found]
            following = next((a.removeprefix(visitor.origin) for a in addresses), None)
    visitor.check(other)


@pytest.mark.parametrize("path", PARAMETERS)
def test_no_parameter_becomes_a_part_of_a_page(visitor: Visitor, other: Other, path: str):
    for number, name in enumerate(PARAMETERS[path]):
        evil = quote(payloads.aimed(payloads.POLYGLOTS[number % 5], host=other.host), safe="")
        known = "" if name == "id" or path == "/" else f"id={quote(known_id(other), safe='')}&"
        visitor.open(f"{path}?{known}{name}={evil}")
    visitor.check(other)


def test_what_comes_by_itself_is_harmless(
    visitor: Visitor, other: Other, server: Server, browser: webdriver.Chrome
):
    wait = WebDriverWait(browser, 20)
    for address in ("/", f"/thread/?id={quote(known_id(other), safe='')}"):
        visitor.open(address)
        with closing(sqlite3.connect(server.store_file)) as connection, connection:
            note = f"FRESH{len(address)} " + payloads.aimed("\n".join(payloads.MARKUP))
            columns = (note, note, to_text(datetime.now(UTC)), known_id(other))
            connection.execute(UPDATE, columns)
        fresh = expect.text_to_be_present_in_element((By.ID, "main"), note.split()[0])
        wait.until(fresh)
        visitor.look()
    visitor.check(other)


def test_forms_give_back_what_was_sent_as_a_text(
    visitor: Visitor, other: Other, browser: webdriver.Chrome
):
    evil = payloads.aimed(payloads.POLYGLOTS[1], host=other.host)
    wait = WebDriverWait(browser, 20)

    def shown(selector: str) -> str:
        wait.until(lambda _: browser.find_elements(By.CSS_SELECTOR, selector))
        visitor.look()
        return browser.find_element(By.CSS_SELECTOR, selector).text

    visitor.open(f"/thread/clear/?id={quote(known_id(other), safe='')}")
    browser.find_element(By.ID, "reason").send_keys(evil)
    browser.find_element(By.CSS_SELECTOR, "button.main").click()
    assert shown("[role=alert]") != ""
    browser.find_element(By.NAME, "with_running").click()
    browser.find_element(By.CSS_SELECTOR, "button.main").click()
    assert shown(".notice.success").startswith("Cleared")
    visitor.open("/cleared/")
    browser.find_element(By.CSS_SELECTOR, ".cleared .title").click()
    assert evil in shown(".record")

    browser.find_element(By.ID, "menu").click()
    browser.find_element(By.CSS_SELECTOR, "#menu form button").click()
    wait.until(lambda _: browser.find_elements(By.NAME, "password"))
    visitor.open(f"/sign-in/?next={quote(evil)}")
    browser.find_element(By.NAME, "username").send_keys(evil)
    browser.find_element(By.NAME, "password").send_keys(evil, Keys.ENTER)
    assert shown("[role=alert]") != ""
    visitor.check(other)
