"""Find text typed into password fields, and secrets in objects such as `"tokens": {...}`."""

import re
from collections.abc import Iterator

from masking.literals import Lowercase, find_matches, literals
from masking.quoting import OPENING_QUOTE, end_of_quoted, is_json, is_same_quote
from masking.values import (
    MASK,
    SPACE,
    Field,
    Span,
    is_identifier,
    is_placeholder,
    is_quoted_secret,
    is_secret_name,
    stands_out,
)

_QUOTE = r"\\{0,15}[\"']"
_NEAR = 160  # maximum number of characters between a field's name and the text typed into it
_FAR = 2000  # maximum number of characters to search in an object
_LONGEST = 1024
_FIELDS = ("password", "passwd", "passphrase", "passcode", "pwd", "otp")
_MARKERS = frozenset(literals("passw", "passphrase", "passcode", "pwd", "otp"))
_NAMED = (
    rf"(?:{'|'.join(_FIELDS)})\b(?<!\wotp)"
    r"(?!-(?:help|hint|error|label|strength|reset|message))"
)
_TYPED_NAMES = literals("text", "value", "content", "input", "keys")
_IN_QUOTES = "|".join(rf"(?<=[\"']{name})" for name in _TYPED_NAMES)
_TYPED = re.compile(
    rf"(?:{'|'.join(_TYPED_NAMES)})(?:{_IN_QUOTES})"
    rf"(?P<closed>{_QUOTE}){SPACE}:{SPACE}(?={_QUOTE})"
)
_FIELD = re.compile(
    rf"(?:(?P<sure>selector|element|ref|locator)|label|name|field|id){_QUOTE}{SPACE}:{SPACE}"
    rf"{_QUOTE}[^{{}},\n]{{0,80}}?{_NAMED}"
)
_CALLS = literals(
    *(f"{name}(" for name in (
        "fill", "type", "press_sequentially", "presssequentially", "send_keys", "sendkeys",
        "setvalue", "set_value",
    ))
)  # fmt: skip
_CALL = re.compile(
    rf"(?:{'|'.join(map(re.escape, _CALLS))})"
    rf"[ ]{{0,4}}(?P<field>(?P<open>{_QUOTE})[^\n,;]{{0,80}}?(?P=open)[ ]?,[ ]{{0,4}})?"
    rf"(?={_QUOTE})"
)
_FIELD_BEFORE = re.compile(rf"{_NAMED}[^\n;]{{0,12}}\)\.\Z")
_HAS_PASSWORD = re.compile(_NAMED)
_SEVERAL = tuple(
    (name, re.compile(rf"{name}(?P<closed>{_QUOTE}){SPACE}:{SPACE}\{{{SPACE}"))
    for name in literals("secrets", "passwords", "tokens", "credentials")
)
_KEY = re.compile(rf"{_QUOTE}(?P<key>[\w .@/-]{{1,64}}+)(?P<closed>{_QUOTE}){SPACE}:{SPACE}")
_PLAIN = re.compile(r"[\w.+-]{1,40}+")
_NEXT = re.compile(rf"{SPACE},{SPACE}")
_TELLING = re.compile(
    r"(?i).*(?:user|username|login|name|id|e?mail|host|server|url|uri|endpoint|region|type|kind"
    r"|version|color|colour|path|file|date|at|scope|model|label|description)"
)
_NO_SECRET = re.compile(
    r"#[0-9A-Fa-f]{3,8}|[\d.]+[a-z%]{0,3}|\d{4}-\d\d.*|\S[^\s@]*+@\S+\.[a-z]{2,6}"
)


def find_in_objects(text: str, lower: Lowercase) -> Iterator[Span]:
    """Yield text typed into password fields, and secrets in objects such as `"tokens": {...}`."""
    in_json = is_json(text)
    if lower.has(_MARKERS):
        yield from _find_in_records(text, lower, in_json)
        yield from _find_in_calls(text, lower, in_json)
    for name, pattern in _SEVERAL:
        for match in find_matches(pattern, lower, lower.starts(name)):
            yield from _find_in_object(text, match, in_json)


def _quoted_span(text: str, start: int, closed: str, in_json: bool) -> tuple[int, int] | None:
    """Return the start and end of a quoted value, or None if it is masked already or unclosed."""
    part = text[start : start + _LONGEST]
    opening = OPENING_QUOTE.match(part)
    if not opening or (closed and not is_same_quote(opening, closed)):
        return None
    end = end_of_quoted(part, opening, in_json)
    if end is None or MASK in part[opening.end() : end]:
        return None
    return start + opening.end(), start + end


def _find_in_records(text: str, lower: Lowercase, in_json: bool) -> Iterator[Span]:
    """Yield the text typed in records such as `{"selector": "#password", "text": "..."}`."""
    for match in find_matches(_TYPED, lower, lower.starts(*_TYPED_NAMES)):
        ends = _quoted_span(text, match.end(), match["closed"], in_json)
        if not ends:
            continue
        before = lower[max(0, match.start() - _NEAR) : match.start()]
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


def _find_in_calls(text: str, lower: Lowercase, in_json: bool) -> Iterator[Span]:
    """Yield the text typed by calls such as `page.fill("#password", "...")`."""
    for match in find_matches(_CALL, lower, lower.starts(*_CALLS)):
        field = match["field"]
        if field is None:
            before = lower[max(0, match.start() - 40) : match.start()]
            is_password = bool(_FIELD_BEFORE.search(before))
        else:
            is_password = bool(_HAS_PASSWORD.search(field))
        ends = _quoted_span(text, match.end(), "", in_json) if is_password else None
        if ends and _is_typed(text[slice(*ends)]):
            yield Span(*ends)


def _is_typed(value: str) -> bool:
    """Return whether typed text is a password rather than a name or a sentence."""
    field = Field("password", 0, 0, ":", False, '"')
    return is_quoted_secret(field, value, '"') and not is_secret_name(value)


def _find_in_object(text: str, match: re.Match[str], in_json: bool) -> Iterator[Span]:
    """Yield an object's top-level strings that look like secrets."""
    position, end = match.end(), match.end() + _FAR
    while key := _KEY.match(text, position, end):
        ends = _quoted_span(text, key.end(), match["closed"], in_json)
        if ends:
            value = text[slice(*ends)]
            if not _TELLING.fullmatch(key["key"]) and _is_object_secret(value):
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


def _is_object_secret(value: str) -> bool:
    """Return whether a string in an object such as `"tokens": {...}` is a secret."""
    if len(value) < 6 or " " in value or not stands_out(value) or is_identifier(value):
        return False
    return not (is_placeholder(value) or _NO_SECRET.fullmatch(value) or "://" in value)
