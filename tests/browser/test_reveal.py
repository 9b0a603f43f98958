"""Showing a thread's secrets in a real browser: asked for, seen to be shown, hidden, over."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support import expected_conditions as expect
from selenium.webdriver.support.wait import WebDriverWait

from tests.browser.pages import (
    accessibility_problems,
    allow_script,
    is_scrolled_sideways,
    look,
    sign_in,
)
from tests.support.server import Server

INSERT = """
    INSERT INTO task_records VALUES (
        'cli', 'cli', 'cli', 'openai', 'gpt-test', :status, :history, '[]', NULL, 0, NULL, NULL,
        '2026-01-01T00:00:00+00:00', '2026-01-02T00:00:00+00:00', NULL)"""
# Sets the end of what is shown to some seconds from now, in all sessions.
ALMOST_OVER = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "gloamy_site.settings"
import django
django.setup()
from datetime import timedelta
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.utils import timezone
from tasks.secrets import reveal
for row in Session.objects.all():
    session = SessionStore(row.pk)
    if reveal.SESSION_KEY in session:
        session[reveal.SESSION_KEY]["until"] = (timezone.now() + timedelta(seconds=4)).isoformat()
        session.modified = True
        session.save()
"""
LOOKS = [(1400, False), (1400, True), (390, False), (390, True)]
NOTICE = (By.ID, "secrets-shown")


def wait(browser: webdriver.Chrome) -> WebDriverWait[webdriver.Chrome]:
    return WebDriverWait(browser, 20)


def add_thread(server: Server, status: str = "failed", messages: int = 1) -> None:
    said = [{"role": "user", "content": "hello"}] * messages
    history = json.dumps(said, separators=(",", ":"))
    with closing(sqlite3.connect(server.store_file)) as connection, connection:
        connection.execute(INSERT, {"status": status, "history": history})


def make_almost_over(server: Server) -> None:
    site = f"sqlite:///{server.folder}/site.sqlite3"
    own = {"SITE_DATABASE_URL": site, "GLOAMY_WORKSPACE": str(server.workspace)}
    environment = os.environ | own | {"SECRET_KEY": "of the tests"}
    subprocess.run([sys.executable, "-c", ALMOST_OVER], env=environment, check=True)


def button(browser: webdriver.Chrome, do: str) -> WebElement:
    found = browser.find_element(By.CSS_SELECTOR, f"button[name=do][value={do}]")
    if not found.is_displayed():  # on a phone the panel is closed
        browser.find_element(By.CSS_SELECTOR, "#card-secrets summary").click()
    return found


@pytest.fixture
def page(browser: webdriver.Chrome, server: Server) -> webdriver.Chrome:
    server.start()
    sign_in(browser, server.link())
    return browser


def open_thread(browser: webdriver.Chrome, server: Server, query: str = "") -> str:
    address = f"http://127.0.0.1:{server.port}/thread/?id=cli{query}"
    browser.get(address)
    return address


def show_secrets(browser: webdriver.Chrome, server: Server) -> None:
    open_thread(browser, server)
    button(browser, "show").click()
    wait(browser).until(expect.visibility_of_element_located(NOTICE))


@pytest.mark.parametrize("has_script", [True, False])
def test_secrets_are_shown_and_hidden(page: webdriver.Chrome, server: Server, has_script: bool):
    add_thread(server)
    allow_script(page, has_script)
    address = open_thread(page, server, "&show=resume")

    button(page, "show").click()
    wait(page).until(expect.visibility_of_element_located(NOTICE))
    assert page.current_url == address
    assert page.find_element(*NOTICE).text.startswith("Secrets are shown until ")

    button(page, "hide").click()
    wait(page).until(expect.invisibility_of_element_located(NOTICE))
    assert page.current_url == address
    assert button(page, "show").is_displayed()

    page.find_element(By.CSS_SELECTOR, "#menu summary").click()
    page.find_element(By.LINK_TEXT, "Who saw secrets").click()
    wait(page).until(expect.title_is("Who saw secrets · gloamy tasks"))
    [row] = page.find_elements(By.CSS_SELECTOR, ".list tbody tr")
    assert [row.find_element(By.CSS_SELECTOR, ".title").text, "hidden" in row.text] == ["cli", True]


@pytest.mark.parametrize("has_script", [True, False])
def test_page_that_is_left_open_hides_them_by_itself(
    page: webdriver.Chrome, server: Server, has_script: bool
):
    add_thread(server)
    show_secrets(page, server)
    make_almost_over(server)
    allow_script(page, has_script)

    page.refresh()
    assert page.find_element(*NOTICE).is_displayed()

    wait(page).until(expect.invisibility_of_element_located(NOTICE))
    assert [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_what_one_window_hides_is_gone_from_the_page_of_a_run_in_another(
    page: webdriver.Chrome, server: Server
):
    add_thread(server, "running")
    show_secrets(page, server)
    page.execute_script("document.title = 'as it was loaded'")
    first = page.current_window_handle
    page.switch_to.new_window("window")
    open_thread(page, server)
    button(page, "hide").click()
    wait(page).until(expect.invisibility_of_element_located(NOTICE))

    page.switch_to.window(first)

    wait(page).until(expect.invisibility_of_element_located(NOTICE))
    wait(page).until(expect.title_is("hello · gloamy tasks"))


def test_later_piece_with_secrets_comes_into_no_page_without(
    page: webdriver.Chrome, server: Server
):
    add_thread(server, messages=500)
    open_thread(page, server)
    first = page.current_window_handle
    page.switch_to.new_window("window")
    show_secrets(page, server)

    page.switch_to.window(first)
    assert page.find_elements(*NOTICE) == []
    page.execute_script("document.querySelector('#entries > .later').scrollIntoView()")

    wait(page).until(expect.presence_of_element_located(NOTICE))


def test_text_that_is_left_open_is_loaded_again(page: webdriver.Chrome, server: Server):
    add_thread(server)
    show_secrets(page, server)
    make_almost_over(server)

    page.get(f"http://127.0.0.1:{server.port}/thread/raw/?id=cli")
    page.execute_script("document.title = 'as it was loaded'")

    wait(page).until(expect.title_is(""))


def test_pages_are_accessible_and_fit_every_screen(page: webdriver.Chrome, server: Server):
    add_thread(server)
    for width, dark in LOOKS:
        look(page, width=width, dark=dark)
        open_thread(page, server)
        assert accessibility_problems(page) == []
        button(page, "show").click()
        wait(page).until(expect.visibility_of_element_located(NOTICE))
        assert accessibility_problems(page) == []
        assert not is_scrolled_sideways(page)
        page.get(f"http://127.0.0.1:{server.port}/secrets/")
        assert accessibility_problems(page) == []
        assert not is_scrolled_sideways(page)
        open_thread(page, server)
        button(page, "hide").click()
        wait(page).until(expect.invisibility_of_element_located(NOTICE))
