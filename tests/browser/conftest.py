"""One server and one Chromium, shared by all browser tests in a process and reset for each test."""

import shutil
from collections.abc import Iterator

import pytest
from pytest_django.plugin import DjangoDbBlocker
from selenium import webdriver

from tests.browser.pages import allow_script, look, sign_in, strange_errors, strange_requests
from tests.browser.site import WORKSPACE_NAME, Site
from tests.support.factories import skip
from tests.support.server import Server

# The first is the same engine without the parts that only a visible window needs: twice as fast.
PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
MISSING = "needs Chromium and its driver: apt-get install chromium-headless-shell chromium-driver"
ARGUMENTS = (
    "headless=new",
    "no-sandbox",  # the sandbox does not work for root, and the tests only open trusted pages
    "disable-gpu",
    "disable-software-rasterizer",
    "disable-extensions",
    "disable-site-isolation-trials",
    "disable-quic",
    "disable-dev-shm-usage",
    "no-first-run",
    "disable-background-networking",
    "disable-component-update",
    "disable-sync",
    "window-size=1400,1000",
)
# This script runs before a page's own scripts, and logs calls by injected payloads as errors.
# The script also logs CSP violations, and makes two kinds of timers run about ten times as fast:
# those that pages poll with, and htmx's 200 ms timers for visibility checks.
BEFORE_PAGE = """
    const report = (what) => console.error(`SENTINEL ${what} ${location.href}`);
    for (const name of ["pwned", "alert", "confirm", "prompt", "print", "open"]) {
      Object.defineProperty(window, name, { value: () => report(name) });
    }
    addEventListener("securitypolicyviolation",
      (event) => report(`${event.effectiveDirective} ${event.blockedURI}`), true);
    addEventListener("unhandledrejection", (event) => report(`rejection ${event.reason}`));

    window.gloamyIntervals = { POLL_MS: 210, SPREAD_MS: 10 };
    for (const name of ["setTimeout", "setInterval"]) {
      const original = window[name];
      window[name] = (act, delay, ...rest) => original(act, delay === 200 ? 20 : delay, ...rest);
    }
"""


@pytest.fixture(scope="session")
def chromium() -> Iterator[webdriver.Chrome]:
    """A headless Chromium with a new profile; its "performance" log records all requests."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        skip(MISSING)
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in ARGUMENTS:
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    network_only = {"enableNetwork": True, "enablePage": False}
    options.add_experimental_option("perfLoggingPrefs", network_only)
    chromium = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        chromium.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": BEFORE_PAGE})
        yield chromium
    finally:
        chromium.quit()


@pytest.fixture(scope="session")
def running_site(
    tmp_path_factory: pytest.TempPathFactory, django_db_blocker: DjangoDbBlocker
) -> Iterator[Site]:
    with Server.on_free_port(tmp_path_factory.mktemp("server")) as server:
        server.workspace = server.folder / WORKSPACE_NAME
        server.store_file = server.workspace / "state" / "tasks.db"
        server.store_file.parent.mkdir(parents=True)
        server.start()
        server.link()  # this waits until the server is ready
        yield Site(server, django_db_blocker)


@pytest.fixture
def site(running_site: Site) -> Site:
    """The running server, with an empty store."""
    running_site.restore(running_site.new)
    return running_site


@pytest.fixture
def bare_browser(chromium: webdriver.Chrome, running_site: Site) -> Iterator[webdriver.Chrome]:
    """The browser without cookies. Its only window shows a page that makes no requests."""
    # about:blank would be slower, because Chromium starts another process for it
    chromium.get(f"{running_site.origin}/static/tasks/icon.svg")
    chromium.execute_cdp_cmd("Network.clearBrowserCookies", {})
    chromium.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "deny"})
    chromium.get_log("browser")
    chromium.get_log("performance")
    yield chromium
    first, *others = chromium.window_handles
    for window in others:
        chromium.switch_to.window(window)
        chromium.close()
    chromium.switch_to.window(first)
    allow_script(chromium, True)
    chromium.implicitly_wait(0)


@pytest.fixture
def browser(bare_browser: webdriver.Chrome, site: Site) -> Iterator[webdriver.Chrome]:
    """A signed-in operator's browser. Script errors and requests to other sites fail the test."""
    everything = {"origin": site.origin, "storageTypes": "local_storage"}
    bare_browser.execute_cdp_cmd("Storage.clearDataForOrigin", everything)
    bare_browser.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": ""})
    sign_in(bare_browser, site)
    look(bare_browser)
    yield bare_browser
    assert (strange_errors(bare_browser), strange_requests(bare_browser, site)) == ([], [])
