"""Tests of the overview and the errors in a real browser: ways to the list, and looks."""

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from tasks import service
from tasks.service import TaskStatus
from tests.browser.pages import LOOKS, every, follow, look, one, problems, texts
from tests.browser.site import Site
from tests.support.factories import item, snapshot, update

STATUSES = (TaskStatus.FAILED, TaskStatus.COMPLETED, TaskStatus.TIMED_OUT, TaskStatus.RUNNING)


@pytest.fixture
def page(browser: webdriver.Chrome, site: Site) -> webdriver.Chrome:
    with site.databases():
        for number in range(8):
            names = {"task_id": f"t{number}", "thread_id": f"t{number}"}
            output = f"cannot open '/tmp/{number}'"
            calls = [item(success=False, output=output), item(tool_name="fetch")]
            service.record_checkpoint(update(**names, items=calls))
            status = STATUSES[number % len(STATUSES)]
            service.save_snapshot(
                snapshot(**names, status=status, last_error=f"disk {number} full")
            )
    browser.get(f"{site.origin}/overview/")
    while every(browser, ".notice.late"):  # not all threads have been read yet
        browser.refresh()
    return browser


def listed(page: webdriver.Chrome) -> int:
    assert page.title.endswith("Threads · gloamy tasks")
    return len(every(page, ".list tbody tr"))


def test_overview_leads_to_threads_and_errors(page: webdriver.Chrome):
    assert "2 failed" in one(page, ".needs").text.replace("\n", " ")
    follow(page, one(page, ".needs .status-failed a"))
    assert listed(page) == 2
    page.back()
    follow(page, one(page, ".chart a[href*=completed]"))
    assert listed(page) == 2
    page.back()
    one(page, ".activity summary").click()
    follow(page, page.find_elements(By.CSS_SELECTOR, ".activity td a")[0])
    assert listed(page) == 8
    page.back()
    follow(page, page.find_element(By.PARTIAL_LINK_TEXT, "cannot open"))
    assert "cannot open" in one(page, "h1").text
    follow(page, page.find_element(By.PARTIAL_LINK_TEXT, "List all 8"))
    assert listed(page) == 8
    assert texts(page, ".filters a.chip") == ["error cannot open <text>"]


def test_filters_stay_in_the_address(page: webdriver.Chrome, site: Site):
    page.get(f"{site.origin}/errors/")
    follow(page, one(page, "select[name=tool] option[value=shell]"))
    assert page.current_url == f"{site.origin}/errors/?tool=shell"
    assert texts(page, ".shape") == ["cannot open text"]


def test_every_page_is_accessible(page: webdriver.Chrome, site: Site):
    shape = page.find_element(By.PARTIAL_LINK_TEXT, "cannot open").get_attribute("href")
    pages = ["/overview/", "/overview/?channel=none", "/overview/?period=24h&q=disk"]
    pages += ["/errors/", "/errors/?order=last", "/errors/?channel=none", "/errors/?error=1"]
    pages += ["/actions/", "/actions/?id=t0&kind=command", "/actions/?kind=message"]
    for width, dark in LOOKS:
        look(page, width=width, dark=dark)
        for url in [*(f"{site.origin}{path}" for path in pages), str(shape)]:
            page.get(url)
            for details in every(page, "main details"):
                page.execute_script("arguments[0].open = true", details)
            assert (url, width, dark, problems(page)) == (url, width, dark, [])
            row = one(page, ".top nav").rect
            current = one(page, ".top nav [aria-current]").rect
            assert row["x"] - 1 <= current["x"]
            assert current["x"] + current["width"] <= row["x"] + row["width"] + 1
