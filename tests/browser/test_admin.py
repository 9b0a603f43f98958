"""The admin in a real browser: its lists, a task and a checkpoint, and the way to clearing."""

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support import expected_conditions as expect
from selenium.webdriver.support.wait import WebDriverWait

from tests.browser.pages import accessibility_problems, is_scrolled_sideways, look, sign_in
from tests.support.server import Server

LOOKS = [(1400, False), (1400, True), (390, False), (390, True)]


def problems(browser: webdriver.Chrome) -> list[str]:
    """What is wrong with the page in any look; what the browser complained of comes last."""
    found = []
    for width, dark in LOOKS:
        look(browser, width=width, dark=dark)
        found += [f"{width} {dark}: {line}" for line in accessibility_problems(browser)]
        if is_scrolled_sideways(browser):
            found.append(f"{width}: scrolled sideways")
    look(browser)
    return found + [entry["message"] for entry in browser.get_log("browser")]


def click(browser: webdriver.Chrome, text: str) -> None:
    before = browser.find_element(By.TAG_NAME, "html")
    browser.find_element(By.XPATH, f"//a[normalize-space()='{text}']").click()
    WebDriverWait(browser, 20).until(expect.staleness_of(before))


@pytest.fixture
def admin(server: Server, browser: webdriver.Chrome) -> webdriver.Chrome:
    server.start("--demo")
    sign_in(browser, server.link())
    click(browser, "Admin")
    return browser


def test_admin_is_looked_through_and_clears(admin: webdriver.Chrome):
    assert problems(admin) == []

    click(admin, "Checkpoints")
    assert problems(admin) == []

    click(admin, "Home")
    click(admin, "Tasks")
    count = len(admin.find_elements(By.CSS_SELECTOR, "#result_list tbody tr"))
    assert (problems(admin), count > 3) == ([], True)

    click(admin, "failed")
    failed = admin.find_elements(By.CSS_SELECTOR, "#result_list tbody tr")
    assert 0 < len(failed) < count
    assert {row.find_element(By.CSS_SELECTOR, ".badge").text for row in failed} == {"failed"}
    assert problems(admin) == []

    shown = failed[0].find_element(By.CSS_SELECTOR, "th a").text
    click(admin, shown)
    assert admin.find_element(By.CSS_SELECTOR, "#message-1")
    assert problems(admin) == []
    admin.find_element(By.PARTIAL_LINK_TEXT, "Checkpoints").click()
    step = WebDriverWait(admin, 20).until(
        expect.presence_of_element_located((By.CSS_SELECTOR, ".steps-table tbody a"))
    )
    assert problems(admin) == []
    step.click()
    WebDriverWait(admin, 20).until(
        expect.presence_of_element_located((By.CSS_SELECTOR, ".entries .step"))
    )
    assert problems(admin) == []
    click(admin, "Open the thread")
    click(admin, "Open in the admin")
    assert admin.find_element(By.TAG_NAME, "h1").text == shown

    click(admin, "History")
    assert problems(admin) == []

    click(admin, "Tasks")
    admin.find_element(By.CSS_SELECTOR, "#result_list .action-select").click()
    assert admin.find_element(By.CSS_SELECTOR, ".action-counter").text.startswith("1 of")
    admin.find_element(By.CSS_SELECTOR, ".actions button").click()
    WebDriverWait(admin, 20).until(expect.url_contains("/cleared/"))
    assert "Clear" in admin.find_element(By.TAG_NAME, "h1").text
    assert problems(admin) == []
