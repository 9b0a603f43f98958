"""The whole way of a person: sign in, look at the list, open a thread, clear it."""

import sqlite3
from contextlib import closing

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support import expected_conditions as expect
from selenium.webdriver.support.wait import WebDriverWait

from tests.support.factories import DATA
from tests.support.server import Server

ODD = "a/../b?#%2F\n🦉"
INSERT_TASK = """
    INSERT INTO task_records VALUES (
        :id, :id, 'cli', 'openai', 'gpt-test', 'failed', :history, '[]', 'a note', 1, NULL,
        'it broke', '2026-01-01T00:00:00+00:00', '2026-01-02T00:00:00+00:00', NULL)"""
INSERT_CHECKPOINT = """
    INSERT INTO task_checkpoints (task_id, step_index, items_json, created_at) VALUES (
        :id, 1, '[{"tool_name":"shell","arguments":"ls","success":false,"output":"no"}]',
        '2026-01-01T00:00:01+00:00')"""


@pytest.fixture
def store(server: Server) -> Server:
    """A store with two threads, as gloamy would have left them."""
    with closing(sqlite3.connect(server.store_file)) as connection, connection:
        connection.executescript((DATA / "original.sql").read_text(encoding="utf-8"))
        connection.execute("DELETE FROM task_checkpoints")
        connection.execute("DELETE FROM task_records")
        for task_id, asked in ((ODD, "Rotate the logs"), ("telegram_42", "Water the plants")):
            history = f'[{{"role":"user","content":"{asked}"}}]'
            connection.execute(INSERT_TASK, {"id": task_id, "history": history})
            connection.execute(INSERT_CHECKPOINT, {"id": task_id})
    return server


def titles(browser: webdriver.Chrome) -> list[str]:
    return [found.text for found in browser.find_elements(By.CSS_SELECTOR, ".list .title")]


def test_person_signs_in_opens_a_thread_and_clears_it(browser: webdriver.Chrome, store: Server):
    wait = WebDriverWait(browser, 20)
    store.start()

    browser.get(store.link())
    browser.find_element(By.XPATH, "//button[text()='Sign in']").click()
    wait.until(expect.title_is("Threads · gloamy tasks"))
    assert sorted(titles(browser)) == ["Rotate the logs", "Water the plants"]

    browser.find_element(By.LINK_TEXT, "Rotate the logs").click()
    wait.until(expect.title_is("Rotate the logs · gloamy tasks"))
    assert browser.find_element(By.CSS_SELECTOR, ".facts .why").text == "it broke"

    browser.find_element(By.PARTIAL_LINK_TEXT, "Checkpoints").click()
    wait.until(expect.visibility_of_element_located((By.CSS_SELECTOR, ".call.failed")))

    browser.find_element(By.LINK_TEXT, "Clear…").click()
    wait.until(expect.title_is("Clear a thread · gloamy tasks"))
    browser.find_element(By.XPATH, "//button[text()='Clear the thread']").click()
    wait.until(expect.title_is("Threads · gloamy tasks"))
    assert titles(browser) == ["Water the plants"]

    with closing(sqlite3.connect(store.store_file)) as connection:
        left = connection.execute("SELECT task_id FROM task_records").fetchall()
        left += connection.execute("SELECT task_id FROM task_checkpoints").fetchall()
    assert left == [("telegram_42",), ("telegram_42",)]
    assert browser.get_log("browser") == []
