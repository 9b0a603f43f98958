"""Tests that a large history, of which pages read parts, has the messages of one read whole."""

from typing import Any

import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks import large_values
from tasks.messages import ChatMessage, encode_history
from tasks.models import TaskRecord
from tasks.transcript import history, large_history
from tasks.transcript.history import Message, Thread, read_messages
from tests.support.factories import task

pytestmark = pytest.mark.django_db(databases="__all__")

TEXTS = ['"},{"role":"user","content":"', "Ä🦉 ", '\\"', "\n", "]", "x" * 40]
CALL = '<tool_call>{"name":"shell","arguments":{"command":"ls"}}</tool_call>'
RESULT = '[Tool results]\n<tool_result name="shell" status="ok">\nfile\n</tool_result>'


@pytest.fixture(autouse=True)
def every_history_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_history, "MIN_SIZE", 0)
    monkeypatch.setattr(large_values, "PART_SIZE", 50)
    monkeypatch.setattr(large_values, "CHUNK_SIZE", 50)


def history_of(*messages: tuple[str, str]) -> str:
    return encode_history([ChatMessage(*message) for message in messages], "history")


def thread() -> Thread:
    return Thread(TaskRecord.objects.for_page().get())


def described(message: Message) -> tuple[Any, ...]:
    """Return what a page shows of a message, including which of its calls have results."""
    parts = [repr(part) for part in message.parts]
    results = [(result.output, result.call_number) for result in message.results]
    return (message.number, message.role, message.text.whole, parts, results, message.weight)


messages = st.builds(
    ChatMessage,
    st.sampled_from(["user", "assistant", "assistant", "tool", 'a "role"', ""]),
    st.one_of(
        st.sampled_from([CALL, RESULT]), st.lists(st.sampled_from(TEXTS), max_size=3).map("".join)
    ),
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(written=st.lists(messages, min_size=1, max_size=8), data=st.data())
def test_parts_of_a_history_equal_the_whole(store, written: list[ChatMessage], data):
    TaskRecord.objects.all().delete()
    task(execution_history_json=encode_history(written, "history"))
    whole = [described(message) for message in read_messages(written)]

    parts = thread()

    assert isinstance(parts.messages, history.LargeMessages)
    assert list(parts.weights) == [weight for *_, weight in whole]
    assert list(parts.read_all()) == written
    first, last = (data.draw(st.integers(0, len(whole))) for _ in range(2))
    assert [described(m) for m in parts.messages[first:last]] == whole[first:last]


@pytest.mark.parametrize(
    "raw",
    [
        '[{"role":"user","content":"a"}, {"role":"user","content":"b"}]',
        '[["user","a"],["user","b"]]',
        '[{"content":"a","role":"user"},{"role":"user","content":"b"}]',
        '[{"role":"user","content":"a","role":"b"},{"role":"user","content":"b"}]',
        '[{"role":"user","content":"\\u0061"}]',
        '[{"role":"user","content":"a"}',
        '{"role":"user","content":"a"}',
        "[]",
        "",
    ],
)
def test_history_in_another_form_is_read_whole(store, monkeypatch, raw: str):
    task(execution_history_json=raw)
    parts = thread()
    monkeypatch.setattr(large_history, "MIN_SIZE", 10**9)
    whole = thread()

    assert not isinstance(parts.messages, history.LargeMessages)
    assert parts.problem == whole.problem
    assert list(map(described, parts.messages)) == list(map(described, whole.messages))


def test_history_is_looked_through_once(store, monkeypatch):
    task(execution_history_json=history_of(("user", "x" * 100), ("assistant", "y" * 100)))
    before = thread().messages[0:2]
    monkeypatch.setattr(large_history, "_scan", None)

    assert thread().messages[0:2] == before


def test_history_that_changes_meanwhile_is_looked_through_again(store):
    task("t", execution_history_json=history_of(("user", "before"), ("assistant", "yes")))
    parts = thread()
    assert len(parts.messages) == 2
    TaskRecord.objects.update(
        execution_history_json=history_of(("system", "s"), ("user", "after"), ("user", "after"))
    )

    assert [m.text.whole for m in parts.messages[1:2]] == ["after"]
    assert len(parts.messages) == 3


def test_exchange_is_cut_off_far_from_the_page(store, monkeypatch):
    monkeypatch.setattr(history, "MAX_CONTEXT", 300)
    far = [("user", "x" * 200)] * 3
    task(execution_history_json=history_of(("assistant", CALL), *far, ("user", RESULT), *far))
    parts = thread()

    [result] = parts.messages[4:5]
    assert [r.call_number for r in result.results] == [None]
    [_, near] = parts.messages[0:2]
    assert near.text.whole == "x" * 200


def test_page_of_a_large_history_reads_only_what_it_shows(store, viewer: Client, monkeypatch):
    texts = [(("user", "assistant")[n % 2], f"{n}: " + "word " * 2_000) for n in range(60)]
    task("t", thread_id="t", execution_history_json=history_of(*texts))
    monkeypatch.setattr(large_values, "PART_SIZE", 100_000)
    monkeypatch.setattr(large_values, "CHUNK_SIZE", 100_000)
    pages = ["/thread/?id=t", "/thread/?id=t&message=40", "/thread/?id=t&message=60"]
    sizes: list[int] = []
    read = large_values.Reader.read

    def count(self: Any, start: int, end: int) -> bytes:
        part = read(self, start, end)
        sizes.append(len(part))
        return part

    viewer.get(pages[0])
    monkeypatch.setattr(large_values.Reader, "read", count)
    parts = [viewer.get(page).context["page"].tab for page in pages]

    assert [(p.entries[0][0].number, p.entries[-1][0].number) for p in parts] == [
        (1, 11),
        (34, 44),
        (56, 60),
    ]
    assert [(p.pager.earlier_count, p.pager.later_count) for p in parts] == [
        (0, 49),
        (33, 16),
        (55, 0),
    ]
    assert max(sizes) < 150_000


@pytest.mark.parametrize("number", ["0", "4", "-1", "x", "1.0", "9" * 30])
def test_message_that_does_not_exist_is_not_found(store, viewer: Client, number: str):
    task("t", thread_id="t", execution_history_json=history_of(*[("user", "a")] * 3))

    assert viewer.get(f"/thread/message/?id=t&message={number}").status_code == 404
    assert viewer.get("/thread/message/?id=t&message=3").content == b"a"
