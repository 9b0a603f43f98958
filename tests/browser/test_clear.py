"""Clearing in a real browser: one thread and thousands, what changes meanwhile, the way back."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import pytest
from selenium import webdriver
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from tasks.fields import to_text
from tests.browser.conftest import opened_browser
from tests.browser.pages import (
    accessibility_problems,
    allow_script,
    is_scrolled_sideways,
    look,
    sign_in,
)
from tests.support.processes import ROOT
from tests.support.server import Server

LOOKS = [(1400, False), (1400, True), (390, False), (390, True)]
INSERT = """
    INSERT INTO task_records VALUES (
        :id, :id, 'cli', 'openai', 'gpt-test', :status,
        '[{"role":"user","content":"Water plant ' || :id || '"}]', '[]', NULL, 0, NULL, NULL,
        '2026-01-01T00:00:00+00:00', :updated, NULL)"""
# Signs an account of the group Viewers in, and prints the key of its session.
VIEWER = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "gloamy_site.settings"
import django
django.setup()
from django.contrib.auth import SESSION_KEY, BACKEND_SESSION_KEY, HASH_SESSION_KEY
from django.contrib.auth.models import Group, User
from django.contrib.sessions.backends.db import SessionStore
user = User.objects.create_user("viewer")
user.groups.add(Group.objects.get(name="Viewers"))
session = SessionStore()
session[SESSION_KEY] = str(user.pk)
session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
session[HASH_SESSION_KEY] = user.get_session_auth_hash()
session.create()
print(session.session_key)
"""


def fill(server: Server, count: int, status: str = "failed") -> None:
    """Threads 0 to `count`, of which the last is the newest."""
    with closing(sqlite3.connect(server.store_file)) as connection, connection:
        connection.execute("DELETE FROM task_checkpoints")
        connection.execute("DELETE FROM task_records")
    add(server, *range(count), status=status)


def add(server: Server, *numbers: int, status: str = "failed") -> None:
    with closing(sqlite3.connect(server.store_file)) as connection, connection:
        moment = f"2026-02-{(status == 'running' and 2) or 1:02}T00:00"
        rows = [
            {
                "id": f"thread_{number}",
                "status": status,
                "updated": f"{moment}:{number // 1000:02}.{number % 1000:03}+00:00".replace(
                    ".000", ""
                ),
            }
            for number in numbers
        ]
        connection.executemany(INSERT, rows)


def change(server: Server, statement: str) -> None:
    with closing(sqlite3.connect(server.store_file)) as connection, connection:
        connection.execute(statement)


def count(server: Server) -> int:
    with closing(sqlite3.connect(server.store_file)) as connection:
        found: int = connection.execute("SELECT count(*) FROM task_records").fetchone()[0]
        return found


def site(server: Server, question: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(server.folder / "site.sqlite3")) as connection:
        return connection.execute(question).fetchall()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server.on_free_port(tmp_path_factory.mktemp("server")) as server:
        server.start()
        yield server


@pytest.fixture(scope="module")
def signed_in(
    server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[webdriver.Chrome]:
    with opened_browser(tmp_path_factory.mktemp("browser")) as browser:
        sign_in(browser, server.link())
        yield browser


@pytest.fixture
def browser(signed_in: webdriver.Chrome, server: Server) -> Iterator[webdriver.Chrome]:
    look(signed_in)
    allow_script(signed_in, True)
    yield signed_in
    (server.workspace.parent / "daemon_state.json").unlink(missing_ok=True)
    assert [entry for entry in signed_in.get_log("browser") if entry["source"] == "security"] == []


def wait(browser: webdriver.Chrome) -> WebDriverWait[webdriver.Chrome]:
    gone = [NoSuchElementException, StaleElementReferenceException]  # with the page before
    return WebDriverWait(browser, 60, poll_frequency=0.05, ignored_exceptions=gone)


def open_page(browser: webdriver.Chrome, server: Server, path: str) -> None:
    browser.get(f"http://127.0.0.1:{server.port}{path}")


def at(browser: webdriver.Chrome, selector: str) -> WebElement:
    """The element, once the page that has it is there."""
    return wait(browser).until(lambda b: b.find_element(By.CSS_SELECTOR, selector))


def press(browser: webdriver.Chrome, selector: str) -> None:
    """Press a button that leads to another page."""
    button = browser.find_element(By.CSS_SELECTOR, selector)
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
    before = browser.find_element(By.TAG_NAME, "html")
    button.click()
    wait(browser).until(lambda b: b.find_element(By.TAG_NAME, "html") != before)
    wait(browser).until(lambda b: b.execute_script("return document.readyState") == "complete")


def heading(browser: webdriver.Chrome) -> str:
    found: str = browser.execute_script("return document.querySelector('h1')?.innerText ?? ''")
    return found


def text(browser: webdriver.Chrome, selector: str = "main") -> str:
    return browser.find_element(By.CSS_SELECTOR, selector).text


CONFIRM = ".clear .danger.main"


def test_selected_threads_are_cleared_and_restored(browser: webdriver.Chrome, server: Server):
    fill(server, 4)
    open_page(browser, server, "/")
    for box in browser.find_elements(By.CSS_SELECTOR, "input[name=thread]")[:2]:
        box.click()
    assert text(browser, "#clear-selected") == "Clear selected (2)…"

    press(browser, "#clear-selected")
    assert heading(browser) == "Clear 2 threads?"
    browser.find_element(By.ID, "reason").send_keys("they are over")
    press(browser, CONFIRM)
    wait(browser).until(lambda b: heading(b) == "Cleared 2 threads")
    assert count(server) == 2
    assert "they are over" in text(browser)

    press(browser, ".way-back button")
    assert count(server) == 3
    press(browser, ".bar button")
    assert count(server) == 4
    assert "restored" in text(browser, ".list")


def test_selection_of_a_page_ends_with_the_page(browser: webdriver.Chrome, server: Server):
    fill(server, 60)
    open_page(browser, server, "/")
    browser.find_element(By.ID, "select-page").click()
    assert text(browser, "#clear-selected") == "Clear selected (50)…"

    press(browser, "a[rel=next]")
    assert not browser.find_element(By.ID, "clear-selected").is_enabled()
    browser.back()
    wait(browser).until(lambda b: len(b.find_elements(By.NAME, "thread")) == 50)
    assert not browser.find_element(By.ID, "clear-selected").is_enabled()


def test_all_that_match_are_cleared_with_progress_and_can_be_cancelled(
    browser: webdriver.Chrome, server: Server
):
    fill(server, 5_000)
    add(server, 5_001, status="completed")
    open_page(browser, server, "/?status=failed")
    press(browser, "button[name=all]")
    assert heading(browser) == "Clear 5,000 threads?"

    press(browser, CONFIRM)
    assert "Type 5,000" in text(browser, ".error")
    assert count(server) == 5_001
    browser.find_element(By.ID, "typed").send_keys("5000")
    press(browser, CONFIRM)

    wait(browser).until(lambda b: b.execute_script("return document.getElementById('bar').value"))
    assert heading(browser) == "Clearing 5,000 threads"
    press(browser, "#cancel")
    wait(browser).until(lambda b: site(server, BUSY) == [])
    browser.refresh()
    cleared = int(heading(browser).split()[1].replace(",", ""))
    assert 0 < cleared < 5_000
    assert count(server) == 5_001 - cleared
    assert "cancelled" in text(browser)


BUSY = "SELECT id FROM archive_clearing WHERE busy_until IS NOT NULL"


def test_all_that_match_are_cleared_to_the_end(browser: webdriver.Chrome, server: Server):
    fill(server, 1_200)
    add(server, 5_001, status="completed")
    open_page(browser, server, "/?status=failed")
    press(browser, "button[name=all]")
    browser.find_element(By.ID, "typed").send_keys("1,200")
    press(browser, CONFIRM)

    wait(browser).until(lambda b: heading(b) == "Cleared 1,200 threads")

    assert count(server) == 1
    assert "1,200 in the archive" in text(browser, ".record")


def test_confirmation_that_is_stale_asks_again(browser: webdriver.Chrome, server: Server):
    fill(server, 3)
    open_page(browser, server, "/thread/clear/?id=thread_0")
    change(server, "UPDATE task_records SET updated_at = '2026-03-01T00:00:00+00:00'")

    press(browser, CONFIRM)
    assert "This thread changed since you opened this page." in text(browser, ".notice")
    assert "is: failed, 0 checkpoints, last active 2026-03-01" in text(browser, ".changes")
    assert count(server) == 3

    press(browser, CONFIRM)
    assert count(server) == 2


def test_stale_confirmation_of_many_says_which(browser: webdriver.Chrome, server: Server):
    fill(server, 3)
    open_page(browser, server, "/?status=failed")
    press(browser, "button[name=all]")
    change(server, "DELETE FROM task_records WHERE task_id = 'thread_1'")

    press(browser, CONFIRM)
    assert text(browser, ".changes").startswith("thread_1\n")
    assert "is: not there any more" in text(browser, ".changes")
    assert (heading(browser), count(server)) == ("Clear 2 threads?", 2)

    press(browser, CONFIRM)
    wait(browser).until(lambda b: heading(b) == "Cleared 2 threads")


def test_running_thread_needs_a_tick_and_the_daemon_is_named(
    browser: webdriver.Chrome, server: Server
):
    fill(server, 1, status="running")
    beat = server.workspace.parent / "daemon_state.json"
    beat.write_text(json.dumps({"written_at": to_text(datetime.now(UTC))}))
    open_page(browser, server, "/thread/clear/?id=thread_0")
    assert "a running task writes its row anew" in text(browser)
    assert "/new" in text(browser, ".notice")

    press(browser, CONFIRM)
    assert "Tick the box" in text(browser, ".error")
    assert count(server) == 1
    browser.find_element(By.NAME, "with_running").click()
    press(browser, CONFIRM)
    assert count(server) == 0


def test_thread_that_came_back_is_marked(browser: webdriver.Chrome, server: Server):
    fill(server, 1)
    open_page(browser, server, "/thread/clear/?id=thread_0")
    press(browser, CONFIRM)
    add(server, 0, status="completed")
    change(server, "UPDATE task_records SET created_at = '2026-03-01T00:00:00+00:00'")

    open_page(browser, server, "/")
    assert "came back, after it was cleared" in text(browser, ".list .came-back")
    press(browser, ".came-back a")
    assert text(browser, ".came-back").startswith("Came back; now there: completed")

    press(browser, "button[name=replace]")
    assert "Restored" in text(browser, ".notice")
    assert count(server) == 1


def test_erased_thread_has_no_way_back(browser: webdriver.Chrome, server: Server):
    fill(server, 1)
    open_page(browser, server, "/thread/clear/?id=thread_0")
    browser.find_element(By.CSS_SELECTOR, ".erase summary").click()
    assert "memory entries" in text(browser, ".erase")
    browser.find_element(By.NAME, "erase").click()
    press(browser, CONFIRM)

    assert "Erased thread_0." in text(browser, ".notice")
    open_page(browser, server, "/cleared/")
    press(browser, ".list .title")
    assert "None: erased without an archive." in text(browser, ".record")
    assert browser.find_elements(By.CSS_SELECTOR, "main button") == []


def test_clearing_works_without_script(browser: webdriver.Chrome, server: Server):
    fill(server, 120)
    allow_script(browser, False)
    open_page(browser, server, "/?status=failed")
    at(browser, "button[name=all]").click()
    at(browser, "#typed").send_keys("120")
    at(browser, CONFIRM).click()

    def is_cleared(b: webdriver.Chrome) -> bool:
        for go_on in b.find_elements(By.CSS_SELECTOR, "#progress .main"):
            go_on.click()  # each runs for a second at most
        return heading(b) == "Cleared 120 threads"

    wait(browser).until(is_cleared)
    assert count(server) == 0


@pytest.mark.parametrize(("width", "dark"), LOOKS)
def test_pages_of_clearing_are_accessible(
    browser: webdriver.Chrome, server: Server, width: int, dark: bool
):
    fill(server, 3)
    add(server, 4, status="running")
    look(browser, width=width, dark=dark)
    for path in ("/", "/thread/clear/?id=thread_4", "/cleared/"):
        open_page(browser, server, path)
        assert accessibility_problems(browser) == [], path
        assert not is_scrolled_sideways(browser), path
    open_page(browser, server, "/")
    press(browser, "button[name=all]")
    browser.find_element(By.CSS_SELECTOR, ".which summary").click()
    assert accessibility_problems(browser) == []
    press(browser, CONFIRM)
    wait(browser).until(lambda b: heading(b) == "Cleared 3 of 4 threads")
    assert accessibility_problems(browser) == []
    assert not is_scrolled_sideways(browser)


def test_viewer_sees_no_clearing_and_may_not_post_it(browser: webdriver.Chrome, server: Server):
    fill(server, 2)
    environment = {
        "GLOAMY_WORKSPACE": str(server.workspace),
        "SITE_DATABASE_URL": f"sqlite:///{server.folder}/site.sqlite3",
        "SECRET_KEY": "of the tests",
    }
    made = subprocess.run(
        [sys.executable, "-c", VIEWER],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    open_page(browser, server, "/")
    operator = browser.get_cookie("gloamy_session")
    browser.delete_cookie("gloamy_session")
    browser.add_cookie({"name": "gloamy_session", "value": made.stdout.strip()})
    try:
        open_page(browser, server, "/")
        assert browser.find_elements(By.CSS_SELECTOR, "input[name=thread], #selection") == []
        open_page(browser, server, "/thread/clear/?id=thread_0")
        assert heading(browser) == "You may not do this"
        [(clearing,)] = site(server, "SELECT max(id) FROM archive_clearing")
        paths = ["/clear/", "/thread/clear/?id=thread_0"]
        paths += [
            f"/cleared/{clearing}/{verb}/" for verb in ("confirm", "go-on", "cancel", "restore")
        ]
        open_page(browser, server, "/cleared/")
        assert browser.find_elements(By.CSS_SELECTOR, "main button") == []
        for path in paths:
            assert browser.execute_async_script(POST, path) == 403, path
        assert count(server) == 2
    finally:
        browser.delete_cookie("gloamy_session")
        browser.add_cookie(operator)


POST = """
    const [path, done] = arguments;
    const token = document.querySelector("input[name=csrfmiddlewaretoken]").value;
    fetch(path, {method: "POST", headers: {"X-CSRFToken": token}})
        .then((answer) => done(answer.status));"""
