"""Secrets in arguments of programs (`mysql -psecret`), in statements, and in pairs."""

import re
from collections.abc import Iterator

from masking.values import SPACE, Span, is_gap, is_secret_name, stands_out

_FAR = 600  # characters between a program and its argument
_QUOTED = (
    r"(?:(?P<open>\\{0,15}[\"'])(?!\s*[:,\]}])(?P<quoted>[^\"'\\\n]{1,1024}+)(?:(?P=open)|\Z)"
    r"|(?P<bare>[^\s\"'\\`;|&<>]{1,1024}+))"
)
# A program, and how its secret begins: what follows is the value.
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
# Programs that share a flag: what is looked for is the flag, which is rarer than they are many.
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
_ITS_NAME = re.compile(
    r"(?i)(?:name|key)\\{0,15}[\"']?[ ]?[:=][ ]?\\{0,15}[\"']?(?P<name>[\w.-]{2,64}+)\\{0,15}[\"']?"
    r"(?:[ ][\w-]{1,20}+=\\{0,15}[\"'][^\"'\\]{0,40}+\\{0,15}[\"']){0,3}"
    r",?(?:\s|\\{1,15}n){0,16}\\{0,15}[\"']?\Z"
)
_NAME_AFTER = re.compile(
    rf"{SPACE},{SPACE}\\{{0,15}}[\"'](?:name|key)\\{{0,15}}[\"']{SPACE}:{SPACE}"
    r"\\{0,15}[\"'](?P<name>[\w.-]{2,64}+)\\{0,15}[\"']"
)


def by_pair(text: str, lower: str) -> Iterator[Span]:
    """The values of names that are values themselves: `"name": "PASSWORD", "value": "..."`."""
    for found in _VALUE.finditer(lower):
        name = _ITS_NAME.search(text[max(0, found.start() - 120) : found.start()])
        name = name or _NAME_AFTER.match(text, found.end())
        part = _part(found)
        if part == "bare" and not found[0].startswith("value:"):
            continue  # a number in JSON
        if name and is_secret_name(name["name"]) and not is_gap(found[part]):
            yield Span(*found.span(part))


def by_statement(text: str, lower: str) -> Iterator[Span]:
    """What a statement sets: `IDENTIFIED BY '...'` in SQL, `requirepass ...`, `password "..."`."""
    for found in _SET.finditer(lower):
        part = _part(found)
        sure = found[0].startswith("identified" if found["open"] else "requirepass")
        if (sure or (found["open"] and stands_out(found[part]))) and not is_gap(found[part]):
            yield Span(*found.span(part))


def by_command(text: str, lower: str) -> Iterator[Span]:
    """The secrets among the arguments of programs, and in files of their accounts."""
    for program, pattern in _COMMANDS:
        if program in lower:
            yield from _arguments(text, lower, (program,), pattern)
    if "-p " in lower:
        yield from _arguments(text, lower, _WITH_P, _P)
    if any(program in lower for program in _USER_PROGRAMS):
        for found in _USER.finditer(text):
            near = any(_is_argument(lower, program, found.start()) for program in _USER_PROGRAMS)
            if near and not is_gap(found["value"]):
                yield Span(*found.span("value"))
    for sign, pattern in (("login", _NETRC), (":", _PGPASS), ("chpasswd", _CHPASSWD)):
        if sign in lower:
            yield from _values(pattern, text)
    if "bearer" in lower:
        for found in _BEARER.finditer(lower):
            if any(character.isdigit() for character in found["value"]):
                yield Span(*found.span("value"))


def _arguments(
    text: str, lower: str, programs: tuple[str, ...], pattern: re.Pattern[str]
) -> Iterator[Span]:
    """What a pattern finds after one of the programs that it is of."""
    for found in pattern.finditer(text):
        part = _part(found)
        if is_gap(found[part]) or _NO_ARGUMENT.fullmatch(found[part]):
            continue
        if any(_is_argument(lower, program, found.start()) for program in programs):
            yield Span(*found.span(part))


def _part(found: re.Match[str]) -> str:
    """Which group of `_QUOTED` holds the value."""
    return "quoted" if found["open"] else "bare"


def _values(pattern: re.Pattern[str], text: str) -> Iterator[Span]:
    for found in pattern.finditer(text):
        if not is_gap(found["value"]):
            yield Span(*found.span("value"))


def _is_argument(lower: str, program: str, position: int) -> bool:
    """Whether an argument starts at a position, of a program that is called in this line."""
    if (
        position
        and lower[position - 1] not in " \t\n\"'"
        and not lower.startswith("pass", position)
    ):
        return False
    start = lower.rfind(program, max(0, position - _FAR), position)
    return start >= 0 and "\n" not in lower[start:position].replace("\\\n", "")
