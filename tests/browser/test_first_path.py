"""Tests of a new user's first steps: start the server, sign in, open a thread, and clear it."""

import sqlite3
from contextlib import closing

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support import expected_conditions as expect

from tests.browser.pages import follow, one, texts, wait
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
def server(server: Server) -> Server:
    """A server whose store contains two threads, written the way gloamy writes them."""
    with closing(sqlite3.connect(server.store_file)) as connection, connection:
        connection.executescript((DATA / "original.sql").read_text(encoding="utf-8"))
        connection.execute("DELETE FROM task_checkpoints")
        connection.execute("DELETE FROM task_records")
        for task_id, request in ((ODD, "Rotate the logs"), ("telegram_42", "Water the plants")):
            history = f'[{{"role":"user","content":"{request}"}}]'
            connection.execute(INSERT_TASK, {"id": task_id, "history": history})
            connection.execute(INSERT_CHECKPOINT, {"id": task_id})
    return server


def test_sign_in_open_and_clear_a_thread(bare_browser: webdriver.Chrome, server: Server):
    browser = bare_browser
    server.start()

    browser.get(server.link())
    browser.find_element(By.XPATH, "//button[normalize-space()='Sign in']").click()
    wait(browser).until(expect.title_is("Overview · gloamy tasks"))
    follow(browser, browser.find_element(By.LINK_TEXT, "Threads"))
    assert sorted(texts(browser, ".list .title")) == ["Rotate the logs", "Water the plants"]

    follow(browser, browser.find_element(By.LINK_TEXT, "Rotate the logs"))
    assert browser.title == "✕ Rotate the logs · gloamy tasks"
    assert one(browser, ".facts .why").text == "it broke"

    follow(browser, browser.find_element(By.PARTIAL_LINK_TEXT, "Steps"))
    assert one(browser, ".call.failed").is_displayed()

    follow(browser, browser.find_element(By.LINK_TEXT, "Clear…"))
    assert browser.title == "Clear a thread · gloamy tasks"
    follow(browser, one(browser, "form.clear button.main"))
    assert browser.title == "Threads · gloamy tasks"
    assert texts(browser, ".list .title") == ["Water the plants"]

    with closing(sqlite3.connect(server.store_file)) as connection:
        remaining = connection.execute("SELECT task_id FROM task_records").fetchall()
        remaining += connection.execute("SELECT task_id FROM task_checkpoints").fetchall()
    assert remaining == [("telegram_42",), ("telegram_42",)]
    assert browser.get_log("browser") == []

    server.stop()
    wait(browser).until(lambda b: one(b, "#lost").is_displayed())
    server.start()
    wait(browser).until(lambda b: not one(b, "#lost").is_displayed())
