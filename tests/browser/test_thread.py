"""Tests of the thread page in a real browser: timeline, tabs, search, updates and keyboard."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tasks.fields import to_text
from tasks.service import (
    ChatMessage,
    ExecutionCheckpointItem,
    TaskCheckpointUpdate,
    TaskStatus,
    record_checkpoint,
    save_snapshot,
)
from tests.browser.pages import (
    LOOKS,
    allow_script,
    be_offline,
    every,
    follow,
    is_in_view,
    look,
    one,
    press,
    problems,
    texts,
    wait,
)
from tests.browser.site import Site
from tests.support.factories import history, snapshot

NOW = datetime.now(UTC)
INSERT_TASK = """
    INSERT INTO task_records VALUES (
        :id, :thread, 'telegram', 'openai', 'gpt-test', :status, :history, :resumable,
        '- Failed steps: file_edit', :count, :response, :error, :created, :updated, :completed)"""
INSERT_CHECKPOINT = """
    INSERT INTO task_checkpoints (task_id, step_index, checkpoint_note, items_json, created_at)
    VALUES (:id, :step, :note, :items, :at)"""
UPDATE_HISTORY = """
    UPDATE task_records SET execution_history_json = ?, updated_at = ? WHERE task_id = ?"""

RUNNING: dict[str, Any] = {"status": "running", "completed": None, "error": None}


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def add_thread(
    site: Site,
    name: str,
    steps: int = 12,
    failed: tuple[int, ...] = (),
    messages: int = 4,
    **fields: Any,
) -> None:
    """Add a thread the way gloamy writes it, with a checkpoint every ten seconds."""
    start = NOW - timedelta(seconds=10 * steps)
    history = [
        {"role": ("user", "assistant")[n % 2 == 0], "content": f"message {n}"}
        for n in range(1, messages + 1)
    ]
    task = {
        "id": name,
        "thread": name,
        "status": "failed",
        "history": compact(history),
        "resumable": "[]",
        "count": steps,
        "response": None,
        "error": "agent exceeded maximum tool iterations",
        "created": to_text(start),
        "updated": to_text(NOW),
        "completed": to_text(NOW),
    }
    site.execute(INSERT_TASK, [task | fields])
    site.execute(
        INSERT_CHECKPOINT,
        [
            {
                "id": name,
                "step": step,
                "note": f"- step {step}",
                "items": compact([tool_call(step, step not in failed)]),
                "at": to_text(start + timedelta(seconds=10 * step)),
            }
            for step in range(1, steps + 1)
        ],
    )


def tool_call(step: int, success: bool) -> dict[str, Any]:
    return {
        "tool_name": ("shell", "file_edit", "file_read")[step % 3],
        "arguments": {"command": f"make target-{step}"},
        "success": success,
        "output": f"output of step {step}",
    }


@pytest.fixture
def page(browser: webdriver.Chrome, site: Site) -> webdriver.Chrome:
    """The browser, with a failed thread, a long thread and a running thread in the store."""
    resumable = [
        {"role": "user", "content": "Fix the build"},
        {"role": "assistant", "content": 'Yes.<tool_call>{"name":"shell"}</tool_call>'},
    ]
    add_thread(site, "failing", failed=(4, 9))
    add_thread(site, "long", steps=150, failed=(140,), messages=200)
    add_thread(site, "running", steps=3, resumable=compact(resumable), **RUNNING)
    return browser


def show(browser: webdriver.Chrome, site: Site, query: str) -> None:
    browser.get(f"{site.origin}/thread/?{query}")


def bars(browser: webdriver.Chrome, selector: str = "#timeline .step-bar") -> dict[str, WebElement]:
    """Return the timeline's bars, keyed by the part of their names before the first colon."""
    elements = every(browser, selector)
    return {(bar.accessible_name or "").partition(":")[0]: bar for bar in elements}


def bar(browser: webdriver.Chrome, name: str) -> WebElement:
    """Wait until the timeline has a bar with this accessible name, and return the bar."""
    wait(browser).until(lambda b: name in bars(b))
    return bars(browser)[name]


def current_title(browser: webdriver.Chrome) -> str:
    """Return the title of the current entry on the page, such as "STEP 2"."""
    return (texts(browser, ".message.here .speaker b") or [""])[0].upper()


def write(site: Site, thread_id: str, step: int, messages: int) -> None:
    """Add a checkpoint to a thread, as an agent would."""
    call = ExecutionCheckpointItem("fresh_tool", {"command": "date"}, True, "today")
    update = TaskCheckpointUpdate(
        task_id=thread_id,
        thread_id=thread_id,
        channel="telegram",
        provider="openai",
        model="gpt-test",
        step_index=step,
        execution_history=[ChatMessage("user", f"message {n}") for n in range(1, messages + 1)],
        items=[call],
    )
    with site.databases():
        record_checkpoint(update)


def save(site: Site, thread_id: str, status: TaskStatus, messages: list[str]) -> None:
    """Save a task's state and whole history, as an agent does when a run begins and ends."""
    ids = {"task_id": thread_id, "thread_id": thread_id}
    with site.databases():
        save_snapshot(snapshot(**ids, status=status, execution_history=history(*messages)))


def put_history(site: Site, name: str, messages: list[dict[str, str]], *, later: int = 1) -> None:
    """Replace a task's history, and set its update time to `later` seconds after `NOW`."""
    moment = to_text(NOW + timedelta(seconds=later))
    site.execute(UPDATE_HISTORY, [(compact(messages), moment, name)])


def test_timeline_bar_opens_its_step(page: webdriver.Chrome, site: Site):
    show(page, site, "id=failing")
    bar(page, "Step 9").click()

    wait(page).until(lambda b: current_title(b) == "STEP 9")
    wait(page).until(lambda b: is_in_view(b, ".message.here"))
    assert "show=" not in page.current_url and "step=" in page.current_url
    wait(page).until(lambda b: bars(b, "#timeline [aria-current]").keys() == {"Step 9"})

    bar(page, "Step 2").click()
    wait(page).until(lambda b: current_title(b) == "STEP 2")


def test_timeline_supports_arrow_keys(page: webdriver.Chrome, site: Site):
    show(page, site, "id=failing&show=checkpoints")
    assert len(every(page, '.step-bar[tabindex="0"]')) == 1

    press(page, Keys.ARROW_LEFT)  # while nothing has the focus
    assert one(page, '.step-bar[tabindex="0"]') == page.switch_to.active_element
    press(page, Keys.HOME, Keys.ARROW_RIGHT, Keys.ENTER)

    wait(page).until(lambda b: current_title(b) == "STEP 2")


def test_keys_jump_to_the_end_and_the_beginning(page: webdriver.Chrome, site: Site):
    show(page, site, "id=long")
    last = page.execute_script("return document.querySelector('.to-end').hash")

    press(page, "G")
    wait(page).until(lambda b: b.current_url.endswith(last))
    wait(page).until(lambda b: is_in_view(b, last))
    press(page, "g")
    assert page.current_url.endswith(last)
    press(page, "g")
    wait(page).until(lambda b: b.current_url.endswith("message=1#message-1"))
    wait(page).until(lambda b: is_in_view(b, "#message-1"))


def test_failure_and_resume_state_are_three_clicks_away(page: webdriver.Chrome, site: Site):
    page.get(f"{site.origin}/?status=failed&q=failing")
    one(page, ".list .title").click()

    wait(page).until(lambda b: texts(b, "#head .why") == ["agent exceeded maximum tool iterations"])
    assert texts(page, "ol.failures a") == [
        "4\nfile_edit\noutput of step 4",
        "9\nshell\noutput of step 9",
    ]
    one(page, "ol.failures a").click()
    wait(page).until(lambda b: current_title(b) == "STEP 4")
    assert "output of step 4" in one(page, ".message.here").text

    follow(page, page.find_element(By.PARTIAL_LINK_TEXT, "Resume"))
    wait(page).until(lambda b: "Cannot resume." in one(b, ".body").text)


def test_resume_preview_marks_removed_text(page: webdriver.Chrome, site: Site):
    show(page, site, "id=running&show=resume")

    assert texts(page, ".turn del") == ['<tool_call>{"name":"shell"}</tool_call>']
    assert texts(page, ".turn .gets")[-1] == "Yes."
    assert texts(page, ".note-panel pre") == ["- Failed steps: file_edit"]


def test_find_steps_through_hits_in_unloaded_pieces(page: webdriver.Chrome, site: Site):
    show(page, site, "id=long")
    press(page, "/")
    press(page, "message 19", Keys.ENTER)

    wait(page).until(lambda b: texts(b, ".where-in-hits") == ["1 of 11"])
    assert one(page, ".message.here").get_attribute("id") == "message-19"
    press(page, "n")
    wait(page).until(lambda b: texts(b, ".where-in-hits") == ["2 of 11"])
    wait(page).until(lambda b: one(b, ".message.here").get_attribute("id") == "message-190")
    assert page.execute_script("return CSS.highlights.get('current-hit').size") == 1
    assert is_in_view(page, "#message-190")
    press(page, "N")
    wait(page).until(lambda b: one(b, ".message.here").get_attribute("id") == "message-19")


def test_link_to_a_hit_in_a_result_scrolls_to_the_hit(page: webdriver.Chrome, site: Site):
    call = '<tool_call>{"name":"shell","arguments":{}}</tool_call>'
    # the result is shown with its tool call, above the message that contains the result
    output = "\n".join(["the needle", *(f"line {n}" for n in range(200))])
    result = f'[Tool results]\n<tool_result name="shell">\n{output}\n</tool_result>'
    history = [{"role": "user", "content": "find it"}, {"role": "assistant", "content": call}]
    history += [{"role": "user", "content": result}]
    history += [{"role": "user", "content": f"message {n}"} for n in range(30)]
    put_history(site, "running", history)

    show(page, site, "id=running&message=3&find=needle#message-3")

    wait(page).until(lambda b: b.execute_script(HIT_IS_SEEN))


HIT_IS_SEEN = """
    const [range] = CSS.highlights.get("current-hit") ?? [];
    const box = range?.getBoundingClientRect();
    const bar = document.querySelector("#hits").getBoundingClientRect();
    return Boolean(box) && box.top > bar.bottom && box.bottom < innerHeight;
"""


def test_scrolling_loads_later_messages(page: webdriver.Chrome, site: Site):
    show(page, site, "id=long")
    assert every(page, "#message-61") == []

    page.execute_script("scrollTo(0, document.documentElement.scrollHeight)")

    wait(page).until(lambda b: every(b, "#message-61"))


def test_link_to_a_message_opens_its_piece(page: webdriver.Chrome, site: Site):
    show(page, site, "id=long&message=150#message-150")

    wait(page).until(lambda b: is_in_view(b, "#message-150"))
    page.execute_script("document.querySelector('.earlier a[hx-get]').click()")
    wait(page).until(lambda b: every(b, "#message-61"))


def test_link_of_a_message_is_permanent(page: webdriver.Chrome, site: Site):
    show(page, site, "id=long&message=150#message-150")
    wait(page).until(lambda b: every(b, "#message-151"))
    page.execute_script("window.untouched = true")

    page.find_element(By.LINK_TEXT, "#151").click()
    wait(page).until(lambda b: one(b, ".message.here").get_attribute("id") == "message-151")
    assert page.execute_script("return window.untouched")
    page.refresh()

    wait(page).until(lambda b: every(b, "#message-151.here"))
    assert is_in_view(page, "#message-151")


def test_keys_step_through_entries_failures_and_threads(page: webdriver.Chrome, site: Site):
    show(page, site, "id=failing&show=checkpoints")
    press(page, "j", "j", "j", "k")
    assert current_title(page) == "STEP 2"
    press(page, "f")
    assert current_title(page) == "STEP 4"
    press(page, "f")
    assert current_title(page) == "STEP 9"
    press(page, "?")
    assert one(page, "#help").is_displayed()
    assert "next failure" in one(page, "#help").text
    press(page, Keys.ESCAPE)

    threads = [one(page, "#head .thread-id b").text]
    for key in ("[", "]"):
        press(page, key)
        wait(page).until(lambda b: one(b, "#head .thread-id b").text != threads[-1])
        threads.append(one(page, "#head .thread-id b").text)
    assert threads[0] == threads[2] != threads[1]


def test_new_checkpoint_appears_without_a_reload(page: webdriver.Chrome, site: Site):
    show(page, site, "id=running&show=checkpoints")
    page.execute_script("scrollTo(0, document.documentElement.scrollHeight)")
    page.execute_script("window.untouched = true")

    write(site, "running", 4, 5)

    wait(page).until(lambda b: len(every(b, ".step-bar")) == 4)
    wait(page).until(lambda b: "fresh_tool" in one(b, "#entries").text)
    assert page.execute_script("return window.untouched")


def test_new_steps_wait_until_the_reader_asks(page: webdriver.Chrome, site: Site):
    show(page, site, "id=running&show=checkpoints")
    look(page, width=390)
    page.execute_script("scrollTo(0, 0)")

    write(site, "running", 4, 5)

    wait(page).until(lambda b: texts(b, ".live-bar p") == ["1 new below"])
    assert "fresh_tool" not in one(page, "#entries").text
    one(page, ".live-bar button").click()
    wait(page).until(lambda b: "fresh_tool" in one(b, "#entries").text)
    wait(page).until(lambda b: current_title(b) == "STEP 4")


def test_page_follows_a_run_to_its_end_and_into_the_next(page: webdriver.Chrome, site: Site):
    add_thread(site, "live", steps=1, messages=40, **RUNNING)
    show(page, site, "id=live")
    page.execute_script("scrollTo(0, 0); window.untouched = true")

    save(site, "live", TaskStatus.COMPLETED, [f"message {n}" for n in range(1, 43)])

    wait(page).until(lambda b: texts(b, ".live-bar p") == ["2 new below"])
    assert texts(page, "#head .badge") == ["completed"]
    one(page, ".live-bar button").click()
    wait(page).until(lambda b: is_in_view(b, "#message-42"))

    save(site, "live", TaskStatus.RUNNING, ["shorter", "and newer"])  # as the agent trims it

    wait(page).until(lambda b: texts(b, "#entries .said") == ["shorter", "and newer"])
    assert texts(page, "#head .badge") == ["running"]

    save(site, "live", TaskStatus.COMPLETED, [f"message {n}" for n in range(1, 43)])
    wait(page).until(lambda b: every(b, "#message-42"))
    page.execute_script("scrollTo(0, 0)")
    save(site, "live", TaskStatus.RUNNING, ["the third"])
    wait(page).until(lambda b: texts(b, ".live-bar p") == ["A new attempt has started"])
    assert len(every(page, "#entries > .message")) == 42
    one(page, ".live-bar button").click()
    wait(page).until(lambda b: texts(b, "#entries .said") == ["the third"])
    assert page.execute_script("return window.untouched")


@pytest.mark.parametrize("between", [0, 1], ids=["same piece", "piece after"])
def test_result_that_arrives_later_is_shown_with_its_call(
    page: webdriver.Chrome, site: Site, between: int
):
    call = '<tool_call>{"name":"slow_tool","arguments":{"n":1}}</tool_call>'
    result = '[Tool results]\n<tool_result name="slow_tool">\nat last\n</tool_result>'
    history = [{"role": "user", "content": f"message {n}"} for n in range(1, 59 + between)]
    history += [{"role": "assistant", "content": call}]
    history += [{"role": "user", "content": "be quick"}] * between  # the result is in a new piece
    put_history(site, "running", history)
    show(page, site, "id=running&message=1")
    for _ in range(2):
        page.execute_script("scrollTo(0, document.documentElement.scrollHeight)")
        wait(page).until(lambda b: every(b, f"#message-{len(history)}"))
    request = f"#message-{59 + between}"
    assert "no result" in one(page, request).text

    messages = [*history, {"role": "user", "content": result}]
    put_history(site, "running", messages, later=2)

    wait(page).until(lambda b: "at last" in one(b, request).text)
    assert one(page, f"#message-{len(messages)}").text == f"#{len(messages)}"


def test_head_follow_switch_and_folds_while_scrolling(page: webdriver.Chrome, site: Site):
    show(page, site, "id=long&show=checkpoints")
    head = one(page, "#scroll-head")
    assert not head.is_displayed()
    for _ in range(20):
        press(page, "j")
    wait(page).until(lambda b: texts(b, "#scroll-head .place") == ["step 20 of 150"])
    covered = page.execute_script("return scrollY + arguments[0].offsetHeight", head)
    assert one(page, ".message.here").rect["y"] >= covered
    assert texts(page, "#scroll-head .scroll-status") == ["failed"]
    for width, dark in LOOKS:
        look(page, width=width, dark=dark)
        wait(page).until(lambda b: head.is_displayed() and problems(b) == [])

    is_open = "return [...document.querySelectorAll('#entries details')].map((d) => d.open)"
    press(page, "e")
    assert set(page.execute_script(is_open)) == {True}
    one(page, "#scroll-head .to-top").click()
    wait(page).until(lambda b: not head.is_displayed())
    one(page, "#expand").click()
    assert set(page.execute_script(is_open)) == {False}

    show(page, site, "id=running&show=checkpoints")
    look(page, width=390)
    page.execute_script("scrollTo(0, document.documentElement.scrollHeight)")
    wait(page).until(lambda b: one(b, "#follow").is_selected())
    page.execute_script("document.querySelector('#follow').click()")
    write(site, "running", 4, 5)
    wait(page).until(lambda b: texts(b, ".live-bar p") == ["1 new below"])
    assert not one(page, "#follow").is_selected()
    page.execute_script("document.querySelector('#follow').click()")
    wait(page).until(lambda b: "fresh_tool" in one(b, "#entries").text)
    save(site, "running", TaskStatus.COMPLETED, ["done"])
    icon = "return document.querySelector('link[rel=icon]').href"
    wait(page).until(lambda b: b.execute_script(icon).endswith("icon-completed.svg"))
    assert every(page, "#follow") == []


def test_connection_loss_is_displayed_until_reconnect(page: webdriver.Chrome, site: Site):
    show(page, site, "id=running")
    be_offline(page, True)
    wait(page).until(lambda b: one(b, "#lost").is_displayed())

    be_offline(page, False)
    wait(page).until(lambda b: not one(b, "#lost").is_displayed())


def test_id_is_copied(page: webdriver.Chrome, site: Site):
    show(page, site, "id=failing")
    page.execute_script("navigator.clipboard.writeText = async (text) => { window.copied = text; }")
    one(page, "#head button.copy").click()

    assert page.execute_script("return window.copied") == "failing"


def test_text_is_copied_where_there_is_no_clipboard(page: webdriver.Chrome, site: Site):
    show(page, site, "id=failing")
    page.execute_script("""
        Object.defineProperty(navigator, "clipboard", {value: undefined});
        document.execCommand = () => {
            window.copied = getSelection().toString();
            return true;
        };""")
    one(page, "#head button.copy").click()

    wait(page).until(lambda b: one(b, "#head button.copy").get_attribute("data-status"))
    assert page.execute_script("return window.copied") == "failing"


def test_times_of_steps_are_local_with_a_script_and_utc_without(page: webdriver.Chrome, site: Site):
    page.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": "Asia/Kolkata"})
    page.delete_cookie("gloamy_time_zone")
    allow_script(page, False)
    for _ in range(2):
        show(page, site, "id=failing&show=checkpoints")
        moment = datetime.fromisoformat(one(page, ".step time").get_attribute("datetime") or "")
        assert one(page, ".step time").text == f"{moment:%H:%M:%S} UTC"

    allow_script(page, True)
    for _ in range(2):
        show(page, site, "id=failing&show=checkpoints")
    local = moment + timedelta(hours=5, minutes=30)
    assert one(page, ".step time").text == f"{local:%H:%M:%S} IST"


def test_print_includes_all_text(page: webdriver.Chrome, site: Site):
    history = [{"role": "user", "content": "line\n" * 400 + "the end"}]
    add_thread(site, "printed", history=compact(history))
    show(page, site, "id=printed")
    folded = "return document.querySelector('#entries .fold .text').checkVisibility()"
    assert not page.execute_script(folded)

    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert page.execute_script(folded)
    assert not one(page, "#entries .preview").is_displayed()
    assert not one(page, "#head .button.danger").is_displayed()
    assert not one(page, "#more").is_displayed()

    show(page, site, "id=long")
    # read the link now: once it scrolls into view, the later messages replace it
    remaining = page.execute_script("return document.querySelector('#entries .later').innerText")
    assert re.fullmatch(r"\d+ more", remaining.strip())


def test_failed_bar_and_first_entry_fit_on_a_phone(page: webdriver.Chrome, site: Site):
    look(page, width=390)
    page.get(f"{site.origin}/?check=any")  # so that all of the thread's panels are shown
    show(page, site, "id=long&show=checkpoints")

    [bar] = every(page, ".step-bar.failed")[:1]
    position = bar.find_element(By.CSS_SELECTOR, "rect").rect
    assert 0 < position["x"] < position["x"] + position["width"] < 390
    assert position["width"] > 14
    assert one(page, "#entries").rect["y"] < 700
    assert not one(page, "#side .failures").is_displayed()

    one(page, "#card-failures > summary").click()
    assert texts(page, "#side .failures a") == ["140\nfile_read\noutput of step 140"]


def test_page_works_without_script(page: webdriver.Chrome, site: Site):
    allow_script(page, False)
    page.implicitly_wait(10)  # without JavaScript, a click does not wait for the next page
    show(page, site, "id=long")
    page.find_element(By.LINK_TEXT, "Later").click()
    wait(page).until(lambda b: every(b, "#message-61"))
    page.find_element(By.PARTIAL_LINK_TEXT, "Steps").click()
    wait(page).until(lambda b: every(b, ".step"))
    one(page, ".step-bar.failed").click()
    wait(page).until(lambda b: is_target_in_view(b, 140))
    assert not one(page, "#head button.copy").is_displayed()


def is_target_in_view(browser: webdriver.Chrome, step: int) -> bool:
    targets = browser.find_elements(By.CSS_SELECTOR, ".step:target .speaker b")
    return [target.text.upper() for target in targets] == [f"STEP {step}"]


def test_page_is_accessible_and_fits_every_screen(page: webdriver.Chrome, site: Site):
    long_texts = [
        {"role": "user", "content": f"message {n} " + "word " * 15_000} for n in (1, 2, 3)
    ]
    add_thread(site, "pieces", steps=62, failed=(61,), history=compact(long_texts))
    failures = {}
    for query in (
        "id=failing",
        "id=failing&show=checkpoints",
        "id=failing&show=raw",
        "id=running&show=resume",
        "id=pieces&step=61",  # step 61 is on the second page of steps, which is short
        "id=pieces&find=message&hit=2",  # there is a page before and after the hit's page
    ):
        show(page, site, query)
        for width, dark in LOOKS:
            look(page, width=width, dark=dark)
            if lines := problems(page):
                failures[query, width, dark] = lines

    assert failures == {}
