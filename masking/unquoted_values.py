"""What is a secret among the values without quotes, by what stands around them."""

import re

from masking.values import (
    COLOUR,
    SPACE,
    Place,
    has_digit_and_letter,
    is_code,
    is_gap,
    is_label,
    is_mixed,
    is_password_name,
    is_reference,
    is_variable_name,
    stands_out,
)

_TEXT = rf"[\"']{SPACE}[:,]{SPACE}\\{{0,15}}\""  # the start of one in JSON
_LINE_START = re.compile(
    rf"(?:^|\n|\\n|{_TEXT})(?:[ \t>|+-]|{COLOUR})*"
    r"(?:(?:export|set|env|ENV|ARG|local|declare -x|setx)[ ]+)?[\"']?\Z"
)
_LINE_END = re.compile(rf"[ \t]*+(?:{COLOUR})*+[ \t]*+[,;]?(?:\r?\n|\\+[nr\"]|\"|\Z|[ \t]++[#/])")
_WORDS = re.compile(r"[A-Za-z0-9]{2,20}(?:-[A-Za-z0-9]{2,20}){3,9}")  # a password of words
_CALL = re.compile(
    r"[\w.$]+\(.*|(?:[<|&]|\$[({]).*"
    r"|(?:os|sys|self|this|process|settings|config|args|options|env|app)\..*",
    re.DOTALL,
)
_PROSE = re.compile("and|or|for|to|(?:option|command|switch|flag)(?:e?s)?|respectively")
_NOT_OPENED = re.compile(r"[(\[{](?=[A-Za-z!@#$%^&*]*[0-9])[\w!@#$%^&*+-]{6,64}\Z")


def starts_line(text: str, start: int) -> bool:
    """Whether a name is the first of its line, but for what marks the line."""
    if text[max(0, start - 1) : start] in ("", "\n"):
        return True
    return bool(_LINE_START.search(text[max(0, start - 40) : start]))


def is_opened(place: Place, value: str) -> bool:
    """Whether a value is a list or an object or a call, rather than a password like "(Xy9zQabc"."""
    if not value.startswith(("(", "[", "{", "<", "|", "&", "$(", "${")):
        return False
    is_whole = place.sep == "=" and not place.spaced and is_password_name(place.name)
    return not (is_whole and _NOT_OPENED.match(value))


def is_unquoted_secret(place: Place, text: str, value: str, whole: str, end: int) -> bool:
    """Whether a value is a secret; `whole` is the value with what ends the sentence."""
    if not _fits(place, text, value, end) or is_reference(place.name, value):
        return False
    if is_gap(value) or (whole != value and is_gap(whole)):
        return False
    if is_code(value):
        return _is_plain(place, text, value, end) and not _CALL.fullmatch(value)
    return True


def _is_plain(place: Place, text: str, value: str, end: int) -> bool:
    """Whether no code is around: NAME=value of an environment, "Password: A.Whole.Line"."""
    if not is_password_name(place.name) and not place.name.isupper():
        return False
    if place.sep == "=":
        before = text[place.start - 1 : place.start]
        return (
            not place.spaced
            and (place.name.isupper() or bool(_NOT_OPENED.match(value)))
            and (before not in ("(", ","))
        )
    return _is_form(place, text, end) and value[:1].isupper() and "(" not in value


def _is_form(place: Place, text: str, end: int) -> bool:
    """Whether a line is "Password: value" and no more."""
    return (
        place.sep == ":"
        and place.name.istitle()
        and bool(_LINE_END.match(text, end))
        and starts_line(text, place.start)
    )


def _fits(place: Place, text: str, value: str, end: int) -> bool:
    """Whether a value may be a secret after such a name and sign."""
    password = is_password_name(place.name)
    if place.sep in (",", "||", "??"):
        return False
    if place.is_broken:
        return place.sep == ":" and _fills_line(text, value, end)
    if place.sep == "is":
        return stands_out(value) and (password or len(value) >= 8)
    if place.sep == "flag":
        return (password or len(value) >= 6) and not _PROSE.fullmatch(value)
    if place.sep == "=" and not place.spaced and text[place.value - 1] in "=dD":
        return _fits_field(place, text, value, end)
    if not password and place.sep == ":" and text[place.start - 1 : place.start] == ":":
        return False  # "arn:aws:secretsmanager:secret:name"
    if text[place.value - 1] == ":" and text[place.start - 1 : place.start] == '"':
        return stands_out(value) and has_digit_and_letter(value)  # not "passwd:gecos" in a list
    in_line = bool(_LINE_END.match(text, end)) and starts_line(text, place.start)
    if stands_out(value) and not is_variable_name(value):
        if value.isdigit() and not password:
            return in_line and len(value) >= 6
        return password or len(value) >= 8 or (in_line and len(value) >= 6)
    if not in_line or is_variable_name(value) or len(value) < 4:
        return False
    if is_label(value):
        is_form = _is_form(place, text, end) and value[:1].isupper()
        return password and (is_form or (place.sep == ":" and bool(_WORDS.fullmatch(value))))
    if place.sep == ":":
        shortest = 6 if re.search(r"[-_ ]", place.name) else 12
        return password or (len(value) >= 8 and is_mixed(value)) or len(value) >= shortest
    return is_mixed(value) or (value[:1].isupper() and password) or len(value) >= 12


def _fills_line(text: str, value: str, end: int) -> bool:
    """Whether a line has a password and no more: what follows "Password:" on the next line."""
    if len(value) < 6 or ":" in value or not stands_out(value) or is_label(value):
        return False
    return bool(_LINE_END.match(text, end)) and text[end : end + 1] not in (",", ";", ":")


def _fits_field(place: Place, text: str, value: str, end: int) -> bool:
    """Whether a value may be a secret in `name=value`: of a form, a call, a file of settings."""
    before = text[max(0, place.start - 2) : place.start]
    is_variable = is_variable_name(value)
    if before[-1:] in ("?", "&", ";", "/") or place.name.startswith("-"):
        return not is_variable or has_digit_and_letter(value)
    if before[-1:] in ("(", ",") or before == ", " or text[end : end + 1] == ")":
        return stands_out(value) and not is_variable
    if is_variable and not place.name.isupper() and not has_digit_and_letter(value):
        return False
    return is_password_name(place.name) or place.name.isupper() or len(value) >= 6
