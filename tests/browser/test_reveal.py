"""Tests of revealing secrets in a real browser, until they are hidden or the time runs out."""

import json
from datetime import timedelta

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.utils import timezone
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support import expected_conditions as expect

from tasks.secrets import reveal
from tests.browser.pages import (
    LOOKS,
    accessibility_problems,
    allow_script,
    every,
    follow,
    look,
    one,
    problems,
    wait,
)
from tests.browser.site import Site

INSERT = """
    INSERT INTO task_records VALUES (
        'cli', 'cli', 'cli', 'openai', 'gpt-test', :status, :history, '[]', NULL, 0, NULL, NULL,
        '2026-01-01T00:00:00+00:00', '2026-01-02T00:00:00+00:00', NULL)"""
NOTICE = "#secrets-shown"
AS_LOADED = "document.title = 'as it was loaded'"


def add_thread(site: Site, status: str = "failed", messages: int = 1) -> None:
    history = json.dumps([{"role": "user", "content": "hello"}] * messages, separators=(",", ":"))
    site.execute(INSERT, [{"status": status, "history": history}])


def end_in(site: Site, seconds: float) -> None:
    """Make the operator's reveal of secrets expire after this many seconds."""
    with site.databases():
        session = SessionStore(site.sessions["operator"])
        session[reveal.SESSION_KEY]["until"] = (
            timezone.now() + timedelta(seconds=seconds)
        ).isoformat()
        session.modified = True
        session.save()


def button(browser: webdriver.Chrome, do: str) -> WebElement:
    element = one(browser, f"button[name=do][value={do}]")
    if not element.is_displayed():  # it is in a menu
        one(browser, "#more summary").click()
    return element


def open_thread(browser: webdriver.Chrome, site: Site, query: str = "") -> str:
    address = f"{site.origin}/thread/?id=cli{query}"
    browser.get(address)
    return address


def is_shown(browser: webdriver.Chrome) -> bool:
    return any(notice.is_displayed() for notice in every(browser, NOTICE))


def show_secrets(browser: webdriver.Chrome, site: Site) -> None:
    open_thread(browser, site)
    button(browser, "show").click()
    wait(browser).until(is_shown)


@pytest.mark.parametrize("has_script", [True, False])
def test_secrets_can_be_shown_and_hidden(browser: webdriver.Chrome, site: Site, has_script: bool):
    add_thread(site)
    allow_script(browser, has_script)
    address = open_thread(browser, site, "&show=resume")

    button(browser, "show").click()
    wait(browser).until(is_shown)
    assert browser.current_url == address
    assert one(browser, NOTICE).text.startswith("Secrets are visible until ")

    button(browser, "hide").click()
    wait(browser).until(lambda b: button(b, "show").is_displayed())
    assert not is_shown(browser)
    assert browser.current_url == address

    one(browser, "#menu summary").click()
    browser.find_element(By.LINK_TEXT, "Secret access log").click()
    wait(browser).until(expect.title_is("Secret access log · gloamy tasks"))
    [row] = every(browser, ".list tbody tr")
    assert [one(row, ".title").text, "hidden" in row.text] == ["cli", True]


def test_open_pages_hide_secrets_on_expiry(browser: webdriver.Chrome, site: Site):
    """Three windows stay open: a page with JavaScript, one without it, and a page of raw text."""
    add_thread(site)
    show_secrets(browser, site)
    with_script = browser.current_window_handle
    browser.switch_to.new_window("window")
    allow_script(browser, False)
    without_script = browser.current_window_handle
    browser.switch_to.new_window("window")
    text = browser.current_window_handle

    def open_all() -> bool:
        visible = []
        for window in (with_script, without_script):
            browser.switch_to.window(window)
            open_thread(browser, site)
            visible.append(is_shown(browser))
        browser.switch_to.window(text)
        browser.get(f"{site.origin}/thread/raw/?id=cli")
        browser.execute_script(AS_LOADED)
        return all(visible)

    for seconds in (3, 10, 60):  # a busy machine may need more time to open all three pages
        end_in(site, seconds)
        if open_all():
            break

    wait(browser, 90).until(expect.title_is(""))
    for window in (with_script, without_script):
        browser.switch_to.window(window)
        wait(browser, 90).until(lambda b: one(b, "main") and not is_shown(b))


def test_hiding_secrets_updates_other_windows(browser: webdriver.Chrome, site: Site):
    add_thread(site, "running")
    show_secrets(browser, site)
    browser.execute_script(AS_LOADED)
    first = browser.current_window_handle
    browser.switch_to.new_window("window")
    open_thread(browser, site)
    button(browser, "hide").click()
    wait(browser).until(lambda b: button(b, "show"))

    browser.switch_to.window(first)

    wait(browser).until(expect.title_is("hello · gloamy tasks"))
    assert not is_shown(browser)


def test_masked_page_reloads_before_adding_unmasked_messages(browser: webdriver.Chrome, site: Site):
    add_thread(site, messages=500)
    open_thread(browser, site)
    browser.execute_script("fetch = () => new Promise(() => {})")  # as if polls took long
    first = browser.current_window_handle
    browser.switch_to.new_window("window")
    show_secrets(browser, site)

    browser.switch_to.window(first)
    assert every(browser, NOTICE) == []
    browser.execute_script("document.querySelector('#entries > .later').scrollIntoView()")

    wait(browser).until(is_shown)


def test_pages_are_accessible_and_fit_every_screen(browser: webdriver.Chrome, site: Site):
    add_thread(site)
    for width, dark in LOOKS:
        look(browser, width=width, dark=dark)
        open_thread(browser, site)
        assert accessibility_problems(browser) == []
        follow(browser, button(browser, "show"))
        assert is_shown(browser)
        assert problems(browser) == []
        browser.get(f"{site.origin}/secrets/")
        assert problems(browser) == []
        open_thread(browser, site)
        follow(browser, button(browser, "hide"))
        assert not is_shown(browser)
