"""Secrets among settings: keys of services in capitals, rows of a table of settings."""

import re
from collections.abc import Iterator

from masking.values import (
    MASK,
    Span,
    has_digit_and_letter,
    is_code,
    is_gap,
    is_label,
    is_password_name,
    is_reference,
    is_secret_name,
    is_variable_name,
    stands_out,
    without_end,
)

_LONGEST_NAME = 64
_NAME_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
_KEY = re.compile(
    r"_(?:KEY|PAT)(?P<closed>\\{0,15}[\"'])?[ ]{0,3}[:=][ ]{0,3}"
    r"(?:(?P<open>\\{0,15}[\"'])(?P<quoted>[^\s\"'\\]{8,1024}+)(?=(?P=open)|\Z)"
    r"|(?P<bare>[^\s\"'\\`;|&<>,]{8,1024}+))"
)
# Keys that are none to a lock: of tables, of stores, of what everyone may see.
_OTHER_KEYS = re.compile(
    "GPG|PGP|PRIMARY|FOREIGN|PUBLIC|PUB|SORT|PARTITION|CACHE|ROUTING|INDEX|HASH|UNIQUE|OBJECT|LOOKUP|"
    "GROUP|MAP|DICT|ITEM|ROW|COLUMN|REGISTRY|PROJECT|SHORTCUT|HOT|IDEMPOTENCY|SHARD|STORE|STORAGE"
)
_PARTS = re.compile(  # "users:by_name:v2"
    r"(?:[A-Za-z]{1,24}[0-9]{0,2}|[0-9]{1,4})(?:[_.:/-](?:[A-Za-z]{1,24}[0-9]{0,2}|[0-9]{1,4})){1,9}"
)
_ROW = re.compile(
    r"\|[ ]{0,20}[`*]{0,2}(?P<name>[\w.-]{2,64}+(?:[ ][\w.-]{1,40}+){0,2}+)[`*]{0,2}[ ]{0,60}"
    r"\|[ ]{0,20}`?(?P<value>[^\s|`\"'\\]{4,256}+)`?[ ]{0,60}(?=\|)"
)
_TABBED = re.compile(
    r"(?:\t|\\{1,15}t)(?P<value>[^\s|`\"'\\]{4,256}+)(?=[ \r]?(?:\n|\Z|\\{1,15}[nr\"]|\"))"
)
_BEFORE_NAME = re.compile(r"[\n\t\"]|\\+[nt]")


def by_row(text: str, lower: str) -> Iterator[Span]:
    """The values in rows of a name and a value: `| password | ... |`, or with a tab between."""
    if "|" in lower:
        for found in _ROW.finditer(text):
            if _is_in_row(found["name"], found["value"]):
                yield Span(*found.span("value"))
    if "\t" in lower or "\\t" in lower:
        for found in _TABBED.finditer(text):
            before = text[max(0, found.start() - _LONGEST_NAME) : found.start()]
            if _is_in_row(_BEFORE_NAME.split(before)[-1].strip(), found["value"]):
                yield Span(*found.span("value"))


def _is_in_row(name: str, value: str) -> bool:
    """Whether a row holds a secret, and is not the head of a table."""
    if not is_secret_name(name) or not stands_out(value) or is_secret_name(value):
        return False
    return (is_password_name(name) or len(value) >= 8) and _is_key(value)


def by_setting(text: str, lower: str) -> Iterator[Span]:
    """The values of names in capitals that end as those of keys do: STRIPE_KEY, GITHUB_PAT."""
    if "_key" not in lower and "_pat" not in lower:
        return
    for found in _KEY.finditer(text):
        before = text[max(0, found.start() - _LONGEST_NAME) : found.start()]
        name = before[len(before.rstrip(_NAME_CHARACTERS)) :]
        if (
            not name
            or _OTHER_KEYS.fullmatch(name.rpartition("_")[2])
            or is_secret_name(name + "_KEY")
        ):
            continue
        part = "quoted" if found["open"] else "bare"
        value = found[part] if found["open"] else without_end(found[part])
        if len(value) >= 8 and _is_key(value):
            yield Span(found.start(part), found.start(part) + len(value))


def _is_key(value: str) -> bool:
    """Whether a value is a random one, and no word, name or call."""
    if value.startswith(("/", "~", ".")) or MASK in value:
        return False
    if not has_digit_and_letter(value) or is_gap(value) or is_code(value):
        return False
    return not (
        is_variable_name(value)
        or is_label(value)
        or _PARTS.fullmatch(value)
        or is_reference("key", value)
    )
