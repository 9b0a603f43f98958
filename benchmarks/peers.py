"""Contenders that use other libraries for storing agents' messages, measured with the same data.

README.md explains how these libraries' calls differ from ours.
"""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from importlib import import_module
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.audit import Store
from benchmarks.calls import Call, Contender, clock, clocked
from benchmarks.workload import CHECKPOINTS, Size, history


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the module's parent package is missing
        return False


class LangGraph:
    """LangGraph's checkpointer. `put` stands in for write verbs, `get_tuple` for read verbs."""

    name = "langgraph"

    def __init__(self, saver: Any) -> None:
        self.saver = saver
        self.saver.setup()
        self.new_checkpoint = import_module("langgraph.checkpoint.base").empty_checkpoint
        self.versions = map("{:032}".format, count(1))

    def calls(self, size: Size) -> dict[str, Call]:
        messages = history(size)
        reading, writing, deleting = (
            {"configurable": {"thread_id": f"{verb} {size}", "checkpoint_ns": ""}}
            for verb in ("read", "write", "delete")
        )
        self._fill(reading, messages)
        put = self._put_call(writing, messages)
        get = Call(clocked(self.saver.get_tuple, reading))
        delete = Call(
            clocked(self.saver.delete_thread, f"delete {size}"),
            lambda: self._fill(deleting, messages),
        )
        return {
            "record_checkpoint": put,
            "save_snapshot running": put,
            "save_snapshot completed": put,
            "load_by_thread_id": get,
            "load_resumable_state": get,
            "delete_by_thread_id": delete,
        }

    def _put_call(self, config: Any, messages: list[dict[str, str]]) -> Call:
        arguments: list[Any] = []

        def prepare() -> None:
            arguments[:] = self._arguments(messages)

        return Call(clocked(lambda: self.saver.put(config, *arguments)), prepare)

    def _fill(self, config: Any, messages: list[dict[str, str]]) -> None:
        for _ in range(CHECKPOINTS):
            self.saver.put(config, *self._arguments(messages))

    def _arguments(self, messages: list[dict[str, str]]) -> tuple[Any, Any, Any]:
        """Return the arguments for `put`: a new checkpoint, its metadata and the new versions."""
        versions = {"messages": next(self.versions)}
        checkpoint = self.new_checkpoint() | {
            "channel_values": {"messages": messages},
            "channel_versions": versions,
        }
        return checkpoint, {"source": "loop", "step": 1, "parents": {}}, versions


class OpenAIAgents:
    """An OpenAI Agents session. `add_items` stands in for write verbs, `get_items` for reads."""

    name = "openai-agents"

    def __init__(self, file: Path, runner: asyncio.Runner) -> None:
        self.file = file
        self.runner = runner
        self.session = import_module("agents").SQLiteSession

    def calls(self, size: Size) -> dict[str, Call]:
        messages = history(size)
        full, empty = (self.session(f"{verb} {size}", self.file) for verb in ("read", "write"))
        self.runner.run(full.add_items(messages))

        def fill() -> None:
            self.runner.run(empty.add_items(messages))

        def clear() -> None:
            self.runner.run(empty.clear_session())

        add = Call(self._clocked(lambda: empty.add_items(messages)), clear)
        get = Call(self._clocked(full.get_items))
        return {
            "record_checkpoint": add,
            "save_snapshot running": add,
            "save_snapshot completed": add,
            "load_by_thread_id": get,
            "load_resumable_state": get,
            "delete_by_thread_id": Call(self._clocked(empty.clear_session), fill),
        }

    def _clocked(self, function: Callable[[], Awaitable[object]]) -> Callable[[], float]:
        """Return a function that times the call in the event loop, excluding the loop's startup."""

        async def timed() -> float:
            start = clock()
            await function()
            return clock() - start

        return lambda: self.runner.run(timed())


@contextmanager
def _langgraph_on_sqlite(folder: Path) -> Iterator[Contender]:
    saver = import_module("langgraph.checkpoint.sqlite").SqliteSaver
    file = folder / "langgraph.db"
    with closing(sqlite3.connect(file, check_same_thread=False)) as connection:
        yield LangGraph(saver(connection))


@contextmanager
def _langgraph_on_postgresql(address: str) -> Iterator[Contender]:
    saver = import_module("langgraph.checkpoint.postgres").PostgresSaver
    with saver.from_conn_string(address) as instance:
        yield LangGraph(instance)


@contextmanager
def _openai_agents(folder: Path) -> Iterator[Contender]:
    with asyncio.Runner() as runner:
        yield OpenAIAgents(folder / "openai-agents.db", runner)


def installed_peers(store: Store, folder: Path) -> list[AbstractContextManager[Contender]]:
    """Return a context manager for each installed contender. SQLite files go in the folder."""
    if not store.is_file:
        module = "langgraph.checkpoint.postgres"
        return [_langgraph_on_postgresql(store.address)] if _is_installed(module) else []
    peers = {"langgraph.checkpoint.sqlite": _langgraph_on_sqlite, "agents.memory": _openai_agents}
    return [peer(folder) for module, peer in peers.items() if _is_installed(module)]
