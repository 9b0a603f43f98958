"""`python -m benchmarks.agents` simulates many agents on one PostgreSQL server.

Each agent records a checkpoint after a random pause. Every tenth ends its run, which starts again
by loading what it resumes with. A write is due at a certain moment, whether or not the server keeps
up, and its latency includes the time for which it had to wait until then.
"""

import argparse
import heapq
import multiprocessing
import random
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import workload
from benchmarks.audit import Store, deadlocks, inconsistencies
from benchmarks.isolation import in_new_process, temporary_folder
from benchmarks.stress_work import set_barrier, wait_for_others
from benchmarks.workload import Size
from gloamy_site import connect
from tests.support.pooler import running_pooler
from tests.support.postgres import running_postgres

PROCESSES, THREADS = 4, 10  # each thread has a connection, with which it writes for many agents
HISTORY = Size(20, 500)
RUN = 10  # writes in a run of an agent


def measure(store: Store, agents: int, pause: float, seconds: float) -> list[float]:
    """Return the latency of each write, in seconds, of agents that write after this mean pause."""
    workers = PROCESSES * THREADS
    groups = [range(agents)[n::workers] for n in range(workers)]
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(PROCESSES)
    with ProcessPoolExecutor(PROCESSES, spawn, set_barrier, (barrier,)) as executor:
        work = partial(_process, store.url, pause=pause, seconds=seconds)
        results = executor.map(work, [groups[n::PROCESSES] for n in range(PROCESSES)])
        return [latency for latencies in results for latency in latencies]


def _process(url: str, groups: list[range], pause: float, seconds: float) -> list[float]:
    connect(database_url=url)
    from tasks import service  # noqa: F401 - takes time

    wait_for_others()
    work = partial(_write, start=time.monotonic(), pause=pause, seconds=seconds)
    with ThreadPoolExecutor(THREADS) as executor:
        return [latency for latencies in executor.map(work, groups) for latency in latencies]


def _write(agents: range, start: float, pause: float, seconds: float) -> list[float]:
    latencies: list[float] = []
    rng, messages = random.Random(agents[0]), workload.history(HISTORY)
    due = [(start + rng.expovariate(1 / pause), agent, 0) for agent in agents]
    heapq.heapify(due)
    while max(due[0][0], time.monotonic()) < start + seconds:
        moment, agent, step = due[0]
        time.sleep(max(0, moment - time.monotonic()))
        _step(f"agent-{agent}", messages, step)
        latencies.append(time.monotonic() - moment)
        heapq.heapreplace(due, (moment + rng.expovariate(1 / pause), agent, step + 1))
    return latencies


def _step(agent: str, messages: list[dict[str, str]], step: int) -> None:
    from tasks import service

    if step % RUN == 0:
        service.load_resumable_state(agent)
    if step % RUN == RUN - 1:
        snapshot = workload.snapshot(agent, messages, "completed", "done")
        service.save_snapshot(msgspec.convert(snapshot, service.TaskSnapshot))
    else:
        update = workload.update(agent, messages, step, "a step is done")
        service.record_checkpoint(msgspec.convert(update, service.TaskCheckpointUpdate))


@contextmanager
def _server(folder: Path, *, is_pooled: bool) -> Iterator[tuple[Store, Store]]:
    """Yield the store as the agents reach it, and as it is reached directly."""
    with running_postgres(folder) as server:
        direct = Store.on_postgresql(server)
        if not is_pooled:
            yield direct, direct
            return
        with running_pooler(server, sessions=20) as pooler:
            port = f"&port={pooler['PORT']}"
            yield Store(direct.url + port, direct.address), direct


def main() -> None:
    options = _options()
    print("| pause | due a second | written a second | median | 95% | 99% | longest |")
    print("|--:|--:|--:|--:|--:|--:|--:|")
    for pause in options.pauses:
        with (
            temporary_folder(options.folder) as folder,
            _server(folder, is_pooled=options.pooler) as (store, direct),
        ):
            in_new_process(connect, database_url=direct.url)  # creates the tables
            latencies = measure(store, options.agents, pause, options.seconds)
            cuts = [1000 * cut for cut in statistics.quantiles(latencies, n=100)]
            print(
                f"| {pause:g} s | {options.agents / pause:,.0f}"
                f" | {len(latencies) / options.seconds:,.0f} | {cuts[49]:,.1f} ms"
                f" | {cuts[94]:,.1f} ms | {cuts[98]:,.1f} ms | {1000 * max(latencies):,.0f} ms |",
                flush=True,
            )
            for fault in (*inconsistencies(direct), *deadlocks(direct)):
                print(fault)


def _options() -> Any:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.agents", description=__doc__)
    parser.add_argument("--agents", type=int, default=1_000)
    parser.add_argument("--pauses", type=float, nargs="+", default=[10, 5, 2, 1], help="seconds")
    parser.add_argument("--seconds", type=float, default=20, help="the duration of each run")
    parser.add_argument("--pooler", action="store_true", help="connect through PgBouncer")
    parser.add_argument("--folder", type=Path, help="where to put the server's files, on a disk")
    return parser.parse_args()


if __name__ == "__main__":
    main()
