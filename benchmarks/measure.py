"""Measures each store verb for each contender and history size, on one database."""

import random
import statistics
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks import original, peers
from benchmarks.audit import Store
from benchmarks.calls import VERBS, Call, Contender, clock
from benchmarks.workload import SIZES
from gloamy_site import connect

WARM_UP_ROUNDS, MIN_ROUNDS, MAX_ROUNDS = 1, 5, 500
MAX_SHARE = 5  # a contender skips rounds once it has used this multiple of the fastest one's time
TURN_SECONDS, TURN_CALLS = 0.002, 10  # a turn ends when it reaches either limit

Medians = dict[tuple[str, str], dict[str, float]]  # in seconds, by (verb, size), then by contender


def run(store: Store, folder: Path, seconds: float, use_cpu_time: bool) -> Medians:
    """Measure our store and the other contenders, spending `seconds` on each row of the results.

    Contenders create their own SQLite files in the folder, or use the store's PostgreSQL server.
    """
    clock.use_cpu_time = use_cpu_time
    connect(database_url=store.url)
    with ExitStack() as stack:
        floor = stack.enter_context(original.create(store, folder))
        others = [stack.enter_context(peer) for peer in peers.installed_peers(store, folder)]
        from benchmarks.stores import Floor, Ours  # `connect` must be called before this import

        return _medians([Ours(), Floor(floor), *others], seconds)


def _medians(contenders: list[Contender], seconds: float) -> Medians:
    medians: Medians = {}
    for size in SIZES:
        calls = {contender.name: contender.calls(size) for contender in contenders}
        for verb in VERBS:
            _show_progress(f"{size}: {verb}")
            verb_calls = {name: by_verb[verb] for name, by_verb in calls.items()}
            medians[verb, str(size)] = _take_turns(verb_calls, seconds)
    return medians


def _show_progress(progress: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{progress:50}", end="\r", file=sys.stderr, flush=True)


def _take_turns(calls: dict[str, Call], seconds: float) -> dict[str, float]:
    """Return each contender's median time over rounds in which they take turns in random order.

    Contenders that have used much more time than the fastest one skip rounds.
    """
    order = list(calls)
    times: dict[str, list[float]] = {name: [] for name in order}
    used = dict.fromkeys(order, 0.0)
    rng, start, rounds = random.Random(0), time.monotonic(), -WARM_UP_ROUNDS
    while rounds < MIN_ROUNDS or (time.monotonic() < start + seconds and rounds < MAX_ROUNDS):
        rng.shuffle(order)
        for name in order:
            if rounds < MIN_ROUNDS or used[name] < MAX_SHARE * min(used.values()):
                turn_start = time.monotonic()
                turn = _turn(calls[name])
                used[name] += time.monotonic() - turn_start
                times[name] += turn if rounds >= 0 else []
        rounds += 1
    return {name: statistics.median(values) for name, values in times.items()}


def _turn(call: Call) -> list[float]:
    """Time one long call, or several short ones in a row so that the caches are warm."""
    times: list[float] = []
    while sum(times) < TURN_SECONDS and len(times) < TURN_CALLS:
        call.setup()
        times.append(call.timed())
    return times
