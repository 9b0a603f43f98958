"""Find secrets in command-line arguments (`mysql -psecret`), statements and name/value pairs."""

import re
import string
from base64 import b64decode
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from masking.literals import Lowercase, find_matches, literals
from masking.values import SPACE, Span, is_placeholder, is_secret_name, stands_out

_QUOTED = (
    r"(?:(?P<open>\\{0,15}[\"'])(?!\s*[:,\]}])(?P<quoted>[^\"'\\\n]{1,1024}+)(?:(?P=open)|\Z)"
    r"|(?P<bare>(?!-)[^\s\"'\\`;|&<>]{1,1024}+))"
)
# What comes right before a secret in a command, and the programs. A pattern that starts with "-",
# "/" or "pass" matches an option anywhere after the program, another one right after the program.
# "?" before a program means that the value must not be an ordinary word.
_ARGUMENTS = r"""
-p(?=\S)                         mysql, mariadb, 7z
-p[ ]?                           sshpass
-p[ ]+                           docker login, podman login, az login, oc login, mongo, hydra, twine
-p[ ]+                           useradd, usermod
-p[ ]+                           medusa, evil-winrm, crackmapexec, nxc, netexec, rdesktop, cqlsh
-p[ ]+                           az sql, ncftpput, unlock-keychain, certutil
-P[ ]?                           zip, mosquitto, sqlcmd, bcp, ipmitool, ssh-keygen
-N[ ]+                           ssh-keygen
-a[ ]+                           redis-cli
-[AX][ ]+                        snmp
-w[ ]+                           ldap, security add-
-t[ ]+                           doctl auth, codecov
-b[ ]?                           gh secret set
-k[ ]+                           openssl enc
-ap[ ]+                          swaks
-pass(?:in|out)?[ ]+pass:        openssl
pass:                            openssl
-u[ ]+[^\s,]+,                   lftp
(?:-U|--user)[ =]?[^\s%"'\\]+%                        smbclient
(?:-U|--user)[ =]?(?=[\\"'])\\{0,15}["'][^\s%"'\\]+%   smbclient
/p:                              xfreerdp
/p[ ]                            signtool
/pass:                           cmdkey
/rp[ ]                           schtasks
--auth[ =]                       netlify
--value[ =]                      ssm put-parameter, keyvault secret set
--key[ =]                        gem push
--from-literal[ =][\w.-]+=       create secret
-[a-zA-Z]{0,6}b[a-zA-Z]{0,6}[ ](?:-\w[ ])*[^\s-]\S*[ ]\S+[ ]   htpasswd, mosquitto_passwd
-[a-zA-Z]{0,6}n[a-zA-Z]{0,6}b[a-zA-Z]{0,6}[ ][^\s-]\S*[ ]      htpasswd
(?:-b|--cookie)[ =]?(?=[^\s=]{0,100}=)                curl
(?:-b|--cookie)[ ](?=[\\"']{1,4}[^\s=]{0,100}=)       curl
[ ](?:-\S+[ ])*(?:token=)?       ?vault login
[ ](?:-\S+[ ])*                  ?cargo login, ?wandb login, ?snyk auth, ?setapikey, ?authtoken
[ ](?:-\S+[ ])*                  ?rclone obscure
[ ](?:-\S+[ ])*                  ?cloudflared service install, ?bw unlock, ?redis-cli auth
[ ]                              ?:6379> auth, ?config set npmauthtoken, ?--password-file=<(echo
[ ]\S+[ ]                        ?bw login, ?wpa_passphrase, ?add_user, ?change_password
[ ]\S+[ ](?:/user:\S+[ ])?       ?net use, ?net user
[ ]\S+[ ]/user:\S+[ ]            ?net use
[ ]\w:[ ]\S+[ ]                ?net use
[ ]\S+[ ]                        ?config http-basic, ?env add, ?config pypi-token
\.\S+[ ](?:\S+[ ])?              ?config http-basic, ?config pypi-token
[ ]\S+[ ]\S+[ ]\S+[ ]            ?mc alias set
[ ](?:\S+[ ]){2,9}?pass[ ]       ?rclone config create
\S*[ ](?:[\w.-]+/)?[\w.-]+:      impacket-
[ ]\S*(?:secret|token)\S*[ ]     aws configure set
[ ]\S*_(?:authtoken|auth|password)[ =]                npm config set
<<<[ ]?                          sudo -s, kinit, passwd, secret-tool, gh auth, docker login
[ =]["']?echo[ ]                 --password-command
"""


class _Argument(NamedTuple):
    """A secret argument of some programs."""

    pattern: re.Pattern[str]
    programs: tuple[str, ...]  # in lowercase
    is_unsure: bool  # whether an ordinary word is no secret


_NEXT_ITEM = r"\\\\{0,15}[\"'],[ ]?(?=\\\\{0,15}[\"'])"  # in a list of arguments, as in JSON
_BLANK_AT_END = re.compile(r"\[ =?\][+?]?\Z")
_HEAD = re.compile(r"(?:^|^\(\?:|\|)-(\[[^\]]*\]|[\w-])")
_LIMITS = (("]+", "]{1,64}"), (r"\S+", r"\S{1,200}"), (r"\S*", r"\S{0,200}"), (")*", "){0,4}"))


def _read_arguments() -> tuple[dict[str, list[_Argument]], dict[str, list[_Argument]]]:
    """Return the options by the literals they start with, and other arguments by program."""
    options: dict[str, list[_Argument]] = {}
    others: dict[str, list[_Argument]] = {}
    for line in _ARGUMENTS.strip().splitlines():
        before, names = re.split(r"\s{2,}", line)
        programs = tuple(name.lstrip("?") for name in names.split(", "))
        pattern = before
        for unlimited, limited in _LIMITS:
            pattern = pattern.replace(unlimited, limited)
        pattern = _BLANK_AT_END.sub(rf"(?:{_NEXT_ITEM}|\g<0>)", pattern)
        argument = _Argument(re.compile(pattern + _QUOTED), programs, "?" in names)
        firsts = _HEAD.findall(before) if before.startswith(("-", "(?:-")) else ()
        heads = [f"-{c}" for c in _LETTERS if any(re.fullmatch(first, c) for first in firsts)]
        if before.startswith(("/", "pass:", "<<<")):
            heads = [before.partition("[")[0]]
        for head in heads:
            options.setdefault(head, []).append(argument)
        for program in () if heads else programs:
            others.setdefault(program, []).append(argument)
    return options, others


_LETTERS = string.ascii_letters + "-"
_OPTIONS, _OTHERS = _read_arguments()
_OPTION = re.compile(r"-(?<=[\s\"']-)[A-Za-z-]")
_PROGRAMS = {
    name for arguments in _OPTIONS.values() for each in arguments for name in each.programs
}
literals(*_PROGRAMS, *(head for head in _OPTIONS if head[0] != "-"))
literals(*_OTHERS)
_NO_ARGUMENT = re.compile(r"[0-9]{1,3}|27[0-9]{3}|[0-9]+:[0-9]+|\S+\.(?:zip|7z)")
_FAR = 300  # maximum number of characters between a program's name and its argument
_USER = re.compile(
    r"-(?:[a-zA-Z]{0,6}u|-user|-proxy-user|U|a|-auth)"
    r"(?:[ =]{0,3}|\\{0,15}[\"'],[ ]?)(?P<open>\\{0,15}[\"'])?"
    r"(?P<user>[^\s:\"'\\$`/]{1,128}+):(?!//)"
    r"(?P<value>(?(open)[^\n\"'\\`]{1,512}+(?=(?P=open))|(?!))|[^\s\"'\\`]{1,512}+)"
)
_USER_PROGRAMS = literals("curl", "http", "wget", "mosquitto", "etcdctl")
_LONGEST_USER = 1024  # characters that `_USER` matches at most
_NETRC = re.compile(
    r"login(?:\s|\\+[nt]){1,8}+[^\s\\]{1,128}+(?:\s|\\+[nt]){1,8}+password(?:\s|\\+[nt]){1,8}+(?P<value>[^\s\\\"]{1,512}+)"
)
_PART = r"(?:\*|[A-Za-z_][\w.-]{0,63}+)"
_PGPASS = re.compile(
    rf":(?:\d{{4,5}}|\*):{_PART}:{_PART}:(?P<value>[^\s:\"'\\]{{3,256}}+)", re.ASCII
)
literals("login", "chpasswd", "echo ", "printf ", "bearer", "basic ")
_CHPASSWD = re.compile(
    r"(?:echo|printf)[ ](?:-\w[ ])?[\\\"']{0,8}\w[\w.-]{0,64}+:(?!//)(?P<value>[^\s\"'\\|]{1,256}+)"
)
_BEARER = re.compile(r"bearer(?:[ ]{1,3}|%20)(?P<value>[A-Za-z0-9._~+/-]{12,4096}+=*+)")
_BASIC = re.compile(r"basic[ ]{1,3}(?P<value>[a-z0-9+/]{8,1024}+={0,2})(?![\w+/])")
_SET = re.compile(
    r"(?:identified (?:with \S{1,60} )?by|requirepass|masterauth|rootpw|community"
    r"|set password for \S{1,80} =|sp_addlogin '[^'\n]{1,64}',|password|passwd|passphrase)"
    rf"[ ]{{1,4}}(?:{_QUOTED})"
)
_STATEMENTS = literals(
    "identified", "requirepass", "masterauth", "rootpw", "community", "set password", "sp_addlogin",
    "pass",
)  # fmt: skip
_PAIRED = literals("value", "content")
_VALUE = re.compile(rf"(?:value|content)\\{{0,15}}[\"']?[ ]?[:=][ ]?{_QUOTED}")
_NAME_BEFORE = re.compile(
    r"(?i)(?:name|key|type)\\{0,15}[\"']?[ ]?[:=][ ]?\\{0,15}[\"']?"
    r"(?P<name>[\w.-]{2,64}+)\\{0,15}[\"']?"
    r"(?:[ ][\w-]{1,20}+=\\{0,15}[\"'][^\"'\\]{0,40}+\\{0,15}[\"']){0,3}"
    r",?(?:\s|\\{1,15}n){0,16}\\{0,15}[\"']?\Z"
)
_NAME_AFTER = re.compile(
    rf"{SPACE},{SPACE}\\{{0,15}}[\"'](?:name|key)\\{{0,15}}[\"']{SPACE}:{SPACE}"
    r"\\{0,15}[\"'](?P<name>[\w.-]{2,64}+)\\{0,15}[\"']"
)


def find_name_value_pairs(text: str, lower: Lowercase) -> Iterator[Span]:
    """Yield the values of pairs such as `"name": "PASSWORD", "value": "..."`."""
    for match in find_matches(_VALUE, lower, lower.starts(*_PAIRED)):
        name = _NAME_BEFORE.search(text[max(0, match.start() - 120) : match.start()])
        name = name or _NAME_AFTER.match(text, match.end())
        part = _part(match)
        if part == "bare" and not match[0].startswith("value:"):
            continue  # an unquoted value, such as a JSON number
        if name and is_secret_name(name["name"]) and not is_placeholder(match[part]):
            yield Span(*match.span(part))


def find_statement_values(text: str, lower: Lowercase) -> Iterator[Span]:
    """Yield values set in statements such as `IDENTIFIED BY '...'` or `requirepass ...`."""
    for match in find_matches(_SET, lower, lower.starts(*_STATEMENTS)):
        part = _part(match)
        value = match[part].rstrip(";")
        is_plain = match[0].startswith("pass") and not match["open"]
        sure = match[0].startswith("identified" if match["open"] else "requirepass")
        if (sure or (stands_out(value) and not is_plain)) and not is_placeholder(value):
            yield Span(match.start(part), match.start(part) + len(value))


def find_command_arguments(text: str, lower: Lowercase) -> Iterator[Span]:
    """Yield secrets in command-line arguments, in .netrc and .pgpass lines, and after `bearer`."""
    programs = lower.found.keys() & _PROGRAMS
    options = {
        head: [argument for argument in arguments if not programs.isdisjoint(argument.programs)]
        for head, arguments in (_OPTIONS.items() if programs else ())
    }
    for since, end in _after_programs(lower, programs):
        for option in _OPTION.finditer(text, since, end):
            yield from _after(text, lower, option.start(), options.get(option[0], ()))
    for head in options.keys() & lower.found.keys():
        for start in lower.starts(head):
            yield from _after(text, lower, start, options[head])
    for program in lower.found.keys() & _OTHERS.keys():
        arguments = _OTHERS[program]
        for start in lower.starts(program):
            for argument in arguments:
                match = argument.pattern.match(lower, start + len(program))
                if match and _is_secret_argument(text[slice(*match.span(_part(match)))], argument):
                    yield Span(*match.span(_part(match)))
    for since, end in _after_programs(lower, _USER_PROGRAMS):
        for match in _USER.finditer(text, since, end + _LONGEST_USER):
            start = match.start()
            near = any(_is_argument(lower, program, start) for program in _USER_PROGRAMS)
            if near and start < end and not is_placeholder(match["value"]):
                yield Span(*match.span("value"))
    yield from _values(find_matches(_NETRC, text, lower.starts("login")))
    yield from _values(_PGPASS.finditer(text))
    if "chpasswd" in lower.found:
        yield from _values(find_matches(_CHPASSWD, text, lower.starts("echo ", "printf ")))
    for match in find_matches(_BASIC, lower, lower.starts("basic ")):
        if _is_user_and_password(text[slice(*match.span("value"))]):
            yield Span(*match.span("value"))
    for match in find_matches(_BEARER, lower, lower.starts("bearer")):
        if any(character.isdigit() for character in match["value"]):
            yield Span(*match.span("value"))


def _is_user_and_password(value: str) -> bool:
    """Return whether a value is a user and a password in base64."""
    try:
        decoded = b64decode(value.rstrip("=") + "==").decode()
    except ValueError:
        return False
    return ":" in decoded and decoded.isprintable()


def _after_programs(lower: Lowercase, programs: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Yield the parts of the text, without overlaps, that may have arguments of the programs."""
    since = end = 0
    for start in lower.starts(*programs):
        if start > end:
            if end:
                yield since, end
            since = start
        end = start + _FAR + 2  # an option such as -p has two characters
    if end:
        yield since, end


def _after(
    text: str, lower: Lowercase, start: int, arguments: Iterable[_Argument]
) -> Iterator[Span]:
    """Yield the secret that follows an option of a program named earlier on the line."""
    for argument in arguments:
        match = argument.pattern.match(text, start)
        if match and any(_is_argument(lower, program, start) for program in argument.programs):
            span = Span(*match.span(_part(match)))
            if _is_secret_argument(text[span.start : span.end], argument):
                yield span


def _is_secret_argument(value: str, argument: _Argument) -> bool:
    """Return whether an argument is not a placeholder, a name or a port."""
    if is_placeholder(value) or is_secret_name(value) or _NO_ARGUMENT.fullmatch(value):
        return False
    return not argument.is_unsure or (stands_out(value) and "=" not in value)


def _part(match: re.Match[str]) -> str:
    """Return the name of the `_QUOTED` group that matched the value."""
    return "quoted" if match["open"] else "bare"


def _values(matches: Iterable[re.Match[str]]) -> Iterator[Span]:
    for match in matches:
        if not is_placeholder(match["value"]):
            yield Span(*match.span("value"))


def _is_argument(lower: Lowercase, program: str, position: int) -> bool:
    """Return whether a program is named earlier on the line, or in a command that it continues."""
    starts = lower.starts(program)
    last = bisect_left(starts, position - len(program) + 1) - 1
    start = starts[last] if last >= 0 else -1
    if not max(0, position - _FAR) <= start:
        return False
    return "\n" not in lower[start:position].replace("\\\n", "")
