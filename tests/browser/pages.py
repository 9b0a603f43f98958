"""Selenium helpers for the browser tests."""

import json
from pathlib import Path

from selenium import webdriver
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from tests.browser.site import Site

LOOKS = [(1400, False), (390, True)]  # (width, dark): covers each width and each theme once
AXE = Path(__file__).parent / "vendor" / "axe.min.js"
RUN_AXE = """
    const done = arguments[arguments.length - 1];
    const rules = {"target-size": {enabled: true}};
    axe.run(document, {resultTypes: ["violations"], preload: false, rules}).then(
        (results) => done(results.violations.map((rule) =>
            `${rule.id}: ${rule.help}: ${rule.nodes.map((node) => node.html.slice(0, 200))}`)),
        (error) => done([String(error)]));
"""
IS_SCROLLED_SIDEWAYS = """
    return document.documentElement.scrollWidth > document.documentElement.clientWidth"""
TEXTS = """
    const elements = [...document.querySelectorAll(arguments[0])];
    return elements.map((element) => element.innerText.trim())"""
IS_IN_VIEW = """
    const box = document.querySelector(arguments[0])?.getBoundingClientRect();
    return Boolean(box) && box.top < innerHeight && box.bottom > 0"""


def sign_in(browser: webdriver.Chrome, site: Site, user: str = "operator") -> None:
    cookie = {"url": site.origin, "name": "gloamy_session", "value": site.sessions[user]}
    browser.execute_cdp_cmd("Network.setCookie", cookie)


def wait(browser: webdriver.Chrome, seconds: float = 60) -> WebDriverWait[webdriver.Chrome]:
    """Return a WebDriverWait whose default timeout is long enough for a busy machine."""
    gone = [NoSuchElementException, StaleElementReferenceException]  # raised while the page changes
    return WebDriverWait(browser, seconds, poll_frequency=0.03, ignored_exceptions=gone)


def one(browser: webdriver.Chrome | WebElement, selector: str) -> WebElement:
    return browser.find_element(By.CSS_SELECTOR, selector)


def every(browser: webdriver.Chrome, selector: str) -> list[WebElement]:
    return browser.find_elements(By.CSS_SELECTOR, selector)


def texts(browser: webdriver.Chrome, selector: str) -> list[str]:
    """Return the visible text of each matching element, using a single script call for speed."""
    read: list[str] = browser.execute_script(TEXTS, selector)
    return read


def follow(browser: webdriver.Chrome, element: WebElement) -> None:
    """Click an element that leads to another page, and wait until that page has loaded."""
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
    before = browser.find_element(By.TAG_NAME, "html")
    element.click()
    wait(browser).until(lambda b: b.find_element(By.TAG_NAME, "html") != before)
    wait(browser).until(lambda b: b.execute_script("return document.readyState") == "complete")


def press(browser: webdriver.Chrome, *keys: str) -> None:
    """Press keys one after another, each in the element that has focus at that moment."""
    for key in keys:
        browser.switch_to.active_element.send_keys(key)


def look(browser: webdriver.Chrome, *, width: int = 1400, dark: bool = False) -> None:
    """Set the page width, and emulate a dark or light system theme."""
    theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": [theme]})
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def allow_script(browser: webdriver.Chrome, allowed: bool) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not allowed})


def be_offline(browser: webdriver.Chrome, offline: bool) -> None:
    browser.execute_cdp_cmd("Network.enable", {})
    limits = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", {"offline": offline} | limits)


def is_in_view(browser: webdriver.Chrome, selector: str) -> bool:
    return bool(browser.execute_script(IS_IN_VIEW, selector))


def accessibility_problems(browser: webdriver.Chrome) -> list[str]:
    """Return the problems that axe-core finds on the current page, one line per rule."""
    if not browser.execute_script("return typeof axe === 'object'"):
        browser.execute_script(AXE.read_text(encoding="utf-8"))
    problems: list[str] = browser.execute_async_script(RUN_AXE)
    return problems


def problems(browser: webdriver.Chrome) -> list[str]:
    """Return the current page's problems: those that axe-core finds, and horizontal overflow."""
    findings = accessibility_problems(browser)
    if browser.execute_script(IS_SCROLLED_SIDEWAYS):
        findings.append("the page is wider than the window")
    return findings


def strange_errors(browser: webdriver.Chrome) -> list[str]:
    """Return script errors, CSP violations, and calls made by injected payloads."""
    entries = browser.get_log("browser")
    return [
        entry["message"]
        for entry in entries
        if entry["source"] in ("security", "javascript") or "SENTINEL" in entry["message"]
    ]


def strange_requests(browser: webdriver.Chrome, site: Site) -> list[str]:
    """Return the URLs outside the site that the browser requested."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [event for event in events if event["method"] == "Network.requestWillBeSent"]
    urls = [event["params"]["request"]["url"] for event in sent]
    # the browser loads its own icons from "data:" URLs
    return [url for url in urls if not url.startswith((f"{site.origin}/", "data:", "about:"))]
