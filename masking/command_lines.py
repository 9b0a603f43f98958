"""Find secrets in command-line arguments (`mysql -psecret`), statements and name/value pairs."""

import re
from collections.abc import Iterator

from masking.literals import find_matches
from masking.values import SPACE, Span, is_placeholder, is_secret_name, stands_out

_FAR = 600  # maximum number of characters between a program's name and its argument
_QUOTED = (
    r"(?:(?P<open>\\{0,15}[\"'])(?!\s*[:,\]}])(?P<quoted>[^\"'\\\n]{1,1024}+)(?:(?P=open)|\Z)"
    r"|(?P<bare>[^\s\"'\\`;|&<>]{1,1024}+))"
)
# Each program's name, with a pattern for the option that comes right before its secret.
_COMMANDS = tuple(
    (program, re.compile(flag + _QUOTED))
    for program, flag in (
        ("mysql", r"-p(?=\S)"),
        ("mariadb", r"-p(?=\S)"),
        ("sshpass", r"-p[ ]?"),
        ("redis-cli", r"-a[ ]{1,4}"),
        ("ldap", r"-w[ ]{1,4}"),
        ("xfreerdp", r"/p:"),
        ("smbclient", r"(?:-U|--user)[ =]?[^\s%\"'\\]{1,64}%"),
        ("smbclient", r"(?:-U|--user)[ =]?(?=[\\\"']{1,4})[\\]{0,15}[\"'][^\s%\"'\\]{1,64}%"),
        ("create secret", r"--from-literal[ =][\w.-]{1,64}="),
        ("zip", r"-P[ ]?"),
        ("7z", r"-p(?=\S)"),
        ("openssl", r"-pass(?:in|out)?[ ]{1,4}pass:"),
        ("openssl", r"pass:(?!\s)"),
        ("sqlcmd", r"-P[ ]{1,4}"),
        (
            "htpasswd",
            r"-[a-zA-Z]{0,6}b[a-zA-Z]{0,6}[ ](?:-\w[ ]){0,3}[^\s-]\S{0,100}[ ]\S{1,100}[ ]",
        ),
        ("curl", r"(?:-b|--cookie)[ =]?(?=[^\s=]{0,100}=)"),
        ("curl", r"(?:-b|--cookie)[ ](?=[\\\"']{1,4}[^\s=]{0,100}=)"),
    )
)
# Programs that take a secret after `-p`. Searching for `-p` first is faster than for each name.
_WITH_P = (
    "docker login", "podman login", "az login", "mongo", "hydra", "medusa", "evil-winrm",
    "crackmapexec", "nxc", "netexec",
)  # fmt: skip
_P = re.compile(r"-p[ ]{1,4}" + _QUOTED)
_NO_ARGUMENT = re.compile(r"[0-9]{1,3}|27[0-9]{3}|[0-9]+:[0-9]+|\S+\.(?:zip|7z)")
_USER = re.compile(
    r"-(?:[a-zA-Z]{0,6}u|-user|-proxy-user|U|a|-auth)[ =]{0,3}(?P<open>\\{0,15}[\"'])?"
    r"(?P<user>[^\s:\"'\\$`/]{1,128}+):(?!//)"
    r"(?P<value>(?(open)[^\n\"'\\`]{1,512}+(?=(?P=open))|(?!))|[^\s\"'\\`]{1,512}+)"
)
_USER_PROGRAMS = ("curl", "http", "wget", "mosquitto")
_NETRC = re.compile(
    r"login(?:\s|\\+[nt]){1,8}+[^\s\\]{1,128}+(?:\s|\\+[nt]){1,8}+password(?:\s|\\+[nt]){1,8}+(?P<value>[^\s\\\"]{1,512}+)"
)
_PART = r"(?:\*|[A-Za-z_][\w.-]{0,63}+)"
_PGPASS = re.compile(
    rf":(?:\d{{4,5}}|\*):{_PART}:{_PART}:(?P<value>[^\s:\"'\\]{{3,256}}+)", re.ASCII
)
_CHPASSWD = re.compile(
    r"(?:echo|printf)[ ](?:-\w[ ])?[\\\"']{0,8}\w[\w.-]{0,64}+:(?!//)(?P<value>[^\s\"'\\|]{1,256}+)"
)
_BEARER = re.compile(r"bearer(?:[ ]{1,3}|%20)(?P<value>[A-Za-z0-9._~+/-]{12,4096}+=*+)")
_SET = re.compile(
    rf"(?:identified by|requirepass|password|passwd|passphrase)[ ]{{1,4}}(?:{_QUOTED})"
)
_VALUE = re.compile(rf"value\\{{0,15}}[\"']?[ ]?[:=][ ]?{_QUOTED}")
_NAME_BEFORE = re.compile(
    r"(?i)(?:name|key)\\{0,15}[\"']?[ ]?[:=][ ]?\\{0,15}[\"']?(?P<name>[\w.-]{2,64}+)\\{0,15}[\"']?"
    r"(?:[ ][\w-]{1,20}+=\\{0,15}[\"'][^\"'\\]{0,40}+\\{0,15}[\"']){0,3}"
    r",?(?:\s|\\{1,15}n){0,16}\\{0,15}[\"']?\Z"
)
_NAME_AFTER = re.compile(
    rf"{SPACE},{SPACE}\\{{0,15}}[\"'](?:name|key)\\{{0,15}}[\"']{SPACE}:{SPACE}"
    r"\\{0,15}[\"'](?P<name>[\w.-]{2,64}+)\\{0,15}[\"']"
)


def find_name_value_pairs(text: str, lower: str) -> Iterator[Span]:
    """Yield the values of pairs such as `"name": "PASSWORD", "value": "..."`."""
    for match in _VALUE.finditer(lower):
        name = _NAME_BEFORE.search(text[max(0, match.start() - 120) : match.start()])
        name = name or _NAME_AFTER.match(text, match.end())
        part = _part(match)
        if part == "bare" and not match[0].startswith("value:"):
            continue  # an unquoted value, such as a JSON number
        if name and is_secret_name(name["name"]) and not is_placeholder(match[part]):
            yield Span(*match.span(part))


def find_statement_values(text: str, lower: str) -> Iterator[Span]:
    """Yield values set in statements such as `IDENTIFIED BY '...'` or `requirepass ...`."""
    for match in find_matches(_SET, lower, ("identified by", "requirepass", "pass")):
        part = _part(match)
        sure = match[0].startswith("identified" if match["open"] else "requirepass")
        if (sure or (match["open"] and stands_out(match[part]))) and not is_placeholder(
            match[part]
        ):
            yield Span(*match.span(part))


def find_command_arguments(text: str, lower: str) -> Iterator[Span]:
    """Yield secrets in command-line arguments, in .netrc and .pgpass lines, and after `bearer`."""
    for program, pattern in _COMMANDS:
        if program in lower:
            yield from _arguments(text, lower, (program,), pattern)
    if "-p " in lower:
        yield from _arguments(text, lower, _WITH_P, _P)
    if any(program in lower for program in _USER_PROGRAMS):
        for match in _USER.finditer(text):
            near = any(_is_argument(lower, program, match.start()) for program in _USER_PROGRAMS)
            if near and not is_placeholder(match["value"]):
                yield Span(*match.span("value"))
    for marker, pattern in (("login", _NETRC), (":", _PGPASS), ("chpasswd", _CHPASSWD)):
        if marker in lower:
            yield from _values(pattern, text)
    if "bearer" in lower:
        for match in _BEARER.finditer(lower):
            if any(character.isdigit() for character in match["value"]):
                yield Span(*match.span("value"))


def _arguments(
    text: str, lower: str, programs: tuple[str, ...], pattern: re.Pattern[str]
) -> Iterator[Span]:
    """Yield the values that the pattern matches in arguments to any of the given programs."""
    for match in pattern.finditer(text):
        part = _part(match)
        if is_placeholder(match[part]) or _NO_ARGUMENT.fullmatch(match[part]):
            continue
        if any(_is_argument(lower, program, match.start()) for program in programs):
            yield Span(*match.span(part))


def _part(match: re.Match[str]) -> str:
    """Return the name of the `_QUOTED` group that matched the value."""
    return "quoted" if match["open"] else "bare"


def _values(pattern: re.Pattern[str], text: str) -> Iterator[Span]:
    for match in pattern.finditer(text):
        if not is_placeholder(match["value"]):
            yield Span(*match.span("value"))


def _is_argument(lower: str, program: str, position: int) -> bool:
    """Return whether the position starts an argument of a program named earlier on the line."""
    if (
        position
        and lower[position - 1] not in " \t\n\"'"
        and not lower.startswith("pass", position)
    ):
        return False
    start = lower.rfind(program, max(0, position - _FAR), position)
    return start >= 0 and "\n" not in lower[start:position].replace("\\\n", "")
