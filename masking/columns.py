"""Find secrets in columns: of tables, CSV files and statements such as `INSERT INTO t (a, b)`."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from masking.literals import Lowercase, find_matches, literals
from masking.values import (
    SPACE,
    Span,
    is_code,
    is_identifier,
    is_password_name,
    is_placeholder,
    is_secret_name,
    stands_out,
)

_LONGEST = 2000  # characters in a line
_STEMS = literals("pass", "pwd", "secret", "token", "key", "credential")
_HEADING = re.compile(
    rf"(?:{'|'.join(_STEMS)})[\w-]{{0,24}}+[\"'`*]{{0,4}}+[ ]{{0,80}}+"
    r"(?:[|│,;\t\r\n]|\\{1,15}[tnr]|\Z|(?<=[ ][ ]))"
)
_LINE_END = re.compile(r"\r?\n|(?:\\{1,15}r)?\\{1,15}n")
_JSON_TEXT = re.compile(r"[\"'][ ]?:[ ]?\\{0,15}\"|[{\[]\\{0,15}\"")  # before a JSON string
_SPACES = r"(?:(?<![ ])[ ]++)?+"  # from the first space only, to take linear time
# The marker of each delimiter between columns, and its pattern.
_DELIMITERS = (
    ("│", rf"{_SPACES}│[ ]*+"), ("|", rf"{_SPACES}\|[ ]*+"), ("\t", r"\t"), ("\\t", r"\\{1,15}t"),
    (";", r";"), (",", r",(?![ ])"), ("  ", r"[ ]{2,}+"),
)  # fmt: skip
_SPLIT = {marker: re.compile(pattern) for marker, pattern in _DELIMITERS}
_NAME = re.compile(r"[\"'`*]{0,4}[\w@.#/-]{0,64}+(?:[ ][\w@.#/-]{1,40}+){0,3}[\"'`*]{0,4}")
_RULE = re.compile(r"[\s|+:=─━┼├┤┬┴┌┐└┘╞╪╡│-]*+")
_JSON_END = re.compile(r"(?<!\\)\\*+\"(?=[,}\]]|\Z)")
_EDGES = " \t\r\"'`*\\"
_ACCOUNT = re.compile(r"(?i)user|login|e?mail|name|account|host|url|owner")
_STATEMENTS = literals("insert", "replace", "copy")
_INSERT = re.compile(
    r"(?:insert\s++(?:\w++\s++)?into|replace\s++into|copy)\s++[^\s(]{1,128}+\s*+"
    rf"\((?P<columns>[^()]{{1,2000}}+)\){SPACE}(?:values|(?P<stdin>from\s++stdin))"
)
_TUPLE = re.compile(rf"{SPACE},?{SPACE}\(")
_VALUE = re.compile(
    rf"{SPACE}(?:\\{{0,15}}'(?P<quoted>(?:[^'\\]|'')*+)\\{{0,15}}'"
    rf"|[^,()'\\]{{0,512}}+(?:\([^()']{{0,200}}+\))?){SPACE}(?P<end>[,)])"
)


class _Table(NamedTuple):
    """The header of a table: its delimiter, and the names of its columns."""

    delimiter: re.Pattern[str] | None  # None if there is only one column
    names: list[str]

    @property
    def has_accounts(self) -> bool:
        return any(_ACCOUNT.search(name) and not is_secret_name(name) for name in self.names)


def find_in_columns(text: str, lower: Lowercase) -> Iterator[Span]:
    """Yield the secrets in columns with secret names, below a header or in an SQL statement."""
    position = 0
    for heading in find_matches(_HEADING, lower, lower.starts(*_STEMS)):
        if heading.start() >= position:
            start, position = _line_around(text, heading.start(), position)
            table = _table(text, start, position)
            if not table:
                continue
            for row in _rows(text, position, table):
                yield from _secrets(text, table, row)
                position = row[-1][1]
    for insert in find_matches(_INSERT, lower, lower.starts(*_STATEMENTS)):
        yield from _inserted(text, insert)


def _rows(text: str, position: int, table: _Table) -> Iterator[list[tuple[int, int]]]:
    """Yield the cells of each row below a header that ends at a position."""
    for start, end in _lines(text, position):
        if not text[start:end].strip() or text.startswith("\\.", start):
            return
        if not _RULE.fullmatch(text, start, end):
            cells = _cells(text, start, end, table.delimiter)
            if len(cells) - len(table.names) not in (0, 1):
                return
            yield cells


def _line_around(text: str, position: int, since: int) -> tuple[int, int]:
    """Return the start and end of the line with this position; it starts at `since` or later."""
    since = max(since, position - _LONGEST)
    since = max(since, text.rfind("\n", since, position) + 1)
    before = text[since:position]
    breaks = [*_LINE_END.finditer(before), *_JSON_TEXT.finditer(before)]
    start = since + max((match.end() for match in breaks), default=0)
    return start, _line_end(text, position)


def _line_end(text: str, position: int) -> int:
    """Return where a line ends, before a raw or escaped line break."""
    most = text.find("\n", position, position + _LONGEST)
    most = min(len(text), position + _LONGEST) if most < 0 else most
    ending = _LINE_END.search(text, position, most)
    return ending.start() if ending else most


def _lines(text: str, position: int) -> Iterator[tuple[int, int]]:
    """Yield the starts and ends of the lines after the one that ends at a position."""
    while ending := _LINE_END.match(text, position):
        position = _line_end(text, ending.end())
        yield ending.end(), position


def _table(text: str, start: int, end: int) -> _Table | None:
    """Return the table whose header is this line, if a column has a secret name."""
    line = text[start:end]
    for marker, delimiter in _SPLIT.items():
        if marker in line.strip():
            names = [line[slice(*cell)] for cell in _cells(line, 0, len(line), delimiter)]
            break
    else:
        below = next(_lines(text, end), (0, 0))
        is_ruled = "--" in text[slice(*below)] and _RULE.fullmatch(text, *below)
        delimiter, names = None, [line] if is_ruled else []
    if not all(_NAME.fullmatch(name.strip(" \r")) for name in names):
        return None
    names = [name.strip(_EDGES).replace(" ", "_") for name in names]
    is_single = len(names) < 2 and line.lstrip()[:1] not in ("|", "│")
    if delimiter and (is_single or line.strip(_EDGES)[-1:] in (",", ";")):
        return None  # an argument on a line of its own
    return _Table(delimiter, names) if any(map(is_secret_name, names)) else None


def _cells(
    text: str, start: int, end: int, delimiter: re.Pattern[str] | None
) -> list[tuple[int, int]]:
    """Return where the cells of a row start and end, without the delimiters around the row."""
    cells, quotes, since = [], 0, start
    for match in delimiter.finditer(text, start, end) if delimiter else ():
        quotes += text.count('"', since, match.start())
        if not quotes % 2:
            cells.append((start, match.start()))
            start = match.end()
        since = match.end()
    cells.append((start, end))
    outer = {0, len(cells) - 1}
    return [
        cell
        for index, cell in enumerate(cells)
        if index not in outer or text[slice(*cell)].strip(_EDGES)
    ]


def _secrets(text: str, table: _Table, cells: list[tuple[int, int]]) -> Iterator[Span]:
    """Yield the secrets in a row, whose first column may lack a name."""
    for name, (start, end) in zip(table.names, cells[-len(table.names) :], strict=True):
        if is_secret_name(name):
            value = text[start:end]
            stripped = _JSON_END.split(value.strip(_EDGES), maxsplit=1)[0]
            if _is_in_column(name, stripped, table.has_accounts):
                start += value.index(stripped)
                yield Span(start, start + len(stripped))


def _is_in_column(name: str, value: str, has_accounts: bool) -> bool:
    """Return whether a cell holds a secret; beside an account, a word may be a password."""
    if len(value) < 4 or re.search(r"\s", value) or is_placeholder(value) or is_secret_name(value):
        return False
    if is_code(value) or (value.endswith(")") and "(" not in value):
        return False
    if is_password_name(name):
        return stands_out(value) or (has_accounts and not is_identifier(value))
    return len(value) >= 8 and stands_out(value) and not is_identifier(value)


def _inserted(text: str, insert: re.Match[str]) -> Iterator[Span]:
    """Yield the secrets among the values that an SQL statement inserts."""
    names = [name.strip(_EDGES + "[]\n") for name in insert["columns"].split(",")]
    if not any(map(is_secret_name, names)):
        return
    if insert["stdin"]:
        table = _Table(re.compile(r"\t|\\{1,15}t"), names)
        for row in _rows(text, _line_end(text, insert.end()), table):
            yield from _secrets(text, table, row)
        return
    opening = _TUPLE.match(text, insert.end())
    while opening:
        position = opening.end()
        for name in names:
            value = _VALUE.match(text, position)
            if not value:
                return
            if value["quoted"] and is_secret_name(name) and not is_placeholder(value["quoted"]):
                yield Span(*value.span("quoted"))
            position = value.end()
            if value["end"] == ")":
                break
        opening = _TUPLE.match(text, position)
