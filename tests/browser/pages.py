"""What tests of pages ask of a browser, beside what selenium has for it."""

from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support import expected_conditions as expect
from selenium.webdriver.support.wait import WebDriverWait

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
RUN_AXE = """
    const done = arguments[arguments.length - 1];
    axe.run(document, {resultTypes: ["violations"]}).then(
        (found) => done(found.violations.map((rule) =>
            `${rule.id}: ${rule.help}: ${rule.nodes.map((node) => node.html.slice(0, 200))}`)),
        (error) => done([String(error)]));
"""


def accessibility_problems(browser: webdriver.Chrome) -> list[str]:
    """What axe-core finds wrong with the page as it is now, a line for each rule."""
    browser.execute_script(AXE.read_text(encoding="utf-8"))
    found: list[str] = browser.execute_async_script(RUN_AXE)
    return found


def sign_in(browser: webdriver.Chrome, link: str) -> None:
    def button() -> list[WebElement]:
        browser.get(link)  # again where the server does not listen yet
        return browser.find_elements(By.XPATH, "//button[text()='Sign in']")

    [found] = WebDriverWait(browser, 20).until(lambda _: button())
    found.click()
    WebDriverWait(browser, 20).until(expect.title_is("Threads · gloamy tasks"))


def look(browser: webdriver.Chrome, *, width: int = 1400, dark: bool = False) -> None:
    """Make the page so wide, and the system's theme dark or light."""
    theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [theme]})
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def allow_script(browser: webdriver.Chrome, allowed: bool) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not allowed})


def is_scrolled_sideways(browser: webdriver.Chrome) -> bool:
    """Whether the page is wider than the window."""
    wide: bool = browser.execute_script(
        "return document.documentElement.scrollWidth > document.documentElement.clientWidth"
    )
    return wide
