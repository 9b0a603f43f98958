"""Formats the benchmarks' results and the bounds they must meet as a table."""

from collections.abc import Iterator

from benchmarks.calls import VERBS
from benchmarks.measure import Medians
from benchmarks.workload import SIZES

# The maximum ours/floor ratio, by history size; 0 is no bound.
WRITES, LOADS = (2.5, 2.2, 1.3, 1.1), (1.6, 1.5, 1.2, 1.1)
BOUNDS: dict[str, dict[str, tuple[float, ...]]] = {
    "SQLite": {
        "record_checkpoint": WRITES,
        "save_snapshot running": WRITES,
        "save_snapshot completed": WRITES,
        "load_by_thread_id": LOADS,
    },
    "PostgreSQL": dict.fromkeys(VERBS, (1.5, 0, 1.15, 0)),
}
MIN_RESUME_RATIO = 10  # resuming must be this many times as fast as loading, at the largest size
PEERS = ["langgraph", "openai-agents"]
MISSED, ABSENT = "✗", "–"

TEXT_COLUMNS = 3  # number of left-aligned text columns before the numbers
HEADER = ["database", "verb", "messages", "ours µs", "floor µs", "ours ÷ floor", "bound", "  "] + [
    cell for peer in PEERS for cell in (f"{peer} µs", "÷ ours")
]


def rows(database: str, medians: Medians) -> Iterator[list[str]]:
    """Yield a table row for each verb and history size."""
    for verb in VERBS:
        for index, size in enumerate(map(str, SIZES)):
            row = medians[verb, size]
            ratio = row["ours"] / row["floor"]
            limit = BOUNDS[database].get(verb, (0,) * len(SIZES))[index]
            bound, is_missed = (f"≤ {limit}", ratio > limit) if limit else ("", False)
            measured = [_microseconds(row["ours"]), _microseconds(row["floor"]), f"{ratio:.2f}"]
            peers = [cell for peer in PEERS for cell in _peer_cells(row, peer)]
            mark = MISSED if is_missed else ""
            yield [database, verb, size, *measured, bound, mark, *peers]


def resume_ratio(database: str, medians: Medians) -> str:
    """Report how much faster resuming a thread is than loading it, at the largest size."""
    size = str(SIZES[-1])
    load, resume = (medians[v, size]["ours"] for v in ("load_by_thread_id", "load_resumable_state"))
    ratio = load / resume
    mark = f" {MISSED}" if ratio < MIN_RESUME_RATIO else ""
    return (
        f"{database}, {size}: load_resumable_state is {ratio:.1f} times as fast as"
        f" load_by_thread_id (at least {MIN_RESUME_RATIO}){mark}"
    )


def format_table(rows: list[list[str]], text_columns: int = TEXT_COLUMNS) -> str:
    """Return a Markdown table with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = "<" * text_columns + ">" * (len(widths) - text_columns)
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


def _microseconds(seconds: float) -> str:
    return f"{seconds * 1e6:,.0f}"


def _peer_cells(row: dict[str, float], peer: str) -> tuple[str, str]:
    if peer not in row:
        return ABSENT, ABSENT
    return _microseconds(row[peer]), f"{row[peer] / row['ours']:.1f}"
