"""Secrets among settings: keys of services in capitals."""

import re
from collections.abc import Iterator

from tasks.masking.values import (
    MASK,
    Span,
    has_digit_and_letter,
    is_code,
    is_gap,
    is_label,
    is_reference,
    is_secret_name,
    is_variable_name,
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
    "PRIMARY|FOREIGN|PUBLIC|PUB|SORT|PARTITION|CACHE|ROUTING|INDEX|HASH|UNIQUE|OBJECT|LOOKUP|GROUP|"
    "MAP|DICT|ITEM|ROW|COLUMN|REGISTRY|PROJECT|SHORTCUT|HOT|IDEMPOTENCY|SHARD|STORE|STORAGE"
)
_PARTS = re.compile(  # "users:by_name:v2"
    r"(?:[A-Za-z]{1,24}[0-9]{0,2}|[0-9]{1,4})(?:[_.:/-](?:[A-Za-z]{1,24}[0-9]{0,2}|[0-9]{1,4})){1,9}"
)


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
            yield Span(found.start(part), found.start(part) + len(value), "name")


def _is_key(value: str) -> bool:
    """Whether a value is a random one, and no word, name or call."""
    if MASK in value or not has_digit_and_letter(value) or is_gap(value) or is_code(value):
        return False
    return not (
        is_variable_name(value)
        or is_label(value)
        or _PARTS.fullmatch(value)
        or is_reference("key", value)
    )
