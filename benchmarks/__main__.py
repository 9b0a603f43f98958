"""`python -m benchmarks` prints one table: the store's verbs beside the floor and other stores."""

import argparse
import sys
from pathlib import Path

from benchmarks import measure, table
from benchmarks.apart import in_new_process, working_folder
from benchmarks.audit import Store
from tests.support.postgres import running_postgres, unavailable_reason

SECONDS, QUICK = 2.5, 0.25  # for each row of the table


def main() -> None:
    options = _options()
    seconds = QUICK if options.quick else SECONDS
    with working_folder(options.folder) as folder:
        medians = {
            name: _measure(name, folder, seconds, options.cpu) for name in _databases(options.only)
        }
    rows = [row for name, of_name in medians.items() for row in table.rows(name, of_name)]
    print(table.text([table.HEAD, *rows]))
    for name, of_name in medians.items():
        print(table.resuming(name, of_name))
    print(f"{table.MISSED}: a bound is missed. {table.ABSENT}: not installed, or not there.")


def _databases(only: str | None) -> list[str]:
    chosen = [name for name in ("SQLite", "PostgreSQL") if only in (None, name.lower())]
    if "PostgreSQL" in chosen and (reason := unavailable_reason()):
        print(reason, file=sys.stderr)
        chosen.remove("PostgreSQL")
    return chosen


def _measure(database: str, folder: Path, seconds: float, processor: bool) -> measure.Medians:
    if database == "SQLite":
        store = Store.on_sqlite(folder)
        return in_new_process(measure.measured, store, folder, seconds, processor)
    with running_postgres(folder) as server:
        store = Store.on_postgresql(server)
        return in_new_process(measure.measured, store, folder, seconds, processor)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the time, and noisy")
    parser.add_argument("--only", choices=["sqlite", "postgresql"], help="one database")
    parser.add_argument("--cpu", action="store_true", help="processor time, for a busy machine")
    parser.add_argument("--folder", type=Path, help="where to put the stores, on a disk")
    return parser.parse_args()


if __name__ == "__main__":
    main()
