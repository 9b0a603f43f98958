"""Tests of clearing in a real browser: one thread or thousands, concurrent changes, restoring."""

import json
from datetime import UTC, datetime

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tasks.clearing import clear_threads
from tasks.fields import to_text
from tests.browser.pages import (
    LOOKS,
    accessibility_problems,
    allow_script,
    every,
    follow,
    look,
    one,
    problems,
    sign_in,
    wait,
)
from tests.browser.site import Site

INSERT = """
    INSERT INTO task_records VALUES (
        :id, :id, 'cli', 'openai', 'gpt-test', :status,
        '[{"role":"user","content":"Water plant ' || :id || '"}]', '[]', NULL, 0, NULL, NULL,
        '2026-01-01T00:00:00+00:00', :updated, NULL)"""
CONFIRM = ".clear .danger.main"
AT_WORK = "SELECT id FROM archive_clearing WHERE busy_until IS NOT NULL"
POST = """
    const [path, done] = arguments;
    const token = document.querySelector("input[name=csrfmiddlewaretoken]").value;
    fetch(path, {method: "POST", headers: {"X-CSRFToken": token}})
        .then((answer) => done(answer.status));"""


def add_threads(site: Site, *numbers: int, status: str = "failed") -> None:
    """Add one thread per number. Higher numbers are newer, and running threads are the newest.

    Threads of different states have different times, as in any store that agents write.
    """
    day = ["failed", "completed", "running"].index(status) + 1
    site.execute(
        INSERT,
        [
            {
                "id": f"thread_{number}",
                "status": status,
                "updated": to_text(
                    datetime(2026, 2, day, 0, 0, number // 1000, number % 1000 * 1000, UTC)
                ),
            }
            for number in numbers
        ],
    )


def count(site: Site) -> int:
    [(rows,)] = site.query("SELECT count(*) FROM task_records")
    return int(rows)


def wait_for(browser: webdriver.Chrome, selector: str) -> WebElement:
    """Wait until the page has an element that matches the selector, and return the element."""
    return wait(browser).until(lambda b: one(b, selector))


def press(browser: webdriver.Chrome, selector: str) -> None:
    """Press a button that leads to another page, and wait until that page has loaded."""
    follow(browser, one(browser, selector))


def heading(browser: webdriver.Chrome) -> str:
    return str(browser.execute_script("return document.querySelector('h1')?.innerText ?? ''"))


def cleared_count(browser: webdriver.Chrome) -> int:
    """Return the first number in a heading such as "Cleared 1,234 of 5,000 threads"."""
    return int(heading(browser).split()[1].replace(",", ""))


def text(browser: webdriver.Chrome, selector: str = "main") -> str:
    return one(browser, selector).text


def test_selected_threads_are_cleared_and_restored(browser: webdriver.Chrome, site: Site):
    add_threads(site, *range(4))
    browser.get(f"{site.origin}/")
    for box in every(browser, "input[name=thread]")[:2]:
        box.click()
    assert text(browser, "#clear-selected") == "Clear selected (2)…"

    press(browser, "#clear-selected")
    assert heading(browser) == "Clear 2 threads?"
    one(browser, "#reason").send_keys("they are over")
    press(browser, CONFIRM)
    wait(browser).until(lambda b: heading(b) == "Cleared 2 threads")
    assert count(site) == 2
    assert "they are over" in text(browser)

    press(browser, ".way-back button")
    assert count(site) == 3
    press(browser, ".bar button")
    assert count(site) == 4
    assert "restored" in text(browser, ".list")

    press(browser, ".list a.title")
    assert "/thread/?id=thread_" in browser.current_url
    browser.get(f"{site.origin}/cleared/")
    assert text(browser, ".list .archive:not(th)") == "all restored"


def test_selection_is_reset_on_the_next_page(browser: webdriver.Chrome, site: Site):
    add_threads(site, *range(60))
    browser.get(f"{site.origin}/")
    one(browser, "#select-page").click()
    assert text(browser, "#clear-selected") == "Clear selected (50)…"

    press(browser, "a[rel=next]")
    assert not one(browser, "#clear-selected").is_enabled()
    browser.back()
    wait(browser).until(lambda b: len(b.find_elements(By.NAME, "thread")) == 50)
    assert not one(browser, "#clear-selected").is_enabled()


def test_clear_all_shows_progress_and_can_be_cancelled(browser: webdriver.Chrome, site: Site):
    add_threads(site, *range(5_000))
    add_threads(site, 5_001, status="completed")
    browser.get(f"{site.origin}/?status=failed")
    press(browser, "button[name=all]")
    assert heading(browser) == "Clear 5,000 threads?"

    press(browser, CONFIRM)
    assert "Type 5,000" in text(browser, ".error")
    assert count(site) == 5_001
    one(browser, "#typed").send_keys("5000")
    press(browser, CONFIRM)

    wait(browser).until(lambda b: b.execute_script("return document.getElementById('bar').value"))
    assert heading(browser) == "Clearing 5,000 threads"
    press(browser, "#cancel")
    wait(browser).until(lambda b: site.query(AT_WORK, "default") == [])

    def has_counted(browser: webdriver.Chrome) -> bool:
        browser.refresh()  # a request still in flight may have cleared one more thread
        return cleared_count(browser) == 5_001 - count(site)

    wait(browser).until(has_counted)
    assert 0 < cleared_count(browser) < 5_000
    assert "cancelled" in text(browser)


def test_restore_all_shows_progress_and_can_be_cancelled(browser: webdriver.Chrome, site: Site):
    add_threads(site, *range(800))
    with site.databases():
        clearing = clear_threads([f"thread_{number}" for number in range(800)])
    add_threads(site, 0, status="completed")  # this one came back
    browser.get(f"{site.origin}/cleared/{clearing.pk}/")
    one(browser, ".bar button").click()

    wait_for(browser, "#bar")
    assert not one(browser, ".bar button").is_displayed()
    press(browser, "#cancel")
    assert "Restore the remaining" in text(browser, ".bar button")
    assert 0 < count(site) < 800

    one(browser, ".bar button").click()
    wait(browser).until(lambda b: count(site) == 800)


def test_clear_all_clears_every_matching_thread(browser: webdriver.Chrome, site: Site):
    add_threads(site, *range(1_200))
    add_threads(site, 5_001, status="completed")
    browser.get(f"{site.origin}/?status=failed")
    press(browser, "button[name=all]")
    one(browser, "#typed").send_keys("1,200")
    press(browser, CONFIRM)

    wait(browser).until(lambda b: heading(b) == "Cleared 1,200 threads")

    assert count(site) == 1
    assert "1,200 threads, until" in text(browser, ".record")


def test_stale_confirmation_must_be_repeated(browser: webdriver.Chrome, site: Site):
    add_threads(site, *range(3))
    browser.get(f"{site.origin}/thread/clear/?id=thread_0")
    site.execute("UPDATE task_records SET updated_at = '2026-03-01T00:00:00+00:00'")

    press(browser, CONFIRM)
    assert "This thread changed since you opened this page." in text(browser, ".notice")
    assert "is: failed, 0 steps, last active 2026-03-01" in text(browser, ".changes")
    assert count(site) == 3

    press(browser, CONFIRM)
    assert count(site) == 2


def test_stale_bulk_confirmation_lists_changed_threads(browser: webdriver.Chrome, site: Site):
    add_threads(site, *range(3))
    browser.get(f"{site.origin}/?status=failed")
    press(browser, "button[name=all]")
    site.execute("DELETE FROM task_records WHERE task_id = 'thread_1'")

    press(browser, CONFIRM)
    assert text(browser, ".changes").startswith("thread_1\n")
    assert "is: no longer exists" in text(browser, ".changes")
    assert (heading(browser), count(site)) == ("Clear 2 threads?", 2)

    press(browser, CONFIRM)
    wait(browser).until(lambda b: heading(b) == "Cleared 2 threads")


def test_running_thread_requires_a_tick_and_warns_about_the_daemon(
    browser: webdriver.Chrome, site: Site
):
    add_threads(site, *range(1), status="running")
    site.heartbeat.write_text(json.dumps({"written_at": to_text(datetime.now(UTC))}))
    browser.get(f"{site.origin}/thread/clear/?id=thread_0")
    assert "a running task is written back" in text(browser)
    assert "/new" in text(browser, ".notice")

    press(browser, CONFIRM)
    assert "Check the box" in text(browser, ".error")
    assert count(site) == 1
    browser.find_element(By.NAME, "with_running").click()
    press(browser, CONFIRM)
    assert count(site) == 0


def test_recreated_thread_is_marked_and_can_be_replaced(browser: webdriver.Chrome, site: Site):
    add_threads(site, *range(1))
    browser.get(f"{site.origin}/thread/clear/?id=thread_0")
    press(browser, CONFIRM)
    add_threads(site, 0, status="completed")
    site.execute("UPDATE task_records SET created_at = '2026-03-01T00:00:00+00:00'")

    browser.get(f"{site.origin}/")
    assert "reappeared, after being cleared" in text(browser, ".list .came-back")
    press(browser, ".came-back a")
    assert text(browser, ".came-back").startswith("Reappeared; now: completed")
    assert [button.text for button in every(browser, "main button")] == ["Replace"]

    press(browser, "button[name=replace]")
    assert "Restored" in text(browser, ".notice")
    assert count(site) == 1


def test_erased_thread_cannot_be_restored(browser: webdriver.Chrome, site: Site):
    add_threads(site, *range(1))
    browser.get(f"{site.origin}/thread/clear/?id=thread_0")
    one(browser, ".erase summary").click()
    assert "memory entries" in text(browser, ".erase")
    assert (heading(browser), text(browser, CONFIRM)) == ("Clear this thread?", "Clear thread")
    browser.find_element(By.NAME, "erase").click()
    assert (heading(browser), text(browser, CONFIRM)) == ("Erase this thread?", "Erase thread")
    press(browser, CONFIRM)

    assert "Erased thread_0." in text(browser, ".notice")
    browser.get(f"{site.origin}/cleared/")
    press(browser, ".list .title")
    assert "None (erased permanently)" in text(browser, ".record")
    assert every(browser, "main button") == []


def test_clearing_works_without_script(browser: webdriver.Chrome, site: Site):
    add_threads(site, *range(120))
    allow_script(browser, False)
    browser.get(f"{site.origin}/?status=failed")
    wait_for(browser, "button[name=all]").click()
    wait_for(browser, "#typed").send_keys("120")
    wait_for(browser, CONFIRM).click()

    def is_cleared(b: webdriver.Chrome) -> bool:
        for go_on in every(b, "#progress .main"):
            go_on.click()  # each click runs the clearing for at most one second
        return heading(b) == "Cleared 120 threads"

    wait(browser).until(is_cleared)
    assert count(site) == 0


def test_clearing_pages_are_accessible(browser: webdriver.Chrome, site: Site):
    for width, dark in LOOKS:
        site.restore(site.new)
        add_threads(site, *range(3))
        add_threads(site, 4, status="running")
        look(browser, width=width, dark=dark)
        for path in ("/", "/thread/clear/?id=thread_4", "/cleared/"):
            browser.get(f"{site.origin}{path}")
            assert (path, problems(browser)) == (path, [])
        browser.get(site.origin)
        press(browser, "button[name=all]")
        one(browser, ".which summary").click()
        assert accessibility_problems(browser) == []
        press(browser, CONFIRM)
        wait(browser).until(lambda b: heading(b) == "Cleared 3 of 4 threads")
        assert problems(browser) == []


def test_viewer_cannot_clear_threads(browser: webdriver.Chrome, site: Site):
    add_threads(site, *range(3))
    browser.get(f"{site.origin}/thread/clear/?id=thread_2")
    press(browser, CONFIRM)
    [(clearing,)] = site.query("SELECT id FROM archive_clearing", "default")

    sign_in(browser, site, "viewer")
    browser.get(site.origin)
    assert every(browser, "input[name=thread], #selection") == []
    browser.get(f"{site.origin}/thread/clear/?id=thread_0")
    assert heading(browser) == "You don't have permission"
    browser.get(f"{site.origin}/cleared/")
    assert every(browser, "main button") == []
    paths = ["/clear/", "/thread/clear/?id=thread_0"]
    paths += [f"/cleared/{clearing}/{verb}/" for verb in ("confirm", "go-on", "cancel", "restore")]
    for path in paths:
        assert browser.execute_async_script(POST, path) == 403, path
    assert count(site) == 2
