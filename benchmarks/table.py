"""The table: what was measured, beside what it should be."""

from collections.abc import Iterator

from benchmarks.calls import VERBS
from benchmarks.measure import Medians
from benchmarks.workload import SIZES

WRITES, LOADS = (2.5, 2.2, 1.3, 1.1), (1.6, 1.5, 1.2, 1.1)  # times the floor, by size
BOUNDS = {
    "record_checkpoint": WRITES,
    "save_snapshot running": WRITES,
    "save_snapshot completed": WRITES,
    "load_by_thread_id": LOADS,
}
RESUMING = 10  # times as fast as loading the whole record, at the largest size
PEERS = ["langgraph", "openai-agents"]
MISSED, ABSENT = "✗", "–"

NAMES = 3  # columns of words, before those of figures
HEAD = ["database", "verb", "messages", "ours µs", "floor µs", "ours ÷ floor", "bound", "  "] + [
    cell for peer in PEERS for cell in (f"{peer} µs", "÷ ours")
]


def rows(database: str, medians: Medians) -> Iterator[list[str]]:
    """A row for each size and verb. Only on SQLite are there bounds."""
    for verb in VERBS:
        for index, size in enumerate(map(str, SIZES)):
            row = medians[verb, size]
            ratio = row["ours"] / row["floor"]
            bound, is_missed = "", False
            if database == "SQLite" and verb in BOUNDS:
                limit = BOUNDS[verb][index]
                bound, is_missed = f"≤ {limit}", ratio > limit
            measured = [_micro(row["ours"]), _micro(row["floor"]), f"{ratio:.2f}"]
            peers = [cell for peer in PEERS for cell in _beside(row, peer)]
            mark = MISSED if is_missed else ""
            yield [database, verb, size, *measured, bound, mark, *peers]


def resuming(database: str, medians: Medians) -> str:
    """How much faster it is to resume than to load, at the largest size."""
    size = str(SIZES[-1])
    load, resume = (medians[v, size]["ours"] for v in ("load_by_thread_id", "load_resumable_state"))
    ratio = load / resume
    mark = f" {MISSED}" if ratio < RESUMING else ""
    return (
        f"{database}, {size}: load_resumable_state is {ratio:.1f} times as fast as"
        f" load_by_thread_id (at least {RESUMING}){mark}"
    )


def text(rows: list[list[str]]) -> str:
    """Rows of a table in Markdown, in columns that line up."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = "<" * NAMES + ">" * (len(widths) - NAMES)
    columns = list(zip(sides, widths, strict=True))
    ruler = ["-" * width if side == "<" else "-" * (width - 1) + ":" for side, width in columns]
    lines = [
        "| "
        + " | ".join(
            f"{cell:{side}{width}}" for cell, (side, width) in zip(row, columns, strict=True)
        )
        + " |"
        for row in (rows[0], ruler, *rows[1:])
    ]
    return "\n".join(lines)


def _micro(seconds: float) -> str:
    return f"{seconds * 1e6:,.0f}"


def _beside(row: dict[str, float], peer: str) -> tuple[str, str]:
    if peer not in row:
        return ABSENT, ABSENT
    return _micro(row[peer]), f"{row[peer] / row['ours']:.1f}"
