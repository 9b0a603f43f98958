"""Tests in a real browser that pages can be read: direction, contrast, and sizes of targets."""

from urllib.parse import quote

import pytest
from selenium import webdriver

from tasks.service import record_checkpoint
from tasks.store.workspace import store_connection
from tests.browser.pages import look, problems
from tests.browser.site import Site
from tests.support import payload_store
from tests.support.factories import history, item, update

HEBREW = "שלום עולם"
# Returns the elements with a text in Hebrew whose direction does not follow from the text.
LAID_OUT_WRONG = """
    const isHebrew = (text) => /[\\u0590-\\u05ff]/.test(text);
    const isPlain = (element) => Boolean(element) &&
      (getComputedStyle(element).unicodeBidi === "plaintext" || isPlain(element.parentElement));
    const ownTexts = (element) => element.matches("input:not([type=hidden])") ? [element.value] :
      [...element.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE).map((t) => t.data);
    return [...document.querySelectorAll("body *:not(svg *, time)")]
      .filter((element) => ownTexts(element).some(isHebrew))
      .filter((element) => !element.closest("[dir=auto]") && !isPlain(element))
      .map((element) => element.outerHTML.slice(0, 200));
"""


def test_right_to_left_texts_have_their_direction(browser: webdriver.Chrome, site: Site):
    with site.databases():
        payload_store.fill_store(store_connection(), ["", HEBREW, f"{HEBREW} 2", f"{HEBREW} 3"])
        payload_store.fill_site(HEBREW, [HEBREW])
    [(clearing,)] = site.query("SELECT max(id) FROM archive_clearing", "default")
    text = quote(HEBREW)
    pages = ["/", f"/?q={text}", f"/?channel={text}", "/cleared/", f"/cleared/{clearing}/"]
    pages += ["/secrets/", f"/thread/clear/?id={text}", "/admin/tasks/taskrecord/"]
    pages += [f"/thread/?id={text}&show={tab}" for tab in ("", "checkpoints", "resume", "raw")]
    pages += [f"/thread/?id={text}&find={text}", "/admin/tasks/taskcheckpoint/1/change/"]

    wrong = []
    for page in pages:
        browser.get(site.origin + page)
        wrong += [f"{page}: {html}" for html in browser.execute_script(LAID_OUT_WRONG)]

    assert wrong == []
    browser.get(f"{site.origin}/thread/?id={text}")
    assert (
        browser.execute_script("return getComputedStyle(document.querySelector('h1')).direction")
        == "rtl"
    )


LONG_TITLE = "Move every service of the shop to the new cluster"
IS_CUT = """
    const title = document.querySelector(".list .title");
    return title.scrollWidth > title.clientWidth || title.scrollHeight > title.clientHeight;
"""
# Returns the contrast of the bars, or their outlines, with the panel they are on, lowest first.
BAR_CONTRASTS = """
    const luminance = (color) => color.match(/[\\d.]+/g).slice(0, 3).map((n) => n / 255)
      .map((n) => n <= 0.04045 ? n / 12.92 : ((n + 0.055) / 1.055) ** 2.4)
      .reduce((sum, n, index) => sum + n * [0.2126, 0.7152, 0.0722][index], 0);
    const contrast = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const panel = luminance(getComputedStyle(document.querySelector("#timeline")).backgroundColor);
    return [...document.querySelectorAll(".step-bar > rect")].map((bar) => {
      const { fill, stroke } = getComputedStyle(bar);
      return Math.max(...[fill, stroke].map((color) => contrast(panel, luminance(color))));
    }).sort((a, b) => a - b);
"""
UNDERLINED = """
    const canvas = getComputedStyle(document.body).backgroundColor;
    return [...document.querySelectorAll(".tabs a")].filter(
      (tab) => getComputedStyle(tab).borderBottomColor !== canvas).map((tab) => tab.innerText);
"""


@pytest.fixture
def page(browser: webdriver.Chrome, site: Site) -> webdriver.Chrome:
    """The browser, with a thread that has a step of each outcome."""
    with site.databases():
        for number, items in enumerate([[item()], [item(success=False)], []], 1):
            messages = history(LONG_TITLE)
            record_checkpoint(update(step_index=number, items=items, execution_history=messages))
    # steps that are much shorter than others would share a bar
    site.execute("UPDATE task_records SET created_at = '2026-03-01T00:00:00+00:00'")
    site.execute(
        "UPDATE task_checkpoints SET created_at = '2026-03-01T00:00:0' || step_index || '+00:00'"
    )
    return browser


def test_titles_fit_a_tablet(page: webdriver.Chrome, site: Site):
    page.get(site.origin)
    for width in (700, 768):
        look(page, width=width)
        assert (width, page.execute_script(IS_CUT), problems(page)) == (width, False, [])


def test_bars_are_seen_against_their_panel_and_one_tab_is_underlined(
    page: webdriver.Chrome, site: Site
):
    page.get(f"{site.origin}/thread/?id=telegram_42")
    for dark in (False, True):
        look(page, dark=dark)
        contrasts = page.execute_script(BAR_CONTRASTS)
        assert len(contrasts) == 3 and contrasts[0] >= 3, (dark, contrasts)

    forced = {"name": "forced-colors", "value": "active"}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [forced]})
    assert len(page.execute_script(UNDERLINED)) == 1
