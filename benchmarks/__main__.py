"""`python -m benchmarks` times the store's verbs against plain drivers and other stores."""

import argparse
import sys
from pathlib import Path

from benchmarks import measure, table
from benchmarks.audit import Store
from benchmarks.isolation import in_new_process, temporary_folder
from tests.support.postgres import running_postgres, unavailable_reason

SECONDS, QUICK_SECONDS = 2.5, 0.25  # seconds to spend on each row of the results


def main() -> None:
    options = _options()
    seconds = QUICK_SECONDS if options.quick else SECONDS
    with temporary_folder(options.folder) as folder:
        medians = {
            name: _measure(name, folder, seconds, options.cpu) for name in _databases(options.only)
        }
    rows = [row for item in medians.items() for row in table.rows(*item)]
    print(table.format_table([table.HEADER, *rows]))
    for item in medians.items():
        print(table.resume_ratio(*item))
    print(f"{table.MISSED}: a bound is missed. {table.ABSENT}: not installed, or not there.")


def _databases(only: str | None) -> list[str]:
    names = [name for name in ("SQLite", "PostgreSQL") if only in (None, name.lower())]
    if "PostgreSQL" in names and (reason := unavailable_reason()):
        print(reason, file=sys.stderr)
        names.remove("PostgreSQL")
    return names


def _measure(database: str, folder: Path, seconds: float, use_cpu_time: bool) -> measure.Medians:
    if database == "SQLite":
        store = Store.on_sqlite(folder)
        return in_new_process(measure.run, store, folder, seconds, use_cpu_time)
    with running_postgres(folder) as server:
        store = Store.on_postgresql(server)
        return in_new_process(measure.run, store, folder, seconds, use_cpu_time)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the time, and noisy")
    parser.add_argument("--only", choices=["sqlite", "postgresql"], help="one database")
    parser.add_argument("--cpu", action="store_true", help="processor time, for a busy machine")
    parser.add_argument("--folder", type=Path, help="where to put the stores, on a disk")
    return parser.parse_args()


if __name__ == "__main__":
    main()
