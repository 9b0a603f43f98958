"""The list in a real browser: asking, going back, watching, keys, phones, no script."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from selenium import webdriver
from selenium.common.exceptions import (
    NoSuchElementException,
    StaleElementReferenceException,
    TimeoutException,
)
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select
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
        :id, :id, :channel, 'openai', 'gpt-test', :status, :history, :resumable,
        'Confirmed steps: shell', 3, NULL, :error, :created, :updated, NULL)"""
TOP = "return arguments[0].getBoundingClientRect().top"
POLLS = """
    return performance.getEntriesByType("resource")
        .filter((entry) => entry.name.includes("seen=")).length"""
# One more checkpoint, as an agent writes it: with the verbs, in a process of its own.
WRITE = """
import sys
from gloamy_site import connect
connect(sys.argv[1])
from tasks.service import ChatMessage, TaskCheckpointUpdate, record_checkpoint
record_checkpoint(TaskCheckpointUpdate(
    task_id=sys.argv[2], thread_id=sys.argv[2], channel="telegram", provider="openai",
    model="gpt-test", step_index=4, items=[],
    execution_history=[ChatMessage("user", "Watch the kettle")]))
"""


def fill(server: Server, count: int) -> None:
    """Threads as gloamy leaves them, of one every ten minutes; every third one failed."""
    with closing(sqlite3.connect(server.store_file)) as connection, connection:
        connection.execute("DELETE FROM task_checkpoints")
        connection.execute("DELETE FROM task_records")
        for number in range(count):
            failed = number % 3 == 2
            moment = datetime.now(UTC) - timedelta(minutes=10 * number)
            asked = f'{{"role":"user","content":"Task {number}: say \\"hi\\" to Zoë"}}'
            answer = f'{{"role":"assistant","content":"I greet number {number}"}}'
            connection.execute(
                INSERT,
                {
                    "id": f"{'slack' if number % 2 else 'telegram'}_{number}",
                    "channel": "slack" if number % 2 else "telegram",
                    "status": "failed" if failed else "running" if number < 2 else "completed",
                    "error": "LLM request timed out after 300s" if failed else None,
                    "history": f"[{asked},{answer}]",
                    "resumable": "[]" if failed else f"[{asked}]",
                    "created": to_text(moment - timedelta(hours=1)),
                    "updated": to_text(moment),
                },
            )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for all tests here: each fills its store anew."""
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
def empty(signed_in: webdriver.Chrome, server: Server) -> Iterator[webdriver.Chrome]:
    """A browser that looks at the list of an empty store."""
    fill(server, 0)
    yield from at_the_list(signed_in, server)


@pytest.fixture
def page(signed_in: webdriver.Chrome, server: Server) -> Iterator[webdriver.Chrome]:
    """A browser that looks at the list of forty threads."""
    fill(server, 40)
    yield from at_the_list(signed_in, server)


def at_the_list(browser: webdriver.Chrome, server: Server) -> Iterator[webdriver.Chrome]:
    look(browser)
    allow_script(browser, True)
    browser.implicitly_wait(0)
    browser.get(f"http://127.0.0.1:{server.port}/")
    yield browser
    browser.execute_script("localStorage.clear()")
    assert [entry for entry in browser.get_log("browser") if entry["source"] == "security"] == []


def wait(browser: webdriver.Chrome, seconds: float = 20) -> WebDriverWait[webdriver.Chrome]:
    gone = [NoSuchElementException, StaleElementReferenceException]  # with the page before
    return WebDriverWait(browser, seconds, poll_frequency=0.1, ignored_exceptions=gone)


def titles(browser: webdriver.Chrome) -> list[str]:
    return [found.text for found in browser.find_elements(By.CSS_SELECTOR, ".list .title")]


def choose(browser: webdriver.Chrome, name: str, text: str) -> None:
    Select(browser.find_element(By.NAME, name)).select_by_visible_text(text)
    wait(browser).until(lambda b: f"{name}={text}" in b.current_url)


def press(browser: webdriver.Chrome, *keys: str) -> None:
    for key in keys:
        browser.switch_to.active_element.send_keys(key)


def focused(browser: webdriver.Chrome) -> str:
    return browser.switch_to.active_element.text


def write(server: Server, thread_id: str) -> None:
    command = [sys.executable, "-c", WRITE, str(server.workspace), thread_id]
    subprocess.run(command, cwd=ROOT, check=True)


def test_filters_stay_on_the_way_to_a_thread_and_back(page: webdriver.Chrome):
    choose(page, "channel", "slack")
    page.find_element(By.ID, "state-failed").click()
    wait(page).until(lambda b: "status=failed" in b.current_url)
    listed, found = page.current_url, titles(page)
    assert [title.split(":")[0] for title in found] == [
        f"Task {n}" for n in (5, 11, 17, 23, 29, 35)
    ]

    page.find_element(By.PARTIAL_LINK_TEXT, "Task 17:").click()
    wait(page).until(lambda b: "Task 17" in b.title)
    page.back()
    wait(page).until(lambda b: b.title == "Threads · gloamy tasks")
    page.refresh()
    assert (page.current_url, titles(page)) == (listed, found)

    page.find_element(By.CSS_SELECTOR, "[aria-label='Drop the filter failed']").click()
    wait(page).until(lambda b: "status" not in b.current_url)
    assert len(titles(page)) == 20


def test_search_leads_to_the_very_message(page: webdriver.Chrome):
    page.find_element(By.ID, "search").send_keys('SAY "hi" to ZOË', Keys.ENTER)
    wait(page).until(lambda b: b.find_elements(By.CSS_SELECTOR, ".hit mark"))
    assert page.find_element(By.CSS_SELECTOR, ".hit mark").text == 'say "hi" to Zoë'

    search = page.find_element(By.ID, "search")
    search.clear()
    search.send_keys("greet number 33", Keys.ENTER)
    wait(page).until(lambda b: len(titles(b)) == 1)
    page.find_element(By.CSS_SELECTOR, ".hit").click()
    wait(page).until(lambda b: b.current_url.endswith("#message-2"))
    assert "I greet number 33" in page.find_element(By.ID, "message-2").text


def test_filter_without_a_hit_offers_to_drop_it(page: webdriver.Chrome):
    page.find_element(By.ID, "search").send_keys("nowhere", Keys.ENTER)
    wait(page).until(lambda b: "No thread matches" in b.find_element(By.ID, "threads").text)

    page.find_element(By.CSS_SELECTOR, "[aria-label='Drop the filter “nowhere”']").click()
    wait(page).until(lambda b: len(titles(b)) == 40)


def test_new_activity_appears_and_disturbs_nothing(page: webdriver.Chrome, server: Server):
    page.find_element(By.ID, "search").send_keys("half ty")
    page.execute_script("window.scrollTo(0, 300); window.stays = true")
    under_the_eye = page.find_element(By.PARTIAL_LINK_TEXT, "Task 10:")
    top = page.execute_script(TOP, under_the_eye)
    assert "Watch the kettle" not in titles(page)

    write(server, "telegram_30")
    wait(page, 3).until(lambda b: titles(b)[0] == "Watch the kettle")
    moved = page.execute_script(TOP, under_the_eye) - top
    ActionChains(page).send_keys("ped").perform()

    assert titles(page).count("Watch the kettle") == 1
    assert len(titles(page)) == 40
    row = page.find_element(By.CSS_SELECTOR, ".list tbody tr").text
    assert ("running" in row, "telegram_30" in row) == (True, True)
    assert page.find_element(By.ID, "state-running").text.split() == ["running", "2"]
    assert abs(moved) < 1  # the browser scrolls on by the row that came above
    assert page.execute_script("return window.stays")
    assert page.find_element(By.ID, "search").get_property("value") == "half typed"


def test_focus_and_selection_stay_when_rows_move(page: webdriver.Chrome, server: Server):
    press(page, "j", "j", "j")
    assert focused(page).startswith("Task 2:")
    page.execute_script("""
        const text = document.querySelectorAll(".list .id")[5].firstChild;
        getSelection().setBaseAndExtent(text, 0, text, 4)""")

    write(server, "telegram_2")
    wait(page, 3).until(lambda b: titles(b)[0] == "Watch the kettle")

    assert focused(page) == "Watch the kettle"
    assert page.execute_script("return String(getSelection())") == "slac"


def test_polling_stops_while_the_page_is_hidden(page: webdriver.Chrome, server: Server):
    wait(page, 5).until(lambda b: b.execute_script(POLLS) > 0)
    page.execute_script(
        "Object.defineProperty(document, 'hidden', {value: true, configurable: true})"
    )
    before = page.execute_script(POLLS)

    write(server, "slack_1")
    with pytest.raises(TimeoutException):
        wait(page, 5).until(lambda b: titles(b)[0] == "Watch the kettle")
    assert page.execute_script(POLLS) <= before + 1  # one may have been under way

    page.execute_script(
        "delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))"
    )
    wait(page, 3).until(lambda b: titles(b)[0] == "Watch the kettle")


def test_page_says_when_the_connection_is_lost_and_recovers(page: webdriver.Chrome, server: Server):
    lost = page.find_element(By.ID, "lost")
    assert not lost.is_displayed()

    server.stop()
    wait(page).until(lambda _: lost.is_displayed())
    server.start()
    server.link()
    write(server, "slack_3")

    wait(page).until(lambda _: not lost.is_displayed())
    wait(page).until(lambda b: titles(b)[0] == "Watch the kettle")


def test_first_thread_of_an_empty_store_appears(empty: webdriver.Chrome, server: Server):
    for width, dark in LOOKS:
        look(empty, width=width, dark=dark)
        assert accessibility_problems(empty) == []
        assert not is_scrolled_sideways(empty)
    assert "No threads yet" in empty.find_element(By.TAG_NAME, "main").text

    write(server, "telegram_1")
    wait(empty, 3).until(lambda b: titles(b) == ["Watch the kettle"])


def test_keys_lead_through_the_list(page: webdriver.Chrome):
    press(page, "j", "j", "k", "j", "j")
    assert focused(page).startswith("Task 2:")

    press(page, "/")
    assert page.switch_to.active_element.get_attribute("id") == "search"
    press(page, "j?", Keys.ESCAPE)
    assert page.find_element(By.TAG_NAME, "body") == page.switch_to.active_element

    press(page, "?")
    assert page.find_element(By.ID, "help").is_displayed()
    press(page, "j", Keys.ESCAPE)
    assert not page.find_element(By.ID, "help").is_displayed()

    press(page, "j", Keys.ENTER)
    wait(page).until(lambda b: "Task 0" in b.title)
    page.back()
    wait(page).until(lambda b: b.title == "Threads · gloamy tasks")
    press(page, "j")
    assert focused(page).startswith("Task 1:")  # after the one that was opened


def test_keys_can_be_turned_off(page: webdriver.Chrome):
    press(page, "?")
    page.find_element(By.ID, "keys-on").click()
    page.refresh()
    press(page, "j", "?")

    assert page.switch_to.active_element == page.find_element(By.TAG_NAME, "body")
    assert not page.find_element(By.ID, "help").is_displayed()


def test_theme_is_kept_and_there_before_the_page_is_drawn(page: webdriver.Chrome):
    def scheme() -> str:
        return str(page.execute_script("return getComputedStyle(document.body).backgroundColor"))

    light = scheme()
    page.find_element(By.CSS_SELECTOR, "#menu summary").click()
    page.find_element(By.XPATH, "//label[.='Dark']").click()
    dark = scheme()
    page.refresh()

    assert light != dark == scheme()


def test_list_works_without_script(page: webdriver.Chrome):
    allow_script(page, False)
    page.implicitly_wait(10)  # without script a click does not wait for its page
    page.refresh()
    Select(page.find_element(By.NAME, "channel")).select_by_visible_text("slack")
    page.find_element(By.NAME, "q").send_keys("greet number 3")
    page.find_element(By.CSS_SELECTOR, ".filters .without-js").click()
    wait(page).until(lambda b: len(titles(b)) == 6)
    assert page.find_elements(By.CSS_SELECTOR, ".only-js:not([hidden])")[0].is_displayed() is False

    page.find_element(By.PARTIAL_LINK_TEXT, "Task 33:").click()
    wait(page).until(lambda b: "Task 33" in b.title)
    page.find_element(By.LINK_TEXT, "Clear…").click()
    page.find_element(By.CSS_SELECTOR, "form[action] .danger").click()
    wait(page).until(lambda b: b.title == "Threads · gloamy tasks")
    assert "Cleared slack_33" in page.find_element(By.TAG_NAME, "main").text


def test_every_state_is_accessible(page: webdriver.Chrome):
    root = page.current_url
    queries = ["", "?status=stalled", "?q=greet", "?q=nowhere&channel=slack", "?status=bad"]
    for width, dark in LOOKS:
        look(page, width=width, dark=dark)
        for query in queries:
            page.get(root + query)
            found = accessibility_problems(page), is_scrolled_sideways(page)
            assert (query, width, dark, *found) == (query, width, dark, [], False)
        page.get(root)
        press(page, "j")
        page.find_element(By.CSS_SELECTOR, "#menu summary").click()
        assert accessibility_problems(page) == []
        press(page, Keys.ESCAPE, "?")
        assert accessibility_problems(page) == []


def test_head_is_one_row_on_a_phone(page: webdriver.Chrome):
    look(page, width=390)
    page.refresh()

    assert page.find_element(By.CSS_SELECTOR, ".top").size["height"] < 60
    chips = page.find_element(By.CSS_SELECTOR, ".states")
    assert chips.size["height"] < 50
