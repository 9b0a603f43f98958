"""Secrets whose name stands elsewhere: what is typed into a field, what a plural name holds."""

import re
from collections.abc import Iterator

from masking.quoting import OPENED, is_in_json, is_like, quoted_end
from masking.values import (
    MASK,
    SPACE,
    Place,
    Span,
    is_gap,
    is_label,
    is_quoted_secret,
    is_secret_name,
    stands_out,
)

_QUOTE = r"\\{0,15}[\"']"
_NEAR = 160  # characters between a field and what is typed into it
_FAR = 2000  # characters of an object that are looked at
_LONGEST = 1024
_FIELDS = ("password", "passwd", "passphrase", "passcode", "pwd", "otp")
_SIGNS = ("passw", "passphrase", "passcode", "pwd", "otp")
_NAMED = (
    rf"(?:{'|'.join(_FIELDS)})\b(?<!\wotp)"
    r"(?!-(?:help|hint|error|label|strength|reset|message))"
)
_TYPED = re.compile(
    r"(?:text|value|content|input|keys)"
    rf"(?:(?<=[\"']text)|(?<=[\"']keys)|(?<=[\"']value)|(?<=[\"']input)|(?<=[\"']content))"
    rf"(?P<closed>{_QUOTE}){SPACE}:{SPACE}(?={_QUOTE})"
)
_FIELD = re.compile(
    rf"(?:(?P<sure>selector|element|ref|locator)|label|name|field|id){_QUOTE}{SPACE}:{SPACE}"
    rf"{_QUOTE}[^{{}},\n]{{0,80}}?{_NAMED}"
)
_CALL = re.compile(
    r"(?:fill|type|press_sequentially|presssequentially|send_keys|sendkeys|setvalue|set_value)"
    rf"\([ ]{{0,4}}(?P<field>(?P<open>{_QUOTE})[^\n,;]{{0,80}}?(?P=open)[ ]?,[ ]{{0,4}})?"
    rf"(?={_QUOTE})"
)
_FIELD_BEFORE = re.compile(rf"{_NAMED}[^\n;]{{0,12}}\)\.\Z")
_HAS_PASSWORD = re.compile(_NAMED)
_SEVERAL = tuple(
    (name, re.compile(rf"{name}(?P<closed>{_QUOTE}){SPACE}:{SPACE}\{{{SPACE}"))
    for name in ("secrets", "passwords", "tokens", "credentials")
)
_KEY = re.compile(rf"{_QUOTE}(?P<key>[\w .@/-]{{1,64}}+)(?P<closed>{_QUOTE}){SPACE}:{SPACE}")
_PLAIN = re.compile(r"[\w.+-]{1,40}+")
_NEXT = re.compile(rf"{SPACE},{SPACE}")
_TELLING = re.compile(
    r"(?i).*(?:user|username|login|name|id|e?mail|host|server|url|uri|endpoint|region|type|kind"
    r"|version|color|colour|path|file|date|at|scope|model|label|description)"
)
_NO_SECRET = re.compile(r"#[0-9A-Fa-f]{3,8}|[\d.]+[a-z%]{0,3}|\d{4}-\d\d.*|\S+@\S+\.[a-z]{2,6}")


def by_object(text: str, lower: str) -> Iterator[Span]:
    """What is typed into the field of a password, and what an object of secrets holds."""
    in_json = is_in_json(text)
    if any(sign in lower for sign in _SIGNS):
        yield from _in_records(text, lower, in_json)
        yield from _in_calls(text, lower, in_json)
    for sign, pattern in _SEVERAL:
        if sign in lower:
            for found in pattern.finditer(lower):
                yield from _in_object(text, found, in_json)


def _quoted(text: str, start: int, closed: str, in_json: bool) -> tuple[int, int] | None:
    """From where to where a value in quotes goes."""
    part = text[start : start + _LONGEST]
    opened = OPENED.match(part)
    if not opened or (closed and not is_like(opened, closed)):
        return None
    end = quoted_end(part, opened, in_json)
    if end is None or MASK in part[opened.end() : end]:
        return None
    return start + opened.end(), start + end


def _in_records(text: str, lower: str, in_json: bool) -> Iterator[Span]:
    """`{"selector": "#password", "text": "..."}`, in either order."""
    for found in _TYPED.finditer(lower):
        ends = _quoted(text, found.end(), found["closed"], in_json)
        if not ends:
            continue
        before = lower[max(0, found.start() - _NEAR) : found.start()]
        before = before[max(before.rfind("{"), before.rfind("}")) + 1 :]
        after = re.split("[{}]", lower[ends[1] : ends[1] + _NEAR], maxsplit=1)[0]
        field = _FIELD.search(before) or _FIELD.search(after)
        value = text[slice(*ends)]
        if (
            field
            and (field["sure"] or (stands_out(value) and " " not in value))
            and _is_typed(value)
        ):
            yield Span(*ends)


def _in_calls(text: str, lower: str, in_json: bool) -> Iterator[Span]:
    """`page.fill("#password", "...")`, `find_element(By.ID, "password").send_keys("...")`."""
    for found in _CALL.finditer(lower):
        field = found["field"]
        if field is None:
            before = lower[max(0, found.start() - 40) : found.start()]
            is_password = bool(_FIELD_BEFORE.search(before))
        else:
            is_password = bool(_HAS_PASSWORD.search(field))
        ends = _quoted(text, found.end(), "", in_json) if is_password else None
        if ends and _is_typed(text[slice(*ends)]):
            yield Span(*ends)


def _is_typed(value: str) -> bool:
    """Whether what is typed is a password, and no name of one or sentence about it."""
    place = Place("password", 0, 0, ":", False, '"')
    return is_quoted_secret(place, value, '"') and not is_secret_name(value)


def _in_object(text: str, found: re.Match[str], in_json: bool) -> Iterator[Span]:
    """The texts that stand out in the first level of an object."""
    position, end = found.end(), found.end() + _FAR
    while key := _KEY.match(text, position, end):
        ends = _quoted(text, key.end(), found["closed"], in_json)
        if ends:
            value = text[slice(*ends)]
            if not _TELLING.fullmatch(key["key"]) and _is_held(value):
                yield Span(*ends)
            closing = re.compile(_QUOTE).match(text, ends[1])
            position = closing.end() if closing else ends[1]
        else:
            plain = _PLAIN.match(text, key.end())
            if not plain:
                return
            position = plain.end()
        following = _NEXT.match(text, position)
        if not following:
            return
        position = following.end()


def _is_held(value: str) -> bool:
    """Whether a text in an object of secrets is one."""
    if len(value) < 6 or " " in value or not stands_out(value) or is_label(value):
        return False
    return not (is_gap(value) or _NO_SECRET.fullmatch(value) or "://" in value)
