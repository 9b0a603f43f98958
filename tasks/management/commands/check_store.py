import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandError, CommandParser

from tasks.maintenance import read_sources, store_check
from tasks.maintenance.findings import Finding
from tasks.management import base
from tasks.store.workspace import location


class Command(base.Command):
    help = (
        "Report problems in the store and where they are, without changing anything. Exits with 1"
        " if there are any."
    )
    requires = ()
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object per line")
        limit_help = "findings to show of each kind (default: %(default)s)"
        parser.add_argument("--limit", type=int, default=20, help=limit_help)

    def handle(self, *args: Any, **options: Any) -> None:
        format_line = _json_line if options["json"] else _plain_line
        counts: Counter[tuple[str, bool]] = Counter()
        for finding in self.findings():
            counts[finding.kind, finding.wrong] += 1
            if counts[finding.kind, finding.wrong] <= options["limit"]:
                self.stdout.write(format_line(finding))
        for (kind, is_wrong), count in counts.items():
            if more := max(0, count - options["limit"]):
                self.stdout.write(format_line(Finding(kind, f"and {more} more", wrong=is_wrong)))
        wrong = sum(count for (_, is_wrong), count in counts.items() if is_wrong)
        problems = f"{wrong or 'no'} problem{'' if wrong == 1 else 's'}"
        summary = f"{location()}: {problems}, {counts.total() - wrong} notes"
        self.stdout.write(format_line(Finding("summary", summary, wrong=bool(wrong))))
        if wrong:
            raise SystemExit(1)

    def findings(self) -> Iterator[Finding]:
        try:
            source = read_sources.open_store()
        except read_sources.ERRORS as error:
            reason = getattr(error, "strerror", None) or error
            raise CommandError(f"{location()}: the store cannot be opened: {reason}.") from error
        try:
            yield from store_check.findings(source)
        finally:
            source.close()


def _plain_line(finding: Finding) -> str:
    if finding.kind == "summary":
        return finding.text
    prefix = "" if finding.wrong else "note: "
    position = " ".join(filter(None, (finding.table, finding.key, finding.column)))
    return prefix + ": ".join(filter(None, (finding.kind, position, finding.text)))


def _json_line(finding: Finding) -> str:
    return json.dumps(finding._asdict())
