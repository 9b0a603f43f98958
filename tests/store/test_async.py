"""Tests for async store verbs: concurrent calls, cancelled calls, and several event loops."""

import asyncio
import os
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.exceptions import SynchronousOnlyOperation
from django.db import connections

from tasks import service
from tests.support.factories import loaded, only_sqlite, rows, snapshot, update
from tests.support.store_faults import locked

pytestmark = pytest.mark.django_db(databases="__all__", transaction=True)


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(coroutine)


@pytest.fixture(autouse=True)
def no_connection_left() -> Iterator[None]:
    """Close the database connections of worker threads before the test database is dropped."""
    yield
    run(sync_to_async(connections.close_all)())


async def drained() -> None:
    """Wait until all earlier asynchronous calls have finished."""
    await sync_to_async(lambda: None)()


def test_hundred_concurrent_coroutines_lose_no_write(store):
    async def work(number: int) -> tuple[Any, Any]:
        ids = {"task_id": f"t{number % 10}", "thread_id": f"t{number % 10}"}
        await service.arecord_checkpoint(update(**ids, step_index=number))
        record = await service.aload_by_thread_id(ids["thread_id"])
        assert record is not None
        await service.asave_snapshot(snapshot(task_id=f"s{number}", thread_id=f"s{number}"))
        return record.checkpoint_count, len(record.checkpoints)

    async def main() -> list[tuple[Any, Any]]:
        return await asyncio.gather(*map(work, range(100)))

    for count, steps in run(main()):
        assert count == steps
    for number in range(10):
        steps = [step.step_index for step in loaded(f"t{number}").checkpoints]
        assert steps == list(range(number, 100, 10))
    assert len(rows(store, "task_records")) == 110


def test_cancelled_call_completes_or_has_no_effect(store):
    async def main() -> list[Any]:
        calls = [
            asyncio.ensure_future(service.arecord_checkpoint(update(step_index=number)))
            for number in range(60)
        ]
        for number, call in enumerate(calls):
            if number % 2:
                await asyncio.sleep(0.0005 * (number % 7))
                call.cancel()
        results = await asyncio.gather(*calls, return_exceptions=True)
        await drained()
        return results

    results = run(main())
    record = loaded()
    steps = {step.step_index for step in record.checkpoints}

    assert record.checkpoint_count == len(record.checkpoints) == len(steps)
    assert {number for number, result in enumerate(results) if result is None} <= steps
    assert {type(result) for result in results} == {type(None), asyncio.CancelledError}


@only_sqlite
def test_call_cancelled_while_waiting_for_the_lock_still_completes(store, store_file: Path):
    async def main() -> None:
        with locked(store_file):
            call = asyncio.ensure_future(service.arecord_checkpoint(update()))
            await asyncio.sleep(0.2)  # the call now waits in a thread that cannot be stopped
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        await drained()

    run(main())

    assert (loaded().checkpoint_count, len(loaded().checkpoints)) == (1, 1)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="Linux counts descriptors there.")
def test_event_loops_leak_no_file_descriptors(store):
    async def main() -> None:
        await asyncio.gather(
            service.arecord_checkpoint(update()), service.aload_by_thread_id("telegram_42")
        )

    counts = []
    for _ in range(21):
        run(main())
        counts.append(len(os.listdir("/proc/self/fd")))

    assert len(set(counts[1:])) == 1
    assert loaded().checkpoint_count == 21


def test_plain_verb_in_a_running_loop_suggests_its_twin(store):
    async def main() -> None:
        for call in (
            lambda: service.save_snapshot(snapshot()),
            lambda: service.record_checkpoint(update()),
            lambda: service.load_by_thread_id("telegram_42"),
            lambda: service.load_resumable_state("telegram_42"),
            lambda: service.delete_by_thread_id("telegram_42"),
        ):
            with pytest.raises(SynchronousOnlyOperation, match="async context"):
                call()
        await service.arecord_checkpoint(update())

    run(main())

    assert loaded().checkpoint_count == 1
