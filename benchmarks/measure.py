"""Measures one database in a process of its own: every verb, size and contender, in turns."""

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

WARM_UP, FEWEST, MOST = 1, 5, 500  # rounds
SHARE = 5  # times what the quickest has used
TURN, CALLS = 0.002, 10  # seconds that a turn takes, and the calls that it makes at most

Medians = dict[tuple[str, str], dict[str, float]]  # by verb and size, then by contender; seconds


def measured(store: Store, folder: Path, seconds: float, processor: bool) -> Medians:
    """Medians of a new store; `seconds` is for one row of the table.

    What stands beside it gets files of its own in the folder, or the same server.
    """
    clock.processor = processor
    connect(database_url=store.url)
    with ExitStack() as stack:
        floor = stack.enter_context(original.opened(store, folder))
        others = [stack.enter_context(peer) for peer in peers.beside(store, folder)]
        return _medians([*_ours_and(floor), *others], seconds)


def _ours_and(floor: original.Original) -> list[Contender]:
    from benchmarks.stores import Floor, Ours  # which needs what connect has set up

    return [Ours(), Floor(floor)]


def _medians(contenders: list[Contender], seconds: float) -> Medians:
    medians: Medians = {}
    for size in SIZES:
        calls = {contender.name: contender.calls(size) for contender in contenders}
        for verb in VERBS:
            _tell(f"{size}: {verb}")
            of_verb = {name: of_name[verb] for name, of_name in calls.items()}
            medians[verb, str(size)] = _in_turns(of_verb, seconds)
    return medians


def _tell(progress: str) -> None:
    """For a person who waits at a terminal."""
    if sys.stderr.isatty():
        print(f"\r{progress:50}", end="\r", file=sys.stderr, flush=True)


def _in_turns(calls: dict[str, Call], seconds: float) -> dict[str, float]:
    """Medians over rounds in which each has its turn, in an order that changes.

    Who has had far more than its share of the time by then sits out, and ours gets more rounds.
    """
    order = list(calls)
    took: dict[str, list[float]] = {name: [] for name in order}
    used = dict.fromkeys(order, 0.0)
    chance, start, rounds = random.Random(0), time.monotonic(), -WARM_UP
    while rounds < FEWEST or (time.monotonic() < start + seconds and rounds < MOST):
        chance.shuffle(order)
        for name in order:
            if rounds < FEWEST or used[name] < SHARE * min(used.values()):
                began = time.monotonic()
                turn = _turn(calls[name])
                used[name] += time.monotonic() - began
                took[name] += turn if rounds >= 0 else []
        rounds += 1
    return {name: statistics.median(times) for name, times in took.items()}


def _turn(call: Call) -> list[float]:
    """A few short calls in a row, or one long call: a processor's caches are warm as in a loop."""
    took: list[float] = []
    while sum(took) < TURN and len(took) < CALLS:
        call.before()
        took.append(call.timed())
    return took
