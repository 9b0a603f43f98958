"""Find secrets in table rows and in settings such as NAME_KEY=value."""

import re
from collections.abc import Iterator

from masking.literals import Lowercase, find_matches, lines_with, literals
from masking.name_patterns import NAME_STEMS
from masking.values import (
    MASK,
    Span,
    has_digit_and_letter,
    is_code,
    is_identifier,
    is_password_name,
    is_placeholder,
    is_reference,
    is_secret_name,
    is_variable_name,
    stands_out,
    strip_end,
)

_LONGEST_NAME = 64
_NAME_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
_KEYS = literals("_key", "_pat")
_KEY = re.compile(
    r"_(?:KEY|PAT)(?P<closed>\\{0,15}[\"'])?[ ]{0,3}[:=][ ]{0,3}"
    r"(?:(?P<open>\\{0,15}[\"'])(?P<quoted>[^\s\"'\\]{8,1024}+)(?=(?P=open)|\Z)"
    r"|(?P<bare>[^\s\"'\\`;|&<>,]{8,1024}+))"
)
# Words before _KEY that show the key is not secret, as in PUBLIC_KEY or CACHE_KEY.
_OTHER_KEYS = re.compile(
    "GPG|PGP|PRIMARY|FOREIGN|PUBLIC|PUB|PUBLISHABLE|SORT|PARTITION|CACHE|ROUTING|INDEX|HASH|UNIQUE|OBJECT|LOOKUP|"
    "GROUP|MAP|DICT|ITEM|ROW|COLUMN|REGISTRY|PROJECT|SHORTCUT|HOT|IDEMPOTENCY|SHARD|STORE|STORAGE"
)
PARTS = re.compile(  # matches names such as "users:find_all:v2"
    r"(?:[A-Za-z]{1,24}[0-9]{0,2}|[0-9]{1,4})(?:[_.:/-](?:[A-Za-z]{1,24}[0-9]{0,2}|[0-9]{1,4})){1,9}"
)
_ROW = re.compile(
    r"\|[ ]{0,20}[`*]{0,2}(?P<name>[\w.-]{2,64}+(?:[ ][\w.-]{1,40}+){0,2}+)[`*]{0,2}[ ]{0,60}"
    r"\|[ ]{0,20}`?(?P<value>[^\s|`\"'\\]{4,256}+)`?[ ]{0,60}(?=\|)"
)
_TABBED = tuple(
    re.compile(tab + r"(?P<value>[^\s|`\"'\\]{4,256}+)(?=[ \r]?(?:\n|\Z|\\{1,15}[nr\"]|\"))")
    for tab in (r"\t", r"\\t")
)
_BEFORE_NAME = re.compile(r"[\n\t\"]|\\[nt]")


def find_in_table_rows(text: str, lower: Lowercase) -> Iterator[Span]:
    """Yield secrets in table rows: `| password | ... |`, or a name and value separated by a tab."""
    for start, end in lines_with(text, lower.starts(*NAME_STEMS)):
        if "|" in text[start:end]:
            for match in _ROW.finditer(text, start, end):
                if _is_in_row(match["name"], match["value"]):
                    yield Span(*match.span("value"))
        if "\t" in text[start:end] or "\\t" in text[start:end]:
            yield from _tabbed(text, start, end)


def _tabbed(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield the secrets that follow a name and a tab in a line."""
    for pattern in _TABBED:
        for match in pattern.finditer(text, start, end):
            before = text[max(0, match.start() - _LONGEST_NAME) : match.start()].rstrip("\\")
            if _is_in_row(_BEFORE_NAME.split(before)[-1].strip(), match["value"]):
                yield Span(*match.span("value"))


def _is_in_row(name: str, value: str) -> bool:
    """Return whether a table row contains a secret and is not a header row."""
    if not is_secret_name(name) or not stands_out(value) or is_secret_name(value):
        return False
    return (is_password_name(name) or len(value) >= 8) and _is_random(value)


def find_key_settings(text: str, lower: Lowercase) -> Iterator[Span]:
    """Yield the values of settings with uppercase names such as STRIPE_KEY and GITHUB_PAT."""
    for match in find_matches(_KEY, text, lower.starts(*_KEYS)):
        before = text[max(0, match.start() - _LONGEST_NAME) : match.start()]
        name = before[len(before.rstrip(_NAME_CHARACTERS)) :]
        if (
            not name
            or _OTHER_KEYS.fullmatch(name.rpartition("_")[2])
            or is_secret_name(name + "_KEY")
        ):
            continue
        part = "quoted" if match["open"] else "bare"
        value = match[part] if match["open"] else strip_end(match[part])
        if len(value) >= 8 and _is_random(value):
            yield Span(match.start(part), match.start(part) + len(value))


def _is_random(value: str) -> bool:
    """Return whether a value looks random rather than like a word, a name or a function call."""
    if value.startswith(("/", "~", ".")) or MASK in value:
        return False
    if not has_digit_and_letter(value) or is_placeholder(value) or is_code(value):
        return False
    return not (
        is_variable_name(value)
        or is_identifier(value)
        or PARTS.fullmatch(value)
        or is_reference("key", value)
    )
