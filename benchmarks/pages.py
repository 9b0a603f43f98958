"""`python -m benchmarks.pages` times pages on large stores, which it makes itself.

`lists`: the thread list and its searches, on stores of 1,000 and 1,000,000 tasks of 1 KB and of
20,000 tasks of 100 KB, on SQLite and PostgreSQL. `histories`: pages and exports of threads of 10 KB
to 100 MB, and of 10,000 steps, on SQLite. Times are medians of the time inside the server, in one
process, when all its caches are warm.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from typing import Self

from benchmarks import generated, page_histories
from benchmarks.audit import Store
from benchmarks.calls import clock
from benchmarks.isolation import in_new_process, temporary_folder
from benchmarks.page_requests import (
    LOOP,
    Result,
    first_visit,
    fixed_loop,
    link,
    measure,
    read,
    sign_in,
)
from benchmarks.table import format_table
from gloamy_site import connect
from tests.support.postgres import running_postgres, unavailable_reason

Results = dict[str, Result]

LIST, SEARCH, COUNTS, POLL = 0.030, 0.300, 0.001, 0.010  # seconds wanted
KILOBYTE = 1_000


@dataclass(frozen=True)
class Size:
    tasks: int
    characters: int

    @classmethod
    def parse(cls, text: str) -> Self:
        tasks, kilobytes = text.split("x")
        return cls(int(tasks), int(kilobytes) * KILOBYTE)

    def __str__(self) -> str:
        return f"{self.tasks:,} × {self.characters // KILOBYTE} KB"


SIZES = [Size(1_000, KILOBYTE), Size(1_000_000, KILOBYTE), Size(20_000, 100 * KILOBYTE)]
QUICK_SIZES = [Size(1_000, KILOBYTE), Size(20_000, KILOBYTE), Size(200, 100 * KILOBYTE)]

_ID = generated.Tasks.id(7)
LISTS = {
    "first page": ("", LIST),
    "next page": ("next", LIST),
    "previous page": ("prev", LIST),
    **{
        f"sorted by {name}": (f"sort={name}", LIST)
        for name in ("-activity", "age", "-age", "steps", "-steps")
    },
    **{
        f"status {name}": (f"status={name}", LIST)
        for name in ("running", "stalled", "completed", "failed", "timed_out", "cancelled")
    },
    "a rare channel": (f"channel={generated.RARE_CHANNEL}", LIST),
    "a frequent channel": ("channel=slack", LIST),
    "a rare model": (f"model={generated.RARE_MODEL[1]}", LIST),
    "a model and a status": ("model=gpt-5&status=failed", LIST),
    "cannot resume": ("resume=no", LIST),
    "last 24 hours, by steps": ("period=24h&sort=steps", LIST),
    "last 30 days": ("period=30d", LIST),
    "last 30 days, by age": ("period=30d&sort=age", LIST),
    "an id": (f"q={_ID}", LIST),
    "an id, in ids": (f"q={_ID}&where=ids", LIST),
    "no id, in ids": ("q=nonesuch_4711&where=ids", LIST),
    "a rare word": (f"q={generated.RARE_WORD}", SEARCH),
    "a word that is nowhere": ("q=floccinaucinihil", SEARCH),
}
PARTS = ("lists", "histories")


def main() -> None:
    options = _options()
    clock.use_cpu_time = options.cpu
    with temporary_folder(options.folder) as folder:
        if "lists" in options.part:
            _lists(folder, options)
        if "histories" in options.part:
            _print(page_histories.run(folder, quick=options.quick), page_histories.wanted())


def _lists(folder: Path, options: argparse.Namespace) -> None:
    sizes = options.sizes or (QUICK_SIZES if options.quick else SIZES)
    columns: dict[str, Results] = {}
    for database in ("SQLite", "PostgreSQL"):
        if options.only in (None, database.lower()):
            for number, size in enumerate(sizes):
                place = folder / f"{database}-{number}"
                place.mkdir()
                with _store(database, place) as store:
                    columns[f"{database}, {size}"] = in_new_process(
                        measure_lists, store, place, size, options.cpu
                    )
    _print(columns, {name: wanted for name, (_, wanted) in LISTS.items()} | OTHERS)


OTHERS = {
    "the counts of states": COUNTS,
    "a thread": LIST,
    "a poll of the list": POLL,
    "a poll of a thread": POLL,
}


@contextmanager
def _store(database: str, folder: Path) -> Iterator[Store]:
    if database == "SQLite":
        yield Store.on_sqlite(folder)
        for file in folder.glob("tasks.db*"):
            file.unlink()
    elif reason := unavailable_reason():
        sys.exit(reason)
    else:
        with running_postgres(folder) as server:
            yield Store.on_postgresql(server)


def measure_lists(store: Store, folder: Path, size: Size, use_cpu_time: bool) -> Results:
    """Fill the store, let the site index it, and time its pages."""
    clock.use_cpu_time = use_cpu_time
    os.environ["SITE_DATABASE_URL"] = f"sqlite:///{folder}/site.sqlite3"
    connect(database_url=store.url)
    results: Results = {}
    start = time.monotonic()
    generated.fill(store, size.tasks, size.characters)
    results["(generating the store)"] = Result(time.monotonic() - start)
    client = sign_in()

    results["(building the index)"] = _build_index(folder)
    results |= {name: _list(client, query) for name, (query, _) in LISTS.items()}
    return results | _other_pages(client)


def _build_index(folder: Path) -> Result:
    """Let `manage.py index` build it; the memory is that of the largest of its processes."""
    start = time.monotonic()
    command = [sys.executable, "manage.py", "index"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - this project
    seconds, megabytes = time.monotonic() - start, getrusage(RUSAGE_CHILDREN).ru_maxrss // KILOBYTE
    size = sum(file.stat().st_size for file in folder.glob("index.sqlite3*"))
    return Result(seconds, megabytes, f"index {size / 1e6:,.0f} MB")


def _list(client: object, query: str) -> Result:
    url = f"/?{query}"
    if query in ("next", "prev"):
        page = "/?after=2026-10-20T12:00:00%2B00:00&task=x" if query == "prev" else "/"
        text = read(client.get(page)).content.decode()  # type: ignore[attr-defined]
        name = "after" if query == "next" else "before"
        url = link(text, rf"/\?[^\"]*{name}=[^\"]*")
    page = read(client.get(url)).content.decode()  # type: ignore[attr-defined]
    rows = page.count('<tr id="thread-')
    result = measure(client, url)
    partial = ", partial" if "Search further" in page else ""
    return Result(result.seconds, result.megabytes, f"{rows}{partial}")


def _other_pages(client: object) -> Results:
    from tasks.listing.filters import Filters
    from tasks.listing.thread_list import ThreadList

    threads = ThreadList(Filters())
    times = []
    for _ in range(9):
        start = clock()
        threads.counts()
        times.append(clock() - start)
    page = read(client.get("/")).content.decode()  # type: ignore[attr-defined]
    poll = link(page, r"/\?[^\"]*seen=[^\"]*")
    thread = f"/thread/live/?id={_ID}"
    tag = client.get(thread).headers["ETag"]  # type: ignore[attr-defined]
    return {
        "the counts of states": Result(sorted(times)[4]),
        "a thread": measure(client, f"/thread/?id={_ID}"),
        "a poll of the list": measure(client, poll),
        "a poll of a thread": measure(client, thread, **{"If-None-Match": tag}),
        LOOP: fixed_loop(),
        "a first visit": Result(0, note=f"{first_visit(client):,} bytes"),
    }


def _print(columns: dict[str, Results], wanted: dict[str, float]) -> None:
    header = ["", "wanted ms", *columns]
    rows = [
        [name, _milliseconds(wanted.get(name)), *(_cell(c[name]) for c in columns.values())]
        for name in next(iter(columns.values()))
    ]
    print(format_table([header, *rows], text_columns=1))


def _cell(result: Result) -> str:
    memory = f", {result.megabytes} MB" if result.megabytes > 20 else ""
    return f"{_milliseconds(result.seconds)}{memory}{f' ({result.note})' if result.note else ''}"


def _milliseconds(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds * 1e3:,.0f}" if seconds > 0.02 else f"{seconds * 1e3:.1f}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages", description=__doc__)
    parser.add_argument("--folder", type=Path, help="where to put the stores, on a disk")
    parser.add_argument("--quick", action="store_true", help="small stores")
    parser.add_argument(
        "--sizes", nargs="*", type=Size.parse, help="of the lists' stores, such as 20000x100 (KB)"
    )
    parser.add_argument("--only", choices=["sqlite", "postgresql"], help="one database, for lists")
    parser.add_argument("--part", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--cpu", action="store_true", help="processor time, for a busy machine")
    return parser.parse_args()


if __name__ == "__main__":
    main()
