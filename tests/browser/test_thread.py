"""The thread page in a real browser: the picture, the tabs, finding, following, keys, phones."""

import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from tasks.fields import to_text
from tests.browser.conftest import opened_browser
from tests.browser.pages import (
    accessibility_problems,
    allow_script,
    is_scrolled_sideways,
    look,
    sign_in,
)
from tests.support.processes import ROOT
from tests.support.server import Server

NOW = datetime.now(UTC)
INSERT_TASK = """
    INSERT INTO task_records VALUES (
        :id, :thread, 'telegram', 'openai', 'gpt-test', :status, :history, :resumable,
        '- Failed steps: file_edit', :count, :response, :error, :created, :updated, :completed)"""
INSERT_CHECKPOINT = """
    INSERT INTO task_checkpoints (task_id, step_index, checkpoint_note, items_json, created_at)
    VALUES (:id, :step, :note, :items, :at)"""
# One more checkpoint, as an agent writes it: with the verbs, in a process of its own.
WRITE = """
import sys
from gloamy_site import connect
connect(sys.argv[1])
from tasks.service import *
history = [ChatMessage("user", f"message {n}") for n in range(1, int(sys.argv[4]) + 1)]
record_checkpoint(TaskCheckpointUpdate(
    task_id=sys.argv[2], thread_id=sys.argv[2], channel="telegram", provider="openai",
    model="gpt-test", step_index=int(sys.argv[3]), execution_history=history,
    items=[ExecutionCheckpointItem("fresh_tool", {"command": "date"}, True, "today")]))
"""
LOOKS = [(1400, False), (1400, True), (390, False), (390, True)]


def add_thread(
    server: Server,
    name: str,
    steps: int = 12,
    failed: tuple[int, ...] = (),
    messages: int = 4,
    **fields: Any,
) -> None:
    """A thread as gloamy leaves it, with a checkpoint every ten seconds."""
    began = NOW - timedelta(seconds=10 * steps)
    said = [
        {"role": ("user", "assistant")[n % 2 == 0], "content": f"message {n}"}
        for n in range(1, messages + 1)
    ]
    row = {
        "id": name,
        "thread": name,
        "status": "failed",
        "history": json.dumps(said, separators=(",", ":")),
        "resumable": "[]",
        "count": steps,
        "response": None,
        "error": "agent exceeded maximum tool iterations",
        "created": to_text(began),
        "updated": to_text(NOW),
        "completed": to_text(NOW),
    }
    with closing(sqlite3.connect(server.store_file)) as connection, connection:
        connection.execute(INSERT_TASK, row | fields)
        for step in range(1, steps + 1):
            call = {
                "tool_name": ("shell", "file_edit", "file_read")[step % 3],
                "arguments": {"command": f"make target-{step}"},
                "success": step not in failed,
                "output": f"output of step {step}",
            }
            checkpoint = {
                "id": name,
                "step": step,
                "note": f"- step {step}",
                "items": json.dumps([call], separators=(",", ":")),
                "at": to_text(began + timedelta(seconds=10 * step)),
            }
            connection.execute(INSERT_CHECKPOINT, checkpoint)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for all tests here: each fills its store anew."""
    with Server.on_free_port(tmp_path_factory.mktemp("server")) as server:
        server.start()
        yield server


@pytest.fixture(scope="module")
def signed_in(
    server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[webdriver.Chrome]:
    with opened_browser(tmp_path_factory.mktemp("browser")) as browser:
        sign_in(browser, server.link())
        yield browser


@pytest.fixture
def store(server: Server, signed_in: webdriver.Chrome) -> Server:
    """A store with a thread that failed, one that is long, and one that runs."""
    with closing(sqlite3.connect(server.store_file)) as connection, connection:
        connection.execute("DELETE FROM task_checkpoints")
        connection.execute("DELETE FROM task_records")
        connection.execute("DELETE FROM sqlite_sequence")
    resumable = [
        {"role": "user", "content": "Fix the build"},
        {"role": "assistant", "content": 'Yes.<tool_call>{"name":"shell"}</tool_call>'},
    ]
    add_thread(server, "failing", failed=(4, 9))
    add_thread(server, "long", steps=150, failed=(140,), messages=200)
    add_thread(
        server,
        "running",
        steps=3,
        status="running",
        completed=None,
        error=None,
        resumable=json.dumps(resumable, separators=(",", ":")),
    )
    return server


@pytest.fixture
def page(signed_in: webdriver.Chrome, store: Server) -> Iterator[webdriver.Chrome]:
    """A browser that is signed in."""
    look(signed_in)
    allow_script(signed_in, True)
    signed_in.implicitly_wait(0)
    signed_in.get_log("browser")
    yield signed_in
    entries = signed_in.get_log("browser")
    assert [entry for entry in entries if entry["source"] in ("security", "javascript")] == []


def wait(browser: webdriver.Chrome, seconds: float = 20) -> WebDriverWait[webdriver.Chrome]:
    return WebDriverWait(browser, seconds, poll_frequency=0.1)


def show(browser: webdriver.Chrome, store: Server, query: str) -> None:
    browser.get(f"http://127.0.0.1:{store.port}/thread/?{query}")


def one(browser: webdriver.Chrome, selector: str) -> WebElement:
    return browser.find_element(By.CSS_SELECTOR, selector)


def texts(browser: webdriver.Chrome, selector: str) -> list[str]:
    return [found.text for found in browser.find_elements(By.CSS_SELECTOR, selector)]


def bars(browser: webdriver.Chrome, selector: str = ".step-bar") -> dict[str, WebElement]:
    """The bars of the picture by what they stand for."""
    found = browser.find_elements(By.CSS_SELECTOR, selector)
    return {(bar.accessible_name or "").partition(":")[0]: bar for bar in found}


def bar(browser: webdriver.Chrome, name: str) -> WebElement:
    """The bar of this name, which the browser makes up a moment after the page is there."""
    wait(browser).until(lambda _: name in bars(browser))
    return bars(browser)[name]


def press(browser: webdriver.Chrome, *keys: str) -> None:
    one(browser, "body").send_keys(*keys) if browser.execute_script(
        "return document.activeElement === document.body"
    ) else browser.switch_to.active_element.send_keys(*keys)


def here(browser: webdriver.Chrome) -> str:
    """The title of the entry that the page's cursor is at."""
    return (texts(browser, ".message.here .speaker b") or [""])[0]


def is_in_view(browser: webdriver.Chrome, selector: str) -> bool:
    seen: bool = browser.execute_script(
        "const box = document.querySelector(arguments[0])?.getBoundingClientRect();"
        "return Boolean(box) && box.top < innerHeight && box.bottom > 0",
        selector,
    )
    return seen


def write(store: Server, thread_id: str, step: int, messages: int) -> None:
    arguments = (str(store.workspace), thread_id, str(step), str(messages))
    subprocess.run([sys.executable, "-c", WRITE, *arguments], check=True, cwd=ROOT, timeout=60)


def test_bar_of_the_picture_leads_to_its_step(page: webdriver.Chrome, store: Server):
    show(page, store, "id=failing")
    bar(page, "Step 9").click()

    wait(page).until(lambda _: here(page).upper() == "STEP 9")
    wait(page).until(lambda _: is_in_view(page, ".message.here"))
    assert "show=" not in page.current_url and "step=" in page.current_url
    wait(page).until(lambda _: bars(page, ".step-bar[aria-current]").keys() == {"Step 9"})

    bar(page, "Step 2").click()
    wait(page).until(lambda _: here(page).upper() == "STEP 2")


def test_picture_is_walked_with_the_arrow_keys(page: webdriver.Chrome, store: Server):
    show(page, store, "id=failing&show=checkpoints")
    assert len(page.find_elements(By.CSS_SELECTOR, '.step-bar[tabindex="0"]')) == 1

    page.execute_script("document.querySelector('.step-bar[tabindex=\"0\"]').focus()")
    press(page, Keys.HOME)
    press(page, Keys.ARROW_RIGHT)
    press(page, Keys.ENTER)

    wait(page).until(lambda _: here(page).upper() == "STEP 2")


def test_what_failed_why_where_and_what_it_resumes_with_take_three_clicks(
    page: webdriver.Chrome, store: Server
):
    page.get(f"http://127.0.0.1:{store.port}/?status=failed&q=failing")
    one(page, ".list .title").click()

    wait(page).until(
        lambda _: texts(page, "#head .why") == ["agent exceeded maximum tool iterations"]
    )
    assert texts(page, "ol.failures a") == ["4\nfile_edit", "9\nshell"]
    one(page, "ol.failures a").click()
    wait(page).until(lambda _: here(page).upper() == "STEP 4")
    assert "output of step 4" in one(page, ".message.here").text

    page.find_element(By.PARTIAL_LINK_TEXT, "Resume").click()
    wait(page).until(lambda _: "Cannot resume." in one(page, ".body").text)


def test_resume_preview_marks_what_is_taken_out(page: webdriver.Chrome, store: Server):
    show(page, store, "id=running&show=resume")

    assert texts(page, ".turn del") == ['<tool_call>{"name":"shell"}</tool_call>']
    assert texts(page, ".turn .gets")[-1] == "Yes."
    assert texts(page, ".note-panel pre") == ["- Failed steps: file_edit"]


def test_find_steps_through_hits_of_pieces_that_are_not_loaded(
    page: webdriver.Chrome, store: Server
):
    show(page, store, "id=long")
    press(page, "/")
    press(page, "message 19", Keys.ENTER)

    wait(page).until(lambda _: texts(page, ".where-in-hits") == ["1 of 11"])
    assert one(page, ".message.here").get_attribute("id") == "message-19"
    press(page, "n")
    wait(page).until(lambda _: texts(page, ".where-in-hits") == ["2 of 11"])
    wait(page).until(lambda _: one(page, ".message.here").get_attribute("id") == "message-190")
    assert page.execute_script("return CSS.highlights.get('found-here').size") == 1
    assert is_in_view(page, "#message-190")
    press(page, "N")
    wait(page).until(lambda _: one(page, ".message.here").get_attribute("id") == "message-19")


def test_link_to_a_hit_in_a_result_shows_the_hit(page: webdriver.Chrome, store: Server):
    call = '<tool_call>{"name":"shell","arguments":{}}</tool_call>'
    # the message itself stands below its result, which is shown with the call
    output = "\n".join(["the needle", *(f"line {n}" for n in range(200))])
    result = f'[Tool results]\n<tool_result name="shell">\n{output}\n</tool_result>'
    told = [{"role": "user", "content": "find it"}, {"role": "assistant", "content": call}]
    told += [{"role": "user", "content": result}]
    told += [{"role": "user", "content": f"message {n}"} for n in range(30)]
    put_history(store, "running", told, NOW + timedelta(seconds=1))

    show(page, store, "id=running&message=3&find=needle#message-3")

    wait(page).until(lambda _: page.execute_script(HIT_IS_SEEN))


HIT_IS_SEEN = """
    const [range] = CSS.highlights.get("found-here") ?? [];
    const box = range?.getBoundingClientRect();
    const bar = document.querySelector("#hits").getBoundingClientRect();
    return Boolean(box) && box.top > bar.bottom && box.bottom < innerHeight;
"""


def test_later_messages_come_as_one_scrolls(page: webdriver.Chrome, store: Server):
    show(page, store, "id=long")
    assert page.find_elements(By.ID, "message-61") == []

    page.execute_script("scrollTo(0, document.documentElement.scrollHeight)")

    wait(page).until(lambda _: page.find_elements(By.ID, "message-61"))


def test_link_to_a_message_opens_its_piece(page: webdriver.Chrome, store: Server):
    show(page, store, "id=long&message=150#message-150")

    wait(page).until(lambda _: is_in_view(page, "#message-150"))
    one(page, ".earlier a").click()
    wait(page).until(lambda _: page.find_elements(By.ID, "message-61"))


def test_link_of_a_message_is_permanent(page: webdriver.Chrome, store: Server):
    show(page, store, "id=long&message=150#message-150")
    wait(page).until(lambda _: page.find_elements(By.ID, "message-151"))
    page.execute_script("window.untouched = true")

    page.find_element(By.LINK_TEXT, "#151").click()
    wait(page).until(lambda _: one(page, ".message.here").get_attribute("id") == "message-151")
    assert page.execute_script("return window.untouched")
    page.refresh()

    wait(page).until(lambda _: page.find_elements(By.CSS_SELECTOR, "#message-151.here"))
    assert is_in_view(page, "#message-151")


def test_keys_step_through_entries_failures_and_threads(page: webdriver.Chrome, store: Server):
    show(page, store, "id=failing&show=checkpoints")
    press(page, "j")
    press(page, "j")
    press(page, "j")
    press(page, "k")
    assert here(page).upper() == "STEP 2"
    press(page, "f")
    assert here(page).upper() == "STEP 4"
    press(page, "f")
    assert here(page).upper() == "STEP 9"
    press(page, "?")
    assert one(page, "#help").is_displayed()
    assert "next failure" in one(page, "#help").text
    press(page, Keys.ESCAPE)

    threads = [one(page, "#head .thread-id b").text]
    for key in ("[", "]"):
        press(page, key)
        wait(page).until(lambda _: one(page, "#head .thread-id b").text != threads[-1])
        threads.append(one(page, "#head .thread-id b").text)
    assert threads[0] == threads[2] != threads[1]


def test_checkpoint_of_another_process_arrives_by_itself(page: webdriver.Chrome, store: Server):
    show(page, store, "id=running&show=checkpoints")
    page.execute_script("scrollTo(0, document.documentElement.scrollHeight)")
    page.execute_script("window.untouched = true")

    write(store, "running", 4, 5)

    wait(page, 6).until(lambda _: len(page.find_elements(By.CSS_SELECTOR, ".step-bar")) == 4)
    wait(page).until(lambda _: "fresh_tool" in one(page, "#entries").text)
    assert page.execute_script("return window.untouched")


def test_arrival_waits_while_one_reads(page: webdriver.Chrome, store: Server):
    show(page, store, "id=running&show=checkpoints")
    look(page, width=390)
    page.execute_script("scrollTo(0, 0)")

    write(store, "running", 4, 5)

    wait(page, 6).until(lambda _: texts(page, ".live-bar p") == ["1 new below"])
    assert "fresh_tool" not in one(page, "#entries").text
    one(page, ".live-bar button").click()
    wait(page).until(lambda _: "fresh_tool" in one(page, "#entries").text)
    wait(page).until(lambda _: here(page).upper() == "STEP 4")


@pytest.mark.parametrize("between", [0, 1], ids=["same piece", "piece after"])
def test_result_that_arrives_later_is_shown_with_its_call(
    page: webdriver.Chrome, store: Server, between: int
):
    call = '<tool_call>{"name":"slow_tool","arguments":{"n":1}}</tool_call>'
    result = '[Tool results]\n<tool_result name="slow_tool">\nat last\n</tool_result>'
    told = [{"role": "user", "content": f"message {n}"} for n in range(1, 59 + between)]
    told += [{"role": "assistant", "content": call}]
    told += [{"role": "user", "content": "be quick"}] * between  # with which a piece begins
    put_history(store, "running", told, NOW + timedelta(seconds=1))
    show(page, store, "id=running&message=1")
    for _ in range(2):
        page.execute_script("scrollTo(0, document.documentElement.scrollHeight)")
        wait(page).until(lambda _: page.find_elements(By.ID, f"message-{len(told)}"))
    asked = f"#message-{59 + between}"
    assert "no result" in one(page, asked).text

    answered = [*told, {"role": "user", "content": result}]
    put_history(store, "running", answered, NOW + timedelta(seconds=2))

    wait(page, 10).until(lambda _: "at last" in one(page, asked).text)
    assert page.find_elements(By.ID, f"message-{len(answered)}")


def put_history(store: Server, name: str, messages: list[dict[str, str]], at: datetime) -> None:
    with closing(sqlite3.connect(store.store_file)) as connection, connection:
        connection.execute(
            "UPDATE task_records SET execution_history_json = ?, updated_at = ? WHERE task_id = ?",
            (json.dumps(messages, separators=(",", ":")), to_text(at), name),
        )


def test_lost_connection_is_said_and_found_again(page: webdriver.Chrome, store: Server):
    show(page, store, "id=running")
    page.execute_cdp_cmd("Network.enable", {})
    offline = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    page.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    wait(page).until(lambda _: one(page, "#lost").is_displayed())

    page.execute_cdp_cmd("Network.emulateNetworkConditions", offline | {"offline": False})
    wait(page).until(lambda _: not one(page, "#lost").is_displayed())
    page.get_log("browser")  # which tells of the requests that failed


def test_id_is_copied(page: webdriver.Chrome, store: Server):
    show(page, store, "id=failing")
    page.execute_script("navigator.clipboard.writeText = async (text) => { window.copied = text; }")
    one(page, "#head button.copy").click()

    assert page.execute_script("return window.copied") == "failing"


def test_text_is_copied_where_there_is_no_clipboard(page: webdriver.Chrome, store: Server):
    show(page, store, "id=failing")
    page.execute_script("""
        Object.defineProperty(navigator, "clipboard", {value: undefined});
        document.execCommand = () => {
            window.copied = getSelection().toString();
            return true;
        };""")
    one(page, "#head button.copy").click()

    wait(page).until(lambda _: one(page, "#head button.copy").get_attribute("data-told"))
    assert page.execute_script("return window.copied") == "failing"


def test_times_of_steps_are_local_with_a_script_and_utc_without(
    page: webdriver.Chrome, store: Server
):
    page.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": "Asia/Kolkata"})
    show(page, store, "id=failing&show=checkpoints")
    moment = datetime.fromisoformat(one(page, ".step time").get_attribute("datetime") or "")
    local = moment + timedelta(hours=5, minutes=30)
    assert f"{local:%M:%S}" in one(page, ".step time").text

    allow_script(page, False)
    show(page, store, "id=failing&show=checkpoints")
    assert one(page, ".step time").text == f"{moment:%H:%M:%S} UTC"
    page.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": ""})


def test_paper_leaves_no_text_out(page: webdriver.Chrome, store: Server):
    said = [{"role": "user", "content": "line\n" * 400 + "the end"}]
    add_thread(store, "told", history=json.dumps(said, separators=(",", ":")))
    show(page, store, "id=told")
    folded = "return document.querySelector('#entries .fold .text').checkVisibility()"
    assert not page.execute_script(folded)

    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert page.execute_script(folded)
    assert not one(page, "#entries .preview").is_displayed()
    assert not one(page, "#head .button.danger").is_displayed()

    show(page, store, "id=long")
    # read at once: what follows is loaded, and put in its place, as it comes into view
    left = page.execute_script("return document.querySelector('#entries .later').innerText")
    assert re.fullmatch(r"\d+ after these", left.strip())
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_phone_shows_the_last_failure_and_the_first_message_at_once(
    page: webdriver.Chrome, store: Server
):
    look(page, width=390)
    show(page, store, "id=long&show=checkpoints")

    [bar] = page.find_elements(By.CSS_SELECTOR, ".step-bar.failed")[:1]
    place = bar.find_element(By.CSS_SELECTOR, "rect").rect
    assert 0 < place["x"] < place["x"] + place["width"] < 390
    assert place["width"] > 14
    assert one(page, "#entries").rect["y"] < 700
    assert not one(page, "#side .failures").is_displayed()

    one(page, "#card-failures > summary").click()
    assert texts(page, "#side .failures a") == ["140\nfile_read"]


def test_page_is_whole_without_script(page: webdriver.Chrome, store: Server):
    allow_script(page, False)
    page.implicitly_wait(10)  # without script a click does not wait for its page
    show(page, store, "id=long")
    page.find_element(By.LINK_TEXT, "Later").click()
    wait(page).until(lambda _: page.find_elements(By.ID, "message-61"))
    page.find_element(By.PARTIAL_LINK_TEXT, "Checkpoints").click()
    wait(page).until(lambda _: page.find_elements(By.CSS_SELECTOR, ".step"))
    one(page, ".step-bar.failed").click()
    wait(page).until(lambda _: is_target_in_view(page, 140))
    assert not one(page, "#head button.copy").is_displayed()


def is_target_in_view(browser: webdriver.Chrome, step: int) -> bool:
    targets = browser.find_elements(By.CSS_SELECTOR, ".step:target .speaker b")
    return [found.text.upper() for found in targets] == [f"STEP {step}"]


def test_page_is_accessible_and_fits_every_screen(page: webdriver.Chrome, store: Server):
    problems = {}
    for query in (
        "id=failing",
        "id=failing&show=checkpoints",
        "id=failing&show=raw",
        "id=running&show=resume",
        "id=long&step=140",
        "id=long&find=message+19",
    ):
        show(page, store, query)
        for width, dark in LOOKS:
            look(page, width=width, dark=dark)
            found = accessibility_problems(page)
            if is_scrolled_sideways(page):
                found.append("the page is wider than the screen")
            if found:
                problems[query, width, dark] = found

    assert problems == {}
