"""Tests of the thread list in a real browser: filters, updates, keyboard, phones, no JavaScript."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from tasks.fields import to_text
from tasks.service import ChatMessage, TaskCheckpointUpdate, record_checkpoint
from tests.browser.pages import (
    LOOKS,
    accessibility_problems,
    allow_script,
    be_offline,
    every,
    follow,
    look,
    one,
    press,
    problems,
    texts,
    wait,
)
from tests.browser.site import Site

BERLIN = ZoneInfo("Europe/Berlin")
INSERT = """
    INSERT INTO task_records VALUES (
        :id, :id, :channel, 'openai', 'gpt-test', :status, :history, :resumable,
        'Confirmed steps: shell', 3, NULL, :error, :created, :updated, NULL)"""
TOP = "return arguments[0].getBoundingClientRect().top"
POLLS = """
    return performance.getEntriesByType("resource")
        .filter((entry) => entry.name.includes("seen=")).length"""
SEVERAL_POLLS_LATER = """
    const done = arguments[0];
    let ticks = 0;
    const timer = setInterval(() => {
      if (++ticks < 5) return;
      clearInterval(timer);
      done();
    }, 210);"""
WAITS_UNTIL_THE_NEXT_MOMENT = """
    const done = arguments[0], { setTimeout } = window;
    Date.now = () => 210 * 5000 + 150; // 60 ms before the next multiple of 210 ms
    Math.random = () => 0;
    window.setTimeout = (act, delay, ...rest) => {
      if (delay === 60) done(true);
      return setTimeout(act, delay, ...rest);
    };"""
DEFAULT_INTERVAL = """
    delete window.gloamyIntervals;
    const done = arguments[0];
    import("/static/tasks/js/refresh_intervals.js?again").then((module) => done(module.POLL_MS));"""


def row(number: int) -> dict[str, str | None]:
    """Return a thread's row. Threads are ten minutes apart, and every third one has failed."""
    failed = number % 3 == 2
    moment = datetime.now(UTC) - timedelta(minutes=10 * number)
    request = f'{{"role":"user","content":"Task {number}: say \\"hi\\" to Zoë"}}'
    answer = f'{{"role":"assistant","content":"I greet number {number}"}}'
    channel = "slack" if number % 2 else "telegram"
    return {
        "id": f"{channel}_{number}",
        "channel": channel,
        "status": "failed" if failed else "running" if number < 2 else "completed",
        "error": "LLM request timed out after 300s" if failed else None,
        "history": f"[{request},{answer}]",
        "resumable": "[]" if failed else f"[{request}]",
        "created": to_text(moment - timedelta(hours=1)),
        "updated": to_text(moment),
    }


@pytest.fixture
def empty(browser: webdriver.Chrome, site: Site) -> webdriver.Chrome:
    """The browser, showing the thread list of an empty store."""
    browser.get(site.origin)
    return browser


@pytest.fixture
def page(browser: webdriver.Chrome, site: Site) -> webdriver.Chrome:
    """The browser, showing the thread list of a store with forty threads."""
    site.execute(INSERT, map(row, range(40)))
    browser.get(site.origin)
    return browser


def titles(browser: webdriver.Chrome) -> list[str]:
    return texts(browser, ".list .title")


def choose(browser: webdriver.Chrome, name: str, text: str) -> None:
    Select(browser.find_element(By.NAME, name)).select_by_visible_text(text)
    wait(browser).until(lambda b: f"{name}={text}" in b.current_url)


def focused(browser: webdriver.Chrome) -> str:
    return browser.switch_to.active_element.text


def write(site: Site, thread_id: str) -> None:
    """Add a checkpoint to a thread, as an agent would."""
    history = [ChatMessage("user", "Watch the kettle")]
    update = TaskCheckpointUpdate(
        task_id=thread_id,
        thread_id=thread_id,
        channel="telegram",
        provider="openai",
        model="gpt-test",
        step_index=4,
        items=[],
        execution_history=history,
    )
    with site.databases():
        record_checkpoint(update)


def test_filters_survive_opening_a_thread_and_going_back(page: webdriver.Chrome):
    choose(page, "channel", "slack")
    one(page, "#state-failed").click()
    wait(page).until(lambda b: "status=failed" in b.current_url)
    address, rows = page.current_url, titles(page)
    assert [title.split(":")[0] for title in rows] == [f"Task {n}" for n in (5, 11, 17, 23, 29, 35)]

    follow(page, page.find_element(By.PARTIAL_LINK_TEXT, "Task 17:"))
    assert "Task 17" in page.title
    page.back()
    wait(page).until(lambda b: b.title.endswith("Threads · gloamy tasks"))
    page.refresh()
    assert (page.current_url, titles(page)) == (address, rows)

    one(page, "#state-all").click()
    wait(page).until(lambda b: "status" not in b.current_url)
    wait(page).until(lambda b: len(titles(b)) == 20)


def test_search_hit_opens_its_message(page: webdriver.Chrome):
    one(page, "#search").send_keys("ZOË", Keys.ENTER)
    wait(page).until(lambda b: every(b, ".hit mark"))
    assert one(page, ".hit mark").text == "Zoë"

    one(page, "#search").clear()
    one(page, "#search").send_keys('"greet number 33"', Keys.ENTER)
    wait(page).until(lambda b: len(titles(b)) == 1)
    one(page, ".hit").click()
    wait(page).until(lambda b: b.current_url.endswith("#message-2"))
    assert "I greet number 33" in one(page, "#message-2").text


def test_empty_result_offers_to_remove_the_filter(page: webdriver.Chrome):
    one(page, "#search").send_keys("nowhere", Keys.ENTER)
    wait(page).until(lambda b: "No threads match" in one(b, "#threads").text)

    one(page, "[aria-label='Remove filter: “nowhere”']").click()
    wait(page).until(lambda b: len(titles(b)) == 40)


def test_new_activity_appears_without_disturbing_the_page(page: webdriver.Chrome, site: Site):
    one(page, "#search").send_keys("half ty")
    page.execute_script("window.scrollTo(0, 300); window.stays = true")
    anchor = page.find_element(By.PARTIAL_LINK_TEXT, "Task 10:")
    top = page.execute_script(TOP, anchor)
    assert "Watch the kettle" not in titles(page)
    assert page.title == "● 1 · Threads · gloamy tasks"

    write(site, "telegram_30")
    wait(page).until(lambda b: titles(b)[0] == "Watch the kettle")
    shift = page.execute_script(TOP, anchor) - top
    ActionChains(page).send_keys("ped").perform()

    assert titles(page).count("Watch the kettle") == 1
    assert len(titles(page)) == 40
    first = one(page, ".list tbody tr").text
    assert ("running" in first, "telegram_30" in first) == (True, True)
    assert one(page, "#state-running").text.split() == ["running", "2"]
    assert page.title == "● 2 · Threads · gloamy tasks"
    assert abs(shift) < 1  # the page has scrolled to make up for the new row above
    assert page.execute_script("return window.stays")
    assert one(page, "#search").get_property("value") == "half typed"


def test_pages_poll_every_two_seconds(page: webdriver.Chrome):
    assert page.execute_async_script(DEFAULT_INTERVAL) == 2000


def test_all_tabs_poll_at_the_same_moments_of_the_clock(page: webdriver.Chrome):
    assert page.execute_async_script(WAITS_UNTIL_THE_NEXT_MOMENT)


def test_focus_and_selection_survive_row_moves(page: webdriver.Chrome, site: Site):
    press(page, "j", "j", "j")
    assert focused(page).startswith("Task 2:")
    page.execute_script("""
        const text = document.querySelectorAll(".list .id")[5].firstChild;
        getSelection().setBaseAndExtent(text, 0, text, 4)""")

    write(site, "telegram_2")
    wait(page).until(lambda b: titles(b)[0] == "Watch the kettle")

    assert focused(page) == "Watch the kettle"
    assert page.execute_script("return String(getSelection())") == "slac"


def test_polling_stops_while_the_page_is_hidden(page: webdriver.Chrome, site: Site):
    wait(page).until(lambda b: b.execute_script(POLLS) > 0)
    page.execute_script(
        "Object.defineProperty(document, 'hidden', {value: true, configurable: true})"
    )
    before = page.execute_script(POLLS)

    write(site, "slack_1")
    page.execute_async_script(SEVERAL_POLLS_LATER)
    assert titles(page)[0] != "Watch the kettle"
    assert page.execute_script(POLLS) <= before + 1  # a poll may have been in flight

    page.execute_script(
        "delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))"
    )
    wait(page).until(lambda b: titles(b)[0] == "Watch the kettle")


def test_connection_loss_is_displayed_until_reconnect(page: webdriver.Chrome, site: Site):
    notice = one(page, "#lost")
    assert not notice.is_displayed()

    be_offline(page, True)
    wait(page).until(lambda _: notice.is_displayed())
    be_offline(page, False)
    write(site, "slack_3")

    wait(page).until(lambda _: not notice.is_displayed())
    wait(page).until(lambda b: titles(b)[0] == "Watch the kettle")


def test_first_thread_of_an_empty_store_appears(empty: webdriver.Chrome, site: Site):
    for width, dark in LOOKS:
        look(empty, width=width, dark=dark)
        assert problems(empty) == []
    assert "No threads yet" in one(empty, "main").text

    write(site, "telegram_1")
    wait(empty).until(lambda b: titles(b) == ["Watch the kettle"])


def test_keys_navigate_the_list(page: webdriver.Chrome):
    press(page, "j", "j", "k", "j", "j")
    assert focused(page).startswith("Task 2:")

    press(page, "/")
    assert page.switch_to.active_element.get_attribute("id") == "search"
    press(page, "j?", Keys.ESCAPE)
    assert one(page, "body") == page.switch_to.active_element

    press(page, "?")
    assert one(page, "#help").is_displayed()
    press(page, "j", Keys.ESCAPE)
    assert not one(page, "#help").is_displayed()

    press(page, "j", Keys.ENTER)
    wait(page).until(lambda b: "Task 0" in b.title)
    page.back()
    wait(page).until(lambda b: b.title.endswith("Threads · gloamy tasks"))
    press(page, "j")
    assert focused(page).startswith("Task 1:")  # the thread after the opened one


def test_rows_are_selected_with_a_key_and_with_shift(page: webdriver.Chrome):
    boxes = every(page, "input[name=thread]")[:5]

    press(page, "j", "x", "j", "j", "x")
    assert [box.is_selected() for box in boxes] == [True, False, True, False, False]
    press(page, "x")
    boxes[1].click()
    ActionChains(page).key_down(Keys.SHIFT).click(boxes[4]).key_up(Keys.SHIFT).perform()
    assert [box.is_selected() for box in boxes] == [True, True, True, True, True]
    assert one(page, "#clear-selected").text == "Clear selected (5)…"


def test_row_opens_its_thread(page: webdriver.Chrome):
    title = texts(page, ".list .title")[1]

    one(page, ".list tbody tr:nth-child(2) td.model").click()

    wait(page).until(lambda b: title in b.title)


def test_keys_can_be_disabled(page: webdriver.Chrome):
    press(page, "?")
    one(page, "#keys-on").click()
    page.refresh()
    press(page, "j", "?")

    assert page.switch_to.active_element == one(page, "body")
    assert not one(page, "#help").is_displayed()


def test_theme_survives_a_reload(page: webdriver.Chrome):
    def background() -> str:
        return str(page.execute_script("return getComputedStyle(document.body).backgroundColor"))

    light = background()
    one(page, "#menu summary").click()
    page.find_element(By.XPATH, "//label[normalize-space()='Dark']").click()
    dark = background()
    page.refresh()

    assert light != dark == background()


def test_list_works_without_script(page: webdriver.Chrome):
    allow_script(page, False)
    page.implicitly_wait(10)  # without JavaScript, a click does not wait for the next page
    page.refresh()
    Select(page.find_element(By.NAME, "channel")).select_by_visible_text("slack")
    page.find_element(By.NAME, "q").send_keys('"greet number 3"')
    one(page, ".filters .without-js").click()
    wait(page).until(lambda b: len(titles(b)) == 6)
    assert one(page, ".only-js:not([hidden])").is_displayed() is False

    page.find_element(By.PARTIAL_LINK_TEXT, "Task 33:").click()
    wait(page).until(lambda b: "Task 33" in b.title)
    page.find_element(By.LINK_TEXT, "Clear…").click()
    one(page, "form[action] .danger").click()
    wait(page).until(lambda b: b.title.endswith("Threads · gloamy tasks"))
    assert "Cleared slack_33" in one(page, "main").text


def test_every_state_is_accessible(browser: webdriver.Chrome, site: Site):
    site.execute(INSERT, map(row, range(6)))  # covers all statuses and channels
    queries = ["", "?status=stalled", "?q=greet", "?q=nowhere&channel=slack", "?status=bad"]
    for width, dark in LOOKS:
        look(browser, width=width, dark=dark)
        for query in queries:
            browser.get(f"{site.origin}/{query}")
            assert (query, width, dark, problems(browser)) == (query, width, dark, [])
        browser.get(site.origin)
        press(browser, "j")
        one(browser, "#menu summary").click()
        assert accessibility_problems(browser) == []
        press(browser, Keys.ESCAPE, "?")
        assert accessibility_problems(browser) == []


def test_head_is_one_row_on_a_phone(page: webdriver.Chrome):
    look(page, width=390)
    page.refresh()

    assert one(page, ".top").size["height"] < 60
    assert one(page, ".states").size["height"] < 50


def test_all_pages_show_the_same_local_time_and_read_local_dates(
    empty: webdriver.Chrome, site: Site
):
    moment = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)  # clocks in Berlin go back 30 minutes later
    local = "2026-10-25 02:30:00 CEST"
    site.execute(INSERT, [row(5) | {"updated": to_text(moment)}])
    empty.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": "Europe/Berlin"})
    title = "time[title^='2026-10-25']"
    empty.get(site.origin)
    assert one(empty, title).get_attribute("title") == "2026-10-25 00:30:00 UTC"

    empty.get(site.origin)
    assert one(empty, title).get_attribute("title") == local
    empty.get(f"{site.origin}/admin/tasks/taskrecord/")
    assert one(empty, "#result_list .field-active").text == local

    empty.get(site.origin)
    one(empty, ".dates summary").click()
    for name, value in (("start", "2026-10-25T02:00:00"), ("end", "2026-10-25T02:45:00")):
        empty.execute_script("arguments[0].value = arguments[1]", one(empty, f"#{name}"), value)
    follow(empty, one(empty, ".dates button"))
    assert "zone=Europe%2FBerlin" in empty.current_url
    assert len(every(empty, ".list tbody tr")) == 1
    assert one(empty, "#start").get_attribute("value") == "2026-10-25T02:00"

    follow(empty, one(empty, ".list .title"))
    follow(empty, one(empty, "#head a.danger"))
    assert local in one(empty, ".clear dl").text
    follow(empty, one(empty, ".clear .danger.main"))
    empty.get(f"{site.origin}/cleared/")
    time = one(empty, ".when time")
    cleared = datetime.fromisoformat(time.get_attribute("datetime") or "").astimezone(BERLIN)
    assert time.get_attribute("title") == f"{cleared:%Y-%m-%d %H:%M:%S %Z}"
    follow(empty, one(empty, ".list a.title"))
    assert one(empty, ".record dd").text == f"{cleared:%Y-%m-%d %H:%M:%S %Z}"
