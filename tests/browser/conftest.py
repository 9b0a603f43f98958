import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium import webdriver

from tests.support.factories import skip

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
HOW = "needs Chromium and its driver: apt-get install chromium chromium-driver"


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    with opened_browser(tmp_path) as browser:
        yield browser


@contextmanager
def opened_browser(folder: Path, *, with_requests: bool = False) -> Iterator[webdriver.Chrome]:
    """A headless Chromium with a profile of its own; its log "performance" has all requests."""
    program = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        skip(HOW)
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in (
        "headless=new",
        "no-sandbox",  # root has none, and the pages are our own
        "disable-gpu",
        "disable-dev-shm-usage",
        "no-first-run",
        "disable-background-networking",
        "disable-component-update",
        "disable-sync",
        f"user-data-dir={folder / 'profile'}",
        "window-size=1400,1000",
    ):
        options.add_argument(f"--{argument}")
    logs = {"browser": "ALL"} | ({"performance": "ALL"} if with_requests else {})
    options.set_capability("goog:loggingPrefs", logs)
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield opened
    opened.quit()
