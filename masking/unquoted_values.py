"""Decide from the context whether an unquoted value is a secret."""

import re

from masking.values import (
    SPACE,
    Field,
    has_digit_and_letter,
    is_code,
    is_identifier,
    is_mixed,
    is_password_name,
    is_placeholder,
    is_reference,
    is_secret_name,
    is_variable_name,
    stands_out,
)

_TEXT = rf"[\"']{SPACE}[:,]{SPACE}\\{{0,15}}\""  # the punctuation before the text of a JSON string
_LINE_START = re.compile(
    rf"(?:^|\n|\\n|{_TEXT})[ \t>|+-]*"
    r"(?:(?:export|set|env|ENV|ARG|local|declare -x|setx)[ ]+)?[\"']?\Z"
)
_TIME = r"(?:\d{4}-\d\d-\d\d[T ])?\d\d:\d\d:\d\d[\d.,Z+-]{0,16}"
# What tools and loggers put before a line: "app-1  | ", "#12 0.345 ", "Nov 28 09:14:02 host app: ".
_LOG_PREFIX = re.compile(
    rf"""(?x)
    (?: [\w.-]{{1,60}}[ ]{{1,30}}\|[ ] | \#\d{{1,4}}[ ]\d{{1,6}}\.\d{{1,4}}[ ]
      | \[[\w./-]{{1,80}}\][ ] | [ ]{{0,8}}\d{{1,6}}(?:\t|[ ]{{2}}|[:→])
      | (?:DEBUG|INFO|WARNING|ERROR|CRITICAL|std(?:out|err)):(?:[\w.]{{1,60}}:|[ ])
      | (?: \[?{_TIME}\]? | [A-Z][a-z]{{2}}[ ]{{1,2}}\d{{1,2}}[ ]{_TIME} | [IWEF]\d{{4}}[ ]{_TIME} )
        (?: [ ]{{1,8}}
            (?:\[[^\[\]\n]{{0,40}}\]|[\w./@:-]{{1,60}}(?:\[\d{{1,9}}\])?[]:]?) ){{0,5}}
        [ ]{{1,4}} )
    (?:export[ ])?[ ]{{0,8}}"""
)
_BREAK = re.compile(r"\n|\\n|\"")
_LINE_END = re.compile(r"[ \t]*+[,;]?(?:\r?\n|\\+[nr\"]|\"|\Z|[ \t]++[#/])")
_WORDS = re.compile(r"[A-Za-z0-9]{2,20}(?:-[A-Za-z0-9]{2,20}){3,9}")  # a passphrase
_CALL = re.compile(
    r"[\w.$]+\(.*|(?:[<|&]|\$[({]).*"
    r"|(?:os|sys|self|this|process|settings|config|args|options|env|app)\..*",
    re.DOTALL,
)
_PROSE = re.compile("and|or|for|to|(?:option|command|switch|flag)(?:e?s)?|respectively")
_NOT_OPENED = re.compile(r"[(\[{](?=[A-Za-z!@#$%^&*]*[0-9])[\w!@#$%^&*+-]{6,64}\Z")


def is_at_line_start(text: str, start: int) -> bool:
    """Return whether a name comes first on its line, ignoring "export" and what loggers add."""
    if text[max(0, start - 1) : start] in ("", "\n"):
        return True
    if _LINE_START.search(text[max(0, start - 40) : start]):
        return True
    line = _BREAK.split(text[max(0, start - 160) : start])[-1]
    return bool(_LOG_PREFIX.fullmatch(line))


def opens_expression(field: Field, value: str) -> bool:
    """Return whether a value begins a list, object or call, unlike the password "(Xy9zQabc"."""
    if not value.startswith(("(", "[", "{", "<", "|", "&", "$(", "${")):
        return False
    is_whole = field.sep == "=" and not field.is_spaced and is_password_name(field.name)
    return not (is_whole and _NOT_OPENED.match(value))


def is_unquoted_secret(field: Field, text: str, value: str, whole: str, end: int) -> bool:
    """Return whether a value is a secret; `whole` is the value with any trailing punctuation."""
    if not _may_be_secret(field, text, value, end) or is_reference(field.name, value):
        return False
    if is_placeholder(value) or (whole != value and is_placeholder(whole)):
        return False
    if is_code(value):
        return _is_plain_setting(field, text, value, end) and not _CALL.fullmatch(value)
    return True


def _is_plain_setting(field: Field, text: str, value: str, end: int) -> bool:
    """Return whether the value is in a setting (NAME=value or "Password: A.B.C"), not in code."""
    if field.name.startswith("-"):
        return has_digit_and_letter(value)
    if not is_password_name(field.name) and not field.name.isupper():
        return False
    if field.sep == "=":
        before = text[field.start - 1 : field.start]
        return (
            not field.is_spaced
            and (field.name.isupper() or bool(_NOT_OPENED.match(value)))
            and (before not in ("(", ","))
        )
    return _is_form_line(field, text, end) and value[:1].isupper() and "(" not in value


def _is_form_line(field: Field, text: str, end: int) -> bool:
    """Return whether the entire line has the form "Password: value"."""
    return (
        field.sep == ":"
        and field.name.istitle()
        and bool(_LINE_END.match(text, end))
        and is_at_line_start(text, field.start)
    )


def _may_be_secret(field: Field, text: str, value: str, end: int) -> bool:
    """Return whether a value may be a secret, judging by its name and separator."""
    password = is_password_name(field.name)
    if field.sep in (",", "||", "??"):
        return False
    if field.on_next_line:
        return field.sep == ":" and _fills_line(text, value, end)
    if field.sep == "is":
        return stands_out(value) and (password or len(value) >= 8)
    if field.sep == "flag":
        is_name = is_secret_name(value.strip("[]<>"))
        return (password or len(value) >= 6) and not (is_name or _PROSE.fullmatch(value))
    if field.sep == "=" and not field.is_spaced and text[field.value_start - 1] in "=dD":
        return _may_be_field_secret(field, text, value, end)
    if not password and field.sep == ":" and text[field.start - 1 : field.start] == ":":
        return False  # "secret" is part of a name, as in "arn:aws:secretsmanager:secret:name"
    if text[field.value_start - 1] == ":" and text[field.start - 1 : field.start] == '"':
        return stands_out(value) and has_digit_and_letter(
            value
        )  # excludes "passwd:gecos" in a list of fields
    in_line = bool(_LINE_END.match(text, end)) and is_at_line_start(text, field.start)
    if stands_out(value) and not is_variable_name(value):
        if value.isdigit() and not password:
            return in_line and len(value) >= 6
        return password or len(value) >= 8 or (in_line and len(value) >= 6)
    if not in_line or is_variable_name(value) or len(value) < 4:
        return False
    if is_identifier(value):
        is_form = _is_form_line(field, text, end) and value[:1].isupper()
        return password and (is_form or (field.sep == ":" and bool(_WORDS.fullmatch(value))))
    if field.sep == ":":
        shortest = 6 if re.search(r"[-_ ]", field.name) else 12
        return password or (len(value) >= 8 and is_mixed(value)) or len(value) >= shortest
    return is_mixed(value) or (value[:1].isupper() and password) or len(value) >= 12


def _fills_line(text: str, value: str, end: int) -> bool:
    """Return whether a value is alone on its line, as it would be below a "Password:" label."""
    if len(value) < 6 or ":" in value or not stands_out(value) or is_identifier(value):
        return False
    return bool(_LINE_END.match(text, end)) and text[end : end + 1] not in (",", ";", ":")


def _may_be_field_secret(field: Field, text: str, value: str, end: int) -> bool:
    """Return whether the value in `name=value` may be a secret in a URL, a call or a setting."""
    before = text[max(0, field.start - 2) : field.start]
    is_variable = is_variable_name(value)
    if before[-1:] in ("?", "&", ";", "/") or field.name.startswith("-"):
        return not is_variable or has_digit_and_letter(value)
    if before[-1:] in ("(", ",") or before == ", " or text[end : end + 1] == ")":
        return stands_out(value) and not is_variable
    if is_variable and not field.name.isupper() and not has_digit_and_letter(value):
        return False
    return is_password_name(field.name) or field.name.isupper() or len(value) >= 6
