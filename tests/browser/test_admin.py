"""Tests of the admin in a real browser: its lists, its detail pages and its clearing links."""

import pytest
from django.contrib.auth.models import Group
from selenium import webdriver
from selenium.webdriver.common.by import By

from tasks import demo
from tasks.models import TaskRecord
from tests.browser.pages import LOOKS, every, follow, look, one, problems, texts, wait
from tests.browser.site import Site


def page_problems(browser: webdriver.Chrome) -> list[str]:
    """Check the page in each of LOOKS, restore the default look, and return the problems found."""
    lines = []
    for width, dark in LOOKS:
        look(browser, width=width, dark=dark)
        lines += [f"{width} {dark}: {line}" for line in problems(browser)]
    look(browser)
    return lines + [entry["message"] for entry in browser.get_log("browser")]


def click(browser: webdriver.Chrome, text: str) -> None:
    follow(browser, browser.find_element(By.XPATH, f"//a[normalize-space()='{text}']"))


@pytest.fixture
def admin(browser: webdriver.Chrome, site: Site) -> webdriver.Chrome:
    """The admin's home page, with ten demo threads in the store."""
    with site.databases():
        demo.fill()
        failed = TaskRecord.objects.filter(status="failed").values_list("pk", flat=True)[:3]
        others = TaskRecord.objects.exclude(status="failed").values_list("pk", flat=True)[:7]
        TaskRecord.objects.exclude(pk__in=[*failed, *others]).delete()
    browser.get(site.origin)
    click(browser, "Admin")
    return browser


def test_admin_can_be_browsed_and_opens_the_clear_page(admin: webdriver.Chrome):
    assert page_problems(admin) == []

    click(admin, "Checkpoints")
    assert page_problems(admin) == []

    click(admin, "Home")
    click(admin, "Tasks")
    count = len(every(admin, "#result_list tbody tr"))
    assert (page_problems(admin), count > 3) == ([], True)

    click(admin, "failed")
    failed = texts(admin, "#result_list tbody tr .badge")
    assert (set(failed), 0 < len(failed) < count) == ({"failed"}, True)

    task = one(admin, "#result_list tbody th a").text
    click(admin, task)
    assert one(admin, "#message-1")
    assert page_problems(admin) == []
    follow(admin, admin.find_element(By.PARTIAL_LINK_TEXT, "Checkpoints"))
    step = wait(admin).until(lambda b: one(b, ".steps-table tbody a"))
    assert page_problems(admin) == []
    follow(admin, step)
    wait(admin).until(lambda b: one(b, ".entries .step"))
    assert page_problems(admin) == []
    click(admin, "Open thread")
    one(admin, "#more > summary").click()
    click(admin, "Open in admin")
    assert one(admin, "h1").text == task

    click(admin, "History")
    assert page_problems(admin) == []

    click(admin, "Tasks")
    one(admin, "#result_list .action-select").click()
    assert one(admin, ".action-counter").text.startswith("1 of")
    follow(admin, one(admin, ".actions button"))
    assert "/cleared/" in admin.current_url
    assert "Clear" in one(admin, "h1").text
    assert page_problems(admin) == []


def test_buttons_of_a_form_are_not_cut_off(browser: webdriver.Chrome, site: Site):
    with site.databases():
        group = Group.objects.get(name="Viewers")
    browser.get(f"{site.origin}/admin/auth/group/{group.pk}/change/")

    for width, dark in LOOKS:
        look(browser, width=width, dark=dark)
        assert (
            browser.execute_script(
                "return [...document.querySelectorAll('.submit-row > *')]"
                ".filter((e) => e.scrollHeight > e.offsetHeight || e.offsetHeight < 24)"
                ".map((e) => e.outerHTML)"
            )
            == []
        )
        assert one(browser, ".deletelink").is_displayed()
